"""Compare policies on the simulated Loihi (floating point and fixed point) with PyTorch.

Run as ``./swm experiment loihi_parity checkpoints:=runs/A,runs/B``. For the policy of every run it compares:

- spikes of every layer for observations of greedy games, with PyTorch in double precision;
- actions, with those of the policy (float32): differences relative to the range, or the share of discrete
  actions that differ;
- returns of greedy games with the same seeds.

Writes ``loihi_parity.csv`` (actions and returns), ``loihi_parity_layers.csv`` (spikes, bits) and
``loihi_parity.png`` to ``runs/loihi_parity``, or to ``results:=``. Options such as ``weight_bits:=6`` set
fewer bits.
"""

import csv
import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from _arguments import arguments
from gymnasium.spaces import Box
from rich.progress import track

from spiking_wm.chips.backends.loihi_sim.fixed_point import fixed
from spiking_wm.chips.backends.loihi_sim.options import Options
from spiking_wm.chips.backends.loihi_sim.simulator import Simulator
from spiking_wm.chips.backends.recorder import InputRecorder
from spiking_wm.chips.network import ChipNetwork
from spiking_wm.chips.reference import trains_of
from spiking_wm.core.contract import Policy
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import newest_checkpoint, write_atomically
from spiking_wm.core.process import prepare_to_compute
from spiking_wm.core.spaces import Spaces
from spiking_wm.envs.make import make_env
from spiking_wm.runs.config import read_config
from spiking_wm.runs.policy_bundle import load_bundle, make_policy
from spiking_wm.training.evaluation import episode

ROOT = Path(__file__).resolve().parents[1]
FIRST_GAME = 5_000_011  # seed of the first game
PRECISIONS = ("floating_pt", "fixed_pt")
PATIENCE = 60.0


class Subject(NamedTuple):
    """A policy and its environment."""

    name: str
    env: str
    policy: Policy


def subject(run: Path) -> Subject:
    """The newest policy of a run."""
    checkpoint, config = newest_checkpoint(run), read_config(run)
    spaces = Spaces.of(make_env(config.env))
    policy = make_policy(load_bundle(checkpoint / "policy.safetensors"), spaces)
    policy.chip_network()  # raises at once if chips cannot run the policy
    return Subject(f"{config.env}, {config.algorithm}, {run.name}", config.env, policy)


class Game(NamedTuple):
    """A greedy game."""

    total: float
    observations: list
    actions: list


def play(of: Subject, env: gym.Env, seed: int) -> Game:
    """A greedy game of the policy."""
    steps = list(episode(of.policy, env, seed))
    seen = [of.policy.spaces.check_observation(step.observation) for step in steps]
    return Game(sum((step.reward for step in steps), 0.0), seen, [step.action for step in steps])


def actions_about(of: Subject, games: list[Game], wanted: int) -> np.ndarray:
    """The policy's actions ``[wanted, A]`` for the observations of games, replayed from their starts."""
    actions = []
    for game in games:
        state = of.policy.initial_state()
        for seen in game.observations[: wanted - len(actions)]:
            action, state = of.policy.act(seen, state, None)
            actions.append(np.atleast_1d(action))
    return np.stack(actions)


class OnChip:
    """Runs a policy's network on a chip, and records the spikes of all layers."""

    def __init__(self, chip: Simulator):
        self.chip, self.trains, self._last, self._course = chip, [], None, 0

    def __call__(self, inputs: np.ndarray, before: Any, after: Any) -> np.ndarray:
        """Spikes of the last layer. A state that no decision here returned starts a new course."""
        fresh = before is None or before is not self._last
        self._course += fresh
        found = self.chip.run(inputs, self._course, fresh)
        self._last = after
        self.trains.append(found)
        return found[-1]


def judge(run: Path, wanted: int, episodes: int, options: Options) -> tuple[list[dict], list[dict], dict]:
    """Evaluate a run: rows of actions and returns, rows of layers, and data of the figure."""
    of = subject(run)
    env, network = make_env(of.env), of.policy.chip_network()
    games = [play(of, env, FIRST_GAME + k) for k in track(range(episodes), f"{of.name}, host")]
    sent = of.policy.network_runner = InputRecorder()
    own = actions_about(of, games, wanted)
    of.policy.network_runner = None
    space = of.policy.spaces.action
    continuous = isinstance(space, Box)
    span = space.high - space.low if continuous else np.ones(1)
    reference = reference_trains(network, sent.inputs, [len(game.actions) for game in games])
    returns, rows, layers, drawn = [game.total for game in games], [], [], {}
    rows.append(row(of, "host", np.zeros(1), returns, returns))
    for precision in PRECISIONS:
        chosen = replace(options, precision=precision)
        with_probes = Simulator(network, chosen, probes=True)
        on_chip = of.policy.network_runner = OnChip(with_probes)
        actions = actions_about(of, games, wanted)
        saturated = with_probes.saturated()
        with_probes.close()
        error = np.abs(actions - own) / span if continuous else (actions != own).astype(float)
        layers += layer_rows(of, precision, network, on_chip.trains, reference, saturated, chosen)
        chip = Simulator(network, chosen)
        of.policy.network_runner = OnChip(chip)
        games_there = [
            play(of, env, FIRST_GAME + k).total for k in track(range(episodes), f"{of.name}, {precision}")
        ]
        chip.close()
        of.policy.network_runner = None
        rows.append(row(of, precision, error, games_there, returns))
        drawn[precision] = own / span, actions / span, games_there
    return rows, layers, {"name": of.name, "returns": returns, "chips": drawn}


