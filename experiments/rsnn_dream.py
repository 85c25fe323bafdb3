"""A dream of the recurrent networks, compared with the real game for the same actions (figures 2A, 2B).

Run as ``./swm experiment rsnn_dream`` after the arm ``dream`` of ``rsnn_pong``; ``env:=BoxingPixels-v0``
gives figure 4B. A realisation plays a real game up to a step and continues in a dream; the actions of the
dream are also applied to the emulator. Writes ``rsnn_dream_ENV.png`` to ``runs/rsnn_pong``, or to
``results:=``: frames, spikes and read-outs of both networks, and the dreamed and real observations.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from _arguments import arguments
from matplotlib.axes import Axes

from spiking_wm.agents.rsnn.actor_and_model import ActorAndModel
from spiking_wm.agents.rsnn.games import Games
from spiking_wm.core.errors import UserError
from spiking_wm.core.game_loop import take_step
from spiking_wm.core.presets import resolve
from spiking_wm.core.storage import load

ROOT = Path(__file__).resolve().parents[1]
FRAMES, SHOWN, LINES = 6, 80, 4  # frames, neurons (the most active ones) and variables drawn


def dream(env: str, networks: ActorAndModel, start: int, steps: int, seed: int) -> dict[str, np.ndarray]:
    """Play for ``start`` steps, then dream for ``steps`` and apply the dream's actions to the real game.

    Returns observations and read-outs of all realisations, ``[steps, R, ...]``.
    """
    envs, head = [gym.make(env) for _ in networks.seeds], networks.head
    generators = [np.random.default_rng([int(realisation), seed]) for realisation in networks.seeds]
    agent, model = networks.actor.network.at_rest(), networks.model.network.at_rest()
    real = np.stack([env.reset(seed=seed)[0] for env in envs])
    names = ("real", "dreamed", "agent", "model", "policy", "change", "reward", "won")
    kept = {name: [] for name in names}
    for step in range(start + steps):
        if step <= start:
            dreamed = networks.inputs(real)
        outputs = networks.actor.read_out(networks.actor.network.tick(agent, dreamed))
        actions = head.draw(outputs, np.stack([g.random(head.noise_width) for g in generators]))
        prediction = networks.model.predict(model, dreamed, head.code(actions))
        following, reward = networks.model.after(dreamed, prediction)
        played = [take_step(*now) for now in zip(envs, real, actions)]
        if step >= start:
            seen = (networks.inputs(real), dreamed, agent.spikes.copy(), model.spikes.copy())
            read = (
                head.probabilities(outputs),
                prediction.change,
                reward,
                np.stack([p.reward for p in played]),
            )
            for name, value in zip(names, seen + read):
                kept[name].append(value)
        real = np.stack([p.next_observation for p in played])
        dreamed = following.clip(networks.inputs.low, networks.inputs.high)
    shown = {name: np.stack(values) for name, values in kept.items()}
    for name in ("real", "dreamed"):
        shown[f"{name}_observation"] = shown[name] * networks.inputs.scale + networks.inputs.middle
    return shown


def draw_frame(axes: Axes, picture: np.ndarray, title: str) -> None:
    """Draw a screen ``[210, 160, 3]``."""
    axes.imshow(picture)
    axes.set_axis_off()
    axes.set_title(title, fontsize=8)


def draw(kept: dict[str, np.ndarray], picture: Callable[[np.ndarray], np.ndarray], target: Path) -> None:
    """Draw frames (top) and spikes, read-outs and observations over the steps of the dream (below)."""
    steps = len(kept["real"])
    figure = plt.figure(figsize=(13, 11), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 2.4))
    frames = above.subplots(2, FRAMES)
    for column, step in enumerate(np.linspace(0, steps - 1, FRAMES).astype(int)):
        for row, name in enumerate(("real", "dreamed")):
            screen = picture(kept[f"{name}_observation"][step])
            draw_frame(frames[row, column], screen, f"{name}, step {step}")
    panels = below.subplots(3, 2, sharex=True)
    for axes, name in zip(panels[0], ("agent", "model")):
        busy = np.sort(np.argsort(-kept[name].sum(0), kind="stable")[:SHOWN])
        at, neuron = np.nonzero(kept[name][:, busy])
        axes.plot(at, neuron, "|", color="black", markersize=4)
        axes.set(title=f"spikes of the {name} network", ylabel=f"the {SHOWN} most active neurons")
    for action in np.sort(np.argsort(-kept["policy"].max(0), kind="stable")[:LINES]):
        panels[1, 0].plot(kept["policy"][:, action], label=f"action {action}")
    panels[1, 0].set(title="policy", ylabel="probability")
    panels[1, 0].legend(fontsize=8)
    for variable in range(min(LINES, kept["real"].shape[1])):
        label = f"variable {variable}"
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
    """Load the trained networks, dream, draw."""
    folder = ROOT / "runs/rsnn_pong"
    defaults = {"env": "PongRam-v0", "seeds": 10, "first_seed": 0, "folder": folder, "results": folder}
    given = arguments(defaults | {"realisation": 0, "start": 20, "steps": 50, "seed": 0})
    env, seeds, first = given["env"], given["seeds"], given["first_seed"]
    if not (picture := getattr(gym.make(env).unwrapped, "picture", None)):
        raise UserError(f"{env} has no pictures of its observations; PongRam-v0 and BoxingPixels-v0 have")
    state = given["folder"] / f"{env}_dream_{first}-{first + seeds - 1}.safetensors"
    if not state.exists():
        made = f"./swm experiment rsnn_pong arms:=dream env:={env} seeds:={seeds} first_seed:={first}"
        raise UserError(f"{state} is missing: {made} makes it")
    tensors, facts = load(state)
    if not 0 <= given["realisation"] < len(tensors["seeds"]):
        raise UserError(f"realisation:= is one of 0 to {len(tensors['seeds']) - 1} in {state}")
    games = Games(env, resolve("rsnn_dream", env, {}), tensors["seeds"].tolist())
    games.networks.restore(tensors)
    kept = dream(env, games.networks, given["start"], given["steps"], given["seed"])
    target = given["results"] / f"rsnn_dream_{env}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    draw({name: values[:, given["realisation"]] for name, values in kept.items()}, picture, target)
    print(f"after {facts['counts']['games']} games: {target}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
