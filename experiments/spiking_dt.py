"""Decision transformers with and without spikes, trained on demonstrations: returns, costs, ablations.

Run as ``./swm experiment spiking_dt``, or in part, as with ``envs:=CartPole-v1 arms:=spiking_dt,dt
seeds:=1``. Every environment needs its demonstrations first (``./swm demos env:=ENV``). Results of a trained
network are stored in ``runs/spiking_dt``, and it is not trained again. Measured for each: returns of greedy
episodes at the configured target return and at a sweep of targets; spikes, synaptic operations, products and
estimated energy per decision, on its own trajectories; latency of a decision. ``updates:=`` replaces the
configured number of updates. Writes ``spiking_dt.csv``, ``spiking_dt_targets.csv`` and ``spiking_dt.png`` to
that folder, or to ``results:=``.
"""

import csv
import io
import sys
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import matplotlib
import numpy as np
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from _arguments import arguments
from _kept import found_once
from rich.progress import track

from spiking_wm.agents.spiking_dt.agent import Agent
from spiking_wm.agents.spiking_dt.network import Trajectory
from spiking_wm.agents.spiking_dt.operations import count
from spiking_wm.agents.spiking_dt.policy import DecisionPolicy
from spiking_wm.core import game_loop
from spiking_wm.core.actions import Actions
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import write_atomically
from spiking_wm.core.presets import Setup, resolve
from spiking_wm.core.process import prepare_to_compute
from spiking_wm.core.spaces import Spaces
from spiking_wm.datasets.demonstrations import digest, load
from spiking_wm.envs.make import make_env
from spiking_wm.runs.config import options_of

ROOT = Path(__file__).resolve().parents[1]
ENVS = ("CartPole-v1", "MountainCar-v0", "Acrobot-v1", "Pendulum-v1", "InvertedPendulum-v5")
GAMES = 100  # episodes at the configured target return
SWEPT = 10  # episodes per target of the sweep
COUNTED = 5  # episodes for the operation counts
FIRST_GAME = 4_000_037  # seed of the first evaluated episode
# targets of the sweep, from the worst demonstrated return (0) to the configured target (1)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


class Arm(NamedTuple):
    """A variant: a preset and changed options."""

    algorithm: str
    given: dict


ARMS = {
    "spiking_dt": Arm("spiking_dt", {}),
    "dt": Arm("dt", {}),
    "no_phase_code": Arm("spiking_dt", {"network": {"phase_code": False, "step_embeddings": True}}),
    "no_routing": Arm("spiking_dt", {"network.routing": False}),
    "local_head": Arm("spiking_dt", {"imitation.local_head": 0.001}),
    "ticks_2": Arm("spiking_dt", {"network.ticks": 2}),
    "ticks_8": Arm("spiking_dt", {"network.ticks": 8}),
    "ticks_16": Arm("spiking_dt", {"network.ticks": 16}),
    "context_1": Arm("spiking_dt", {"network.context": 1}),
    "context_5": Arm("spiking_dt", {"network.context": 5}),
    "context_50": Arm("spiking_dt", {"network.context": 50}),
}


class Game(NamedTuple):
    """One episode."""

    total: float  # return
    steps: list[tuple]  # return-to-go, observation and action code of each step


def play(policy: DecisionPolicy, env: gym.Env, spaces: Spaces, target: float, seed: int) -> Game:
    """Play an episode with greedy actions.

    Args:
        policy: the policy.
        env: the environment.
        spaces: the environment's spaces.
        target: return-to-go at the start.
        seed: seed of the environment's reset.
    """
    state, actions = policy.initial_state(target=target), Actions(spaces, "spiking_dt")
    total, steps = 0.0, []

    def act(_: list[int], observations: list[Any]) -> Iterable[np.ndarray]:
        nonlocal state
        left, seen = float(state.return_to_go), spaces.check_observation(observations[0])
        action, state = policy.act(seen, state, None)
        steps.append((left, seen, actions.code(action)))
        return [action]

    for (step,) in game_loop.play([env], [seed], act):
        state, total = policy.rewarded(state, step.reward), total + step.reward
    return Game(total, steps)


def trajectory_of(agent: Agent, game: Game, length: int = 100) -> Trajectory:
    """The first ``length`` steps of an episode, as input of the network."""
    left, observation, code = (np.stack(x) for x in zip(*game.steps[:length]))
    seen = Trajectory(
        torch.from_numpy(left.astype(np.float32))[None],
        torch.from_numpy(observation)[None],
        torch.from_numpy(code)[None],
        torch.arange(len(left))[None],
    )
    return agent.decider.as_input(seen)


def latency(policy: DecisionPolicy, observation: np.ndarray) -> float:
    """Median time of a decision with a full context, in ms."""
    state, took, context = policy.initial_state(), [], policy.options.network.context
    for _ in range(context + 200):
        began = time.perf_counter()
        _, state = policy.act(observation, state, None)
        took.append(time.perf_counter() - began)
    return 1000 * float(np.median(took[context:]))


def setup_of(env_id: str, name: str, seed: int, updates: int) -> Setup:
    """All options of an arm in an environment."""
    arm = ARMS[name]
    given = arm.given | {"seed": seed} | ({"imitation.updates": updates} if updates else {})
    return resolve(arm.algorithm, env_id, given)


