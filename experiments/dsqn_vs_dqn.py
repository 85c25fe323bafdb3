"""Compare a deep spiking Q-network with a DQN and with converted networks (Liu et al. 2022).

Run as ``./swm experiment dsqn_vs_dqn``, or in part, as with ``algorithms:=dqn seeds:=1 steps:=100000``.
Without ``steps:=``, runs have the length set in the environment's configuration. Each run is stored in
``runs/dsqn_vs_dqn`` and resumed if it was stopped; a finished run is only evaluated.

Measured for every trained network: return with and without noise in the pictures, firing rates, synaptic
operations and energy (`spiking_wm.agents.dqn.operations`). Measured for converted networks: how often they
choose the same action as the original network. For ``dqn``, trained with ReLU, this is measured over the
number of time steps; for ``converted_sqn``, trained with rounded activity, for its number of time steps.

Writes ``dsqn_vs_dqn_ENV.csv`` (curves), ``_costs.csv``, ``_noise.csv``, ``_conversion.csv`` and ``.png`` for
the runs of this call to that folder, or to ``results:=``.
"""

import csv
import io
import shutil
import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from _arguments import arguments
from _kept import check_unchanged
from matplotlib.ticker import EngFormatter
from rich.progress import Progress, track

from spiking_wm.agents.dqn.agent import Agent
from spiking_wm.agents.dqn.conversion import convert
from spiking_wm.agents.dqn.network import QNetwork
from spiking_wm.agents.dqn.operations import count
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import newest_checkpoint, write_atomically
from spiking_wm.core.game_loop import play, take_step
from spiking_wm.core.presets import resolve
from spiking_wm.core.process import prepare_to_compute
from spiking_wm.core.storage import load, load_facts
from spiking_wm.envs.make import make_env
from spiking_wm.runs.config import done, options_of, read_config
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from spiking_wm.training.session import Session

ROOT = Path(__file__).resolve().parents[1]
EPISODES, EPSILON, LONGEST = 30, 0.05, 20_000  # evaluation: episodes, random actions, steps
STATES, CALIBRATED = 5000, 512  # held-out states for evaluation of conversions, and states for calibration
TICKS = (4, 8, 16, 32, 64)  # time steps of networks converted from ReLU; the last one is evaluated in games
LEARNED = {"converted_sqn": "rounded_dqn"}  # trained network from which an evaluated one is converted
CONVERTED = {"converted_sqn": "converted_sqn", "dqn": "dqn_converted"}
NOISE = (0.0, 0.1, 0.2, 0.3, 0.4)  # standard deviation, relative to the range of a pixel
FIRST_GAME = 2_000_003  # seed of the first game of an evaluation


def trained(algorithm: str, env: str, seed: int, steps: int, folder: Path, progress: Progress) -> Run:
    """Train or resume a run until it is finished.

    Raises:
        UserError: if the run was started with other options, or has more steps.
    """
    path = folder / f"{env.replace('/', '-')}_{algorithm}_s{seed}"
    setup = resolve(algorithm, env, {"seed": seed, "steps": steps})
    task = progress.add_task(f"{algorithm}, seed {seed}", total=steps)
    resume = newest_checkpoint(path) if Run(path).checkpoints.all() else None
    if resume:  # it may have more steps than before
        check_unchanged(path, options_of(setup) | {"steps": 0}, read_config(path).options | {"steps": 0})
        has = load_facts(resume / "agent.safetensors")["learner"]["step"]
        if has > steps:
            raise UserError(f"{path} has {has} steps already: give steps:={has}, or delete it")
    elif path.exists():  # stopped before the first checkpoint
        shutil.rmtree(path)
    if resume is None or not done(resume, setup.schedule):
        train(Run.create(path, setup, env), resume, lambda step: progress.update(task, completed=step))
    progress.update(task, completed=steps)
    return Run(path)


def agent_of(run: Run) -> Agent:
    """The agent of a finished run."""
    config = run.config
    setup = config.resolve()
    spaces = Session(config.env, 0, 1).spaces
    agent = Agent(setup.agent_options, spaces, setup.schedule.seed)
    agent.restore(load(run.newest() / "agent.safetensors")[0])
    return agent


