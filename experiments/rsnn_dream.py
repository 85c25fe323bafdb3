"""A dream of the recurrent networks, beside the game that the same actions lead to (figures 2A and 2B).

Run as ``./swm experiment rsnn_dream`` after the arm ``dream`` of ``rsnn_pong``. A realisation plays a game
awake up to some step and dreams on from there; what it does in the dream is done in the emulator too.
Writes ``rsnn_dream.png`` to ``runs/rsnn_pong``, or to another folder with ``results:=``: frames, spikes of
both networks, what is read out of them, and the observation dreamed and real.
"""

import sys
from pathlib import Path

import gymnasium as gym
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from _arguments import arguments
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from spiking_wm_ros.agents.registry import settle
from spiking_wm_ros.agents.rsnn.games import Games
from spiking_wm_ros.agents.rsnn.pair import Pair
from spiking_wm_ros.agents.storage import load
from spiking_wm_ros.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
ENV = "PongRam-v0"
FRAMES, SHOWN = 6, 80  # frames drawn; neurons drawn, the most active ones
NAMES = ("ball x", "opponent y", "own y", "ball y")


def dream(pair: Pair, start: int, steps: int, seed: int) -> dict[str, np.ndarray]:
    """Play awake for ``start`` steps, then dream and play on for ``steps`` with the dream's actions.

    All realisations do it side by side; returns what was seen and read out of each, ``[steps, R, ...]``.
    """
    envs, head = [gym.make(ENV) for _ in pair.seeds], pair.head
    generators = [np.random.default_rng([int(realisation), seed]) for realisation in pair.seeds]
    agent, model = pair.actor.network.at_rest(), pair.model.network.at_rest()
    real = np.stack([env.reset(seed=seed)[0] for env in envs])
    names = ("real", "dreamed", "agent", "model", "policy", "change", "reward", "won")
    kept = {name: [] for name in names}
    for step in range(start + steps):
        if step <= start:
            dreamed = pair.inputs(real)
        outputs = pair.actor.read_out(pair.actor.network.tick(agent, dreamed))
        actions = head.draw(outputs, generators)
        prediction = pair.model.predict(model, dreamed, head.code(actions))
        following, reward = pair.model.after(dreamed, prediction)
        played = [env.step(action) for env, action in zip(envs, actions)]
        if step >= start:
            seen = (pair.inputs(real), dreamed, agent.spikes.copy(), model.spikes.copy())
            read = (head.probabilities(outputs), prediction.change, reward, np.stack([p[1] for p in played]))
            for name, value in zip(names, seen + read):
                kept[name].append(value)
        real = np.stack([p[0] for p in played])
        dreamed = following.clip(pair.inputs.low, pair.inputs.high)
    return {name: np.stack(values) for name, values in kept.items()}


def draw_frame(axes: Axes, inputs: np.ndarray, title: str) -> None:
    """The field as the four variables tell it, in pixels of the console's screen."""
    ball_x, opponent, own, ball_y = (inputs + 1) / 2 * 255
    axes.set(xlim=(0, 160), ylim=(194, 34), xticks=[], yticks=[], facecolor="#90481a", aspect="equal")
    axes.set_title(title, fontsize=8)
    axes.add_patch(Rectangle((16, opponent - 15), 4, 16, color="#d5824a"))
    axes.add_patch(Rectangle((140, own - 13), 4, 16, color="#5cba5c"))
    axes.add_patch(Rectangle((ball_x - 49, ball_y - 14), 2, 4, color="white"))


def draw(kept: dict[str, np.ndarray], target: Path) -> None:
    """Frames above, rasters, read-outs and observations below, over the steps of the dream."""
    steps = len(kept["real"])
    figure = plt.figure(figsize=(13, 11), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 2.4))
    frames = above.subplots(2, FRAMES)
    for column, step in enumerate(np.linspace(0, steps - 1, FRAMES).astype(int)):
        for row, name in enumerate(("real", "dreamed")):
            draw_frame(frames[row, column], kept[name][step], f"{name}, step {step}")
    panels = below.subplots(3, 2, sharex=True)
    for axes, name in zip(panels[0], ("agent", "model")):
        busy = np.sort(np.argsort(-kept[name].sum(0), kind="stable")[:SHOWN])
        at, neuron = np.nonzero(kept[name][:, busy])
        axes.plot(at, neuron, "|", color="black", markersize=4)
        axes.set(title=f"spikes of the {name} network", ylabel=f"the {SHOWN} most active neurons")
    for action, label in enumerate(("nothing", "up", "down")):
        panels[1, 0].plot(kept["policy"][:, action], label=label)
    panels[1, 0].set(title="policy", ylabel="probability")
    panels[1, 0].legend(fontsize=8)
    for variable, label in enumerate(NAMES):
        panels[1, 1].plot(kept["change"][:, variable], label=label, color=f"C{variable}")
        panels[2, 0].plot(kept["dreamed"][:, variable], color=f"C{variable}", label=label)
        panels[2, 0].plot(kept["real"][:, variable], ":", color=f"C{variable}")
    panels[1, 1].set(title="predicted change", ylabel="in units of usual changes")
    panels[2, 0].set(title="observation, dreamed (dotted: real)", xlabel="step", ylabel="centred")
    panels[2, 0].legend(fontsize=8)
    panels[2, 1].plot(kept["reward"], label="dreamed")
    panels[2, 1].plot(kept["won"], ":", label="real")
    panels[2, 1].set(title="reward", xlabel="step")
    panels[2, 1].legend(fontsize=8)
    figure.savefig(target, dpi=110)


def main() -> None:
    """Load what has been learned, dream, draw."""
    folder = ROOT / "runs/rsnn_pong"
    defaults = {"state": folder / f"{ENV}_dream_10.safetensors", "results": folder}
    given = arguments(defaults | {"realisation": 0, "start": 20, "steps": 50, "seed": 0})
    if not given["state"].exists():
        raise UserError(f"{given['state']} is missing: ./swm experiment rsnn_pong arms:=dream makes it")
    tensors, facts = load(Path(given["state"]))
    if not 0 <= given["realisation"] < len(tensors["seeds"]):
        raise UserError(f"realisation:= is one of 0 to {len(tensors['seeds']) - 1} in {given['state']}")
    games = Games(ENV, settle("rsnn_dream", ENV, {}), tensors["seeds"].tolist())
    games.pair.restore(tensors)
    kept = dream(games.pair, given["start"], given["steps"], given["seed"])
    target = given["results"] / "rsnn_dream.png"
    draw({name: values[:, given["realisation"]] for name, values in kept.items()}, target)
    print(f"after {facts['counts']['games']} games: {target}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