def learn_and_judge(env_id: str, name: str, seed: int, updates: int) -> dict:
    """Train a network from demonstrations, and evaluate it; a row of the table, and points of the sweep."""
    env, setup = make_env(env_id), setup_of(env_id, name, seed, updates)
    spaces = Spaces.of(env)
    agent = Agent(setup.agent_options, spaces, seed)
    began, losses = time.perf_counter(), []
    for _ in track(range(agent.updates_first), f"{env_id}, {name}, seed {seed}"):
        losses.append(agent.learn()["imitation_loss"])
    seconds = time.perf_counter() - began
    policy = DecisionPolicy(setup.agent_options, spaces)
    policy.load(agent.policy_weights())
    agent.decider.load_state_dict(agent.policy_weights())
    high, lowest = setup.agent_options.target_return, agent.lowest_demonstrated()
    games = [play(policy, env, spaces, high, FIRST_GAME + k) for k in range(GAMES)]
    returns, costs = np.array([game.total for game in games]), []
    for game in games[:COUNTED]:
        costs.append(count(agent.decider.network, trajectory_of(agent, game)))
    sweep = []
    for target in (lowest + share * (high - lowest) for share in SHARES):
        swept = [play(policy, env, spaces, target, FIRST_GAME + k).total for k in range(SWEPT)]
        sweep.append({"target": round(target, 2), "return": round(float(np.mean(swept)), 2)})
    row = {
        "env": env_id,
        "arm": name,
        "seed": seed,
        "return": round(float(returns.mean()), 2),
        "deviation": round(float(returns.std()), 2),
        "target": high,
        "spikes": round(float(np.mean([spikes for _, spikes in costs]))),
        "synaptic_operations": round(float(np.mean([of.synaptic_operations for of, _ in costs]))),
        "products": round(float(np.mean([of.products for of, _ in costs]))),
        "energy_nJ": round(float(np.mean([of.energy for of, _ in costs])), 2),
        "decision_ms": round(latency(policy, games[0].steps[0][1]), 3),
        "loss": round(float(np.mean(losses[-100:])), 4),
        "training_s": round(seconds),
    }
    return {"row": row, "sweep": [{"env": env_id, "arm": name, "seed": seed} | point for point in sweep]}


@cache
def known_by(dataset: str) -> int:
    """Digest of a data set, to detect that a data set of the same name has changed."""
    return digest(load(dataset))


def judged(env_id: str, name: str, seed: int, updates: int, folder: Path) -> dict:
    """Result of `learn_and_judge`, loaded if it is stored already.

    Raises:
        UserError: if the stored result has other options or demonstrations.
    """
    kept = folder / f"{env_id}_{name}_s{seed}{f'_u{updates}' if updates else ''}.json"
    options = options_of(setup_of(env_id, name, seed, updates))
    options |= {"demonstrations": known_by(options["dataset"])}
    return found_once(kept, options, lambda: learn_and_judge(env_id, name, seed, updates))


def draw(rows: list[dict], points: list[dict], target: Path) -> None:
    """Plot returns by arm, and by target return, for every environment."""
    envs = list(dict.fromkeys(row["env"] for row in rows))
    figure, panels = plt.subplots(2, len(envs), figsize=(3.6 * len(envs), 7), squeeze=False)
    for (of_arms, of_targets), env in zip(panels.T, envs):
        arms = list(dict.fromkeys(row["arm"] for row in rows if row["env"] == env))
        for place, arm in enumerate(arms):
            found = [row["return"] for row in rows if (row["env"], row["arm"]) == (env, arm)]
            of_arms.plot(found, [place] * len(found), "o", alpha=0.5)
            of_arms.plot(np.mean(found), place, "k|", markersize=14)
            here = [p for p in points if (p["env"], p["arm"]) == (env, arm)]
            if arm in ("spiking_dt", "dt"):
                targets = sorted({p["target"] for p in here})
                means = [np.mean([p["return"] for p in here if p["target"] == t]) for t in targets]
                of_targets.plot(targets, means, "o-", label=arm)
        of_arms.set(title=env, xlabel=f"mean return of {GAMES} episodes", yticks=range(len(arms)))
        of_arms.set_yticklabels(arms)
        of_targets.set(xlabel="target return", ylabel=f"mean return of {SWEPT} episodes")
        of_targets.legend()
    figure.tight_layout()
    figure.savefig(target, dpi=110)


def write(results: list[dict], folder: Path) -> None:
    """Write both tables, and the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "spiking_dt": [result["row"] for result in results],
        "spiking_dt_targets": [point for result in results for point in result["sweep"]],
    }
    for name, rows in tables.items():
        text = io.StringIO()
        writer = csv.DictWriter(text, [*rows[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(folder / f"{name}.csv", text.getvalue().encode())
    draw(*tables.values(), folder / "spiking_dt.png")


def main() -> None:
    """Train and evaluate the chosen arms, write tables and picture, print means."""
    folder = ROOT / "runs/spiking_dt"
    defaults = {"envs": ",".join(ENVS), "arms": "spiking_dt,dt", "seeds": 5, "first_seed": 0, "updates": 0}
    given = arguments(defaults | {"results": folder})
    envs, arms = given["envs"].split(","), given["arms"].split(",")
    if unknown := set(arms) - set(ARMS):
        raise UserError(f"unknown arm '{min(unknown)}'; known: {', '.join(ARMS)}")
    seeds = range(given["first_seed"], given["first_seed"] + given["seeds"])
    prepare_to_compute()
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    for env in envs:
        for arm in arms:
            for seed in seeds:
                results.append(judged(env, arm, seed, given["updates"], folder))
            write(results, given["results"])
            rows = [result["row"] for result in results[-len(seeds) :]]
            returns = [row["return"] for row in rows]
            means = {
                key: np.mean([row[key] for row in rows]) for key in ("spikes", "energy_nJ", "decision_ms")
            }
            print(
                f"{env}, {arm}: {np.mean(returns):.1f} ({', '.join(map(str, returns))}),"
                f" {means['spikes']:.0f} spikes, {means['energy_nJ']:.0f} nJ, {means['decision_ms']:.2f} ms"
            )


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