@torch.inference_mode()
def mean_return(network: QNetwork, env: str, noise: float = 0.0) -> float:
    """Mean return of evaluation games with Gaussian noise of this standard deviation (pixels 0 to 1)."""
    rng, returns = np.random.default_rng(0), np.zeros(EPISODES)

    def act(_: list[int], seen: list[np.ndarray]) -> list[int]:
        shown = np.stack(seen).astype(np.float32)
        if noise:
            shown = (shown + rng.normal(0, 255 * noise, shown.shape)).clip(0, 255)
        actions = network(torch.from_numpy(shown).float()).argmax(1).numpy()
        random = rng.random(len(seen)) < EPSILON
        actions[random] = rng.integers(network.readout.out_features, size=int(random.sum()))
        return actions.tolist()

    games = [make_env(env) for _ in range(EPISODES)]
    for steps in play(games, range(FIRST_GAME, FIRST_GAME + EPISODES), act, LONGEST):
        for step in steps:
            returns[step.game] += step.reward
    return float(returns.mean())


def states_of(network: QNetwork, env: str) -> torch.Tensor:
    """States ``[STATES + CALIBRATED, ...]`` of new games of the network, not used in training."""
    game, rng, seen = make_env(env), np.random.default_rng(1), []
    observation, _ = game.reset(seed=FIRST_GAME + EPISODES)
    with torch.inference_mode():
        for _ in range(STATES + CALIBRATED):
            seen.append(observation)
            action = int(network(torch.from_numpy(observation)[None]).argmax())
            if rng.random() < EPSILON:
                action = int(rng.integers(network.readout.out_features))
            step = take_step(game, observation, action)
            observation = game.reset()[0] if step.done else step.next_observation
    return torch.from_numpy(np.stack(seen))


@torch.inference_mode()
def actions(network: QNetwork, states: torch.Tensor) -> torch.Tensor:
    """Greedy actions ``[B]`` in states ``[B, ...]``."""
    return torch.cat([network(part).argmax(1) for part in states.split(100)])


def evaluate(run: Run, algorithm: str, seed: int) -> tuple[list[dict], ...]:
    """Table rows of costs, noise and conversion of a trained network."""
    agent, env = agent_of(run), run.config.env
    network, percentile = agent.network, agent.options.conversion.percentile
    states = states_of(network, env)
    states, others = states[:STATES], states[STATES:]
    networks, conversion = {LEARNED.get(algorithm, algorithm): network}, []
    if not network.spiking:
        as_trained, name = actions(network, states), CONVERTED[algorithm]
        layers = len(network.hidden_layers)
        for ticks in [network.levels * layers] if network.levels else TICKS:
            networks[name] = convert(network, others, percentile, ticks)
            same = float((actions(networks[name], states) == as_trained).float().mean())
            row = {"algorithm": name, "seed": seed, "ticks": ticks, "agreement": round(same, 4)}
            conversion.append(row)
    costs, noise = [], []
    for name, network in networks.items():
        operations = count(network, states[::50])
        in_turn = len(network.hidden_layers) if network.spiking and network.constants.waits else 1
        costs.append(
            {
                "algorithm": name,
                "seed": seed,
                "ticks": network.options.ticks * in_turn if network.spiking else 1,
                "rates": " ".join(f"{rate:.4f}" for rate in operations.rates),
                "synaptic_operations": round(operations.synaptic_operations),
                "products": round(operations.products),
                "energy_nJ": round(operations.energy, 2),
            }
        )
        for level in track(NOISE, f"{name}, seed {seed}, games under noise"):
            row = {"algorithm": name, "seed": seed, "noise": level}
            noise.append(row | {"return": round(mean_return(network, env, level), 3)})
    return costs, noise, conversion


def curve(run: Run, algorithm: str, seed: int) -> list[dict]:
    """Table rows of a run's evaluations."""
    return [
        {"algorithm": algorithm, "seed": seed, "step": int(row["step"]), "return": float(row["mean"])}
        for row in run.table("evaluations")
    ]