def reference_trains(network: ChipNetwork, inputs: list[np.ndarray], lengths: list[int]) -> list[np.ndarray]:
    """Spikes ``[decisions, T, N]`` of every layer by PyTorch."""
    if not network.carried:
        return [train.swapaxes(0, 1) for train in trains_of(network, np.stack(inputs, 1))]
    trains, at = [], 0
    for length in lengths:
        if at < len(inputs):
            part = np.stack(inputs[at : at + length])
            trains.append(trains_of(network, part))
            at += length
    return [np.concatenate(of_layer) for of_layer in zip(*trains)]


def row(of: Subject, runs_on: str, error: np.ndarray, returns: list[float], own: list[float]) -> dict:
    """Errors of actions and returns of games."""
    return {
        "policy": of.name,
        "runs_on": runs_on,
        "action_error_mean": round(float(error.mean()), 5),
        "action_error_max": round(float(error.max()), 5),
        "return": round(float(np.mean(returns)), 2),
        "deviation": round(float(np.std(returns)), 2),
        "return_share": round(float(np.mean(returns) / np.mean(own)), 4),
        "episodes": len(returns),
    }


def layer_rows(
    of: Subject,
    precision: str,
    network: ChipNetwork,
    trains: list,
    reference: list,
    saturated: list,
    options: Options,
) -> list[dict]:
    """Rows with the spikes of every layer compared with PyTorch, and its fixed-point constants."""
    rows = []
    held = fixed(network, options) if precision == "fixed_pt" else len(network.layers) * [None]
    for k, (layer, whole) in enumerate(zip(network.layers, held)):
        mine = np.stack([decision[k] for decision in trains])
        theirs = reference[k][: len(mine)]
        rows.append(
            {
                "policy": of.name,
                "precision": precision,
                "layer": k,
                "neurons": layer.neurons,
                "decisions": len(mine),
                "spikes": int(mine.sum()),
                "spikes_pytorch": int(theirs.sum()),
                "spikes_that_differ": int((mine != theirs).sum()),
                "mean_count_difference": round(
                    float(np.abs(mine.sum(1, dtype=int) - theirs.sum(1, dtype=int)).mean()), 5
                ),
                "potentials_saturated": saturated[k],
                "weight_exponent": whole.exponent if whole else "",
                "threshold": whole.threshold if whole else "",
                "weight_error": round(whole.error, 5) if whole else "",
            }
        )
    return rows


def draw(subjects: list[dict], target: Path) -> None:
    """Draw actions and returns on the chip against those on the host."""
    figure, panels = plt.subplots(2, len(subjects), figsize=(4.5 * len(subjects), 8), squeeze=False)
    for (actions, returns), of in zip(panels.T, subjects):
        for precision, (own, there, games) in of["chips"].items():
            actions.plot(own.ravel(), there.ravel(), ".", markersize=2, label=precision)
            returns.plot(of["returns"], games, "o", alpha=0.6, label=precision)
        ends = [min(of["returns"]), max(of["returns"])]
        returns.plot(ends, ends, "k:", linewidth=1)
        actions.set(title=of["name"], xlabel="action, host (ranges)", ylabel="action, chip (ranges)")
        returns.set(xlabel="return, host", ylabel="return, chip, same start")
        actions.legend()
        returns.legend()
    figure.tight_layout()
    figure.savefig(target, dpi=110)


def write(name: str, rows: list[dict], folder: Path) -> None:
    """Write a table."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*rows[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / f"{name}.csv", text.getvalue().encode())


def main() -> None:
    """Evaluate the runs, write tables and figure, print the rows."""
    bits = {name: getattr(Options(), name) for name in ("weight_bits", "threshold_bits", "decay_bits")}
    defaults = {"checkpoints": "", "observations": 1000, "episodes": 10} | bits
    given = arguments(defaults | {"results": ROOT / "runs/loihi_parity"})
    if not given["checkpoints"]:
        raise UserError("checkpoints:= is missing: give run folders, as checkpoints:=runs/A,runs/B")
    prepare_to_compute()
    options = Options(**{name: given[name] for name in bits}, patience=PATIENCE)
    rows, layers, drawn = [], [], []
    for run in given["checkpoints"].split(","):
        found = judge(Path(run), given["observations"], given["episodes"], options)
        rows, layers, drawn = rows + found[0], layers + found[1], [*drawn, found[2]]
    folder = given["results"]
    folder.mkdir(parents=True, exist_ok=True)
    write("loihi_parity", rows, folder)
    write("loihi_parity_layers", layers, folder)
    draw(drawn, folder / "loihi_parity.png")
    for found in rows:
        print(*(f"{value}" for value in found.values()), sep=", ")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