def draw(tables: dict[str, list[dict]], env: str, target: Path) -> None:
    """Draw learning curves, energy, and returns with noise."""
    figure, (of_curve, of_energy, of_noise) = plt.subplots(1, 3, figsize=(14, 4.2))
    names = list(dict.fromkeys(row["algorithm"] for row in tables["costs"]))
    colour = {name: f"C{k}" for k, name in enumerate(names)}
    for rows, x, axes in ((tables["curve"], "step", of_curve), (tables["noise"], "noise", of_noise)):
        for algorithm in dict.fromkeys(row["algorithm"] for row in rows):
            found = [row for row in rows if row["algorithm"] == algorithm]
            places = sorted({row[x] for row in found})
            by_place = [[row["return"] for row in found if row[x] == place] for place in places]
            mean = np.array([np.mean(values) for values in by_place])
            axes.plot(places, mean, label=algorithm, color=colour[algorithm])
            low, high = ([edge(values) for values in by_place] for edge in (min, max))
            axes.fill_between(places, low, high, alpha=0.2, color=colour[algorithm])
        axes.legend()
    seeds = len({row["seed"] for row in tables["curve"]})
    of_curve.xaxis.set_major_formatter(EngFormatter(sep=""))
    of_curve.set(xlabel="frames", ylabel=f"mean return of {EPISODES} games", title=f"{env}, {seeds} seeds")
    of_noise.set(xlabel="noise, relative to a pixel's range", ylabel="return", title="noise in observations")
    energy = [np.mean([r["energy_nJ"] for r in tables["costs"] if r["algorithm"] == name]) for name in names]
    of_energy.barh(names, energy, color=[*colour.values()])
    of_energy.invert_yaxis()
    of_energy.set(xlabel="nJ per decision, synapses only, estimated", title="energy")
    figure.tight_layout()
    figure.savefig(target, dpi=120)


def write(tables: dict[str, list[dict]], env: str, results: Path) -> None:
    """Write all tables, and the picture."""
    results.mkdir(parents=True, exist_ok=True)
    stem = f"dsqn_vs_dqn_{env.replace('/', '-')}"
    for name, rows in tables.items():
        if rows:
            text = io.StringIO()
            writer = csv.DictWriter(text, [*rows[0]], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            suffix = "" if name == "curve" else f"_{name}"
            write_atomically(results / f"{stem}{suffix}.csv", text.getvalue().encode())
    draw(tables, env, results / f"{stem}.png")


def main() -> None:
    """Train missing runs, evaluate all, write tables and picture."""
    defaults = {
        "env": "minatar/Breakout-v0",
        "algorithms": "dqn,dsqn,converted_sqn",
        "steps": 0,
        "seeds": 3,
    }
    folder = ROOT / "runs/dsqn_vs_dqn"
    given = arguments(defaults | {"first_seed": 0, "results": folder})
    seeds = range(given["first_seed"], given["first_seed"] + given["seeds"])
    if make_env(given["env"]).observation_space.dtype != np.uint8:
        raise UserError(f"{given['env']} shows no pictures to add noise to: give env:=minatar/...")
    prepare_to_compute()
    tables = {"curve": [], "costs": [], "noise": [], "conversion": []}
    for algorithm in given["algorithms"].split(","):
        steps = given["steps"] or resolve(algorithm, given["env"], {}).schedule.steps
        for seed in seeds:
            with Progress() as progress:
                run = trained(algorithm, given["env"], seed, steps, folder, progress)
            tables["curve"] += curve(run, algorithm, seed)
            for name, rows in zip(("costs", "noise", "conversion"), evaluate(run, algorithm, seed)):
                tables[name] += rows
            write(tables, given["env"], given["results"])
    for name in dict.fromkeys(row["algorithm"] for row in tables["noise"]):
        returns = [r["return"] for r in tables["noise"] if r["algorithm"] == name and not r["noise"]]
        print(f"{name}: return {np.mean(returns):.2f} ({', '.join(map(str, returns))})")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
