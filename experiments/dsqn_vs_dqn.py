"""A deep spiking Q-network beside the vanilla one, and beside networks that convert (Liu et al. 2022).

Run as ``./swm experiment dsqn_vs_dqn``, or in part, as with ``algorithms:=dqn seeds:=1 steps:=100000``; steps
are as many as the environment's file says, where nothing else is asked for. Each run is kept in
``runs/dsqn_vs_dqn`` and goes on where it was stopped; one that is finished is only judged. Of every trained
network it tells the return, also under noise in what is seen, firing rates, synaptic operations and energy
(`spiking_wm.agents.dqn.operations`); of conversions how often they act as the network that they are converted
from: of ``dqn``, which did not learn to be converted, by ticks, and of ``converted_sqn``, which learned with
rounded activity, in the ticks that it learned for. Writes ``dsqn_vs_dqn_ENV.csv`` (curves), ``_costs.csv``,
``_noise.csv``, ``_conversion.csv`` and ``.png`` to that folder, or to another with ``results:=``; they hold
what this call was asked for.
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
from spiking_wm.core.presets import resolve
from spiking_wm.core.process import prepare_to_compute
from spiking_wm.core.storage import load, load_facts
from spiking_wm.envs.make import make_env
from spiking_wm.runs.config import done, options_of, read_config
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from spiking_wm.training.session import Session

ROOT = Path(__file__).resolve().parents[1]
EPISODES, EPSILON, LONGEST = 30, 0.05, 20_000  # of a judged network; steps of all its episodes
STATES, CALIBRATED = 5000, 512  # held-out states that conversions are judged by, and others that they go by
TICKS = (4, 8, 16, 32, 64)  # of conversions of ReLU; the last one is judged in games
LEARNED = {"converted_sqn": "rounded_dqn"}  # what is learned, where what is judged is something else
CONVERTED = {"converted_sqn": "converted_sqn", "dqn": "dqn_converted"}
NOISE = (0.0, 0.1, 0.2, 0.3, 0.4)  # deviation, in the range of a pixel
FIRST_GAME = 2_000_003  # seed of the first judged game


def trained(algorithm: str, env: str, seed: int, steps: int, folder: Path, progress: Progress) -> Run:
    """A run that is finished, after going on with it if it is not.

    Raises:
        UserError: if it was begun with other options, or has more steps.
    """
    path = folder / f"{env.replace('/', '-')}_{algorithm}_s{seed}"
    setup = resolve(algorithm, env, {"seed": seed, "steps": steps})
    task = progress.add_task(f"{algorithm}, seed {seed}", total=steps)
    resume = newest_checkpoint(path) if Run(path).checkpoints.all() else None
    if resume:  # it may be asked for more steps than before
        check_unchanged(path, options_of(setup) | {"steps": 0}, read_config(path).options | {"steps": 0})
        has = load_facts(resume / "agent.safetensors")["learner"]["step"]
        if has > steps:
            raise UserError(f"{path} has {has} steps already: give steps:={has}, or delete it")
    elif path.exists():  # stopped before there was anything to go on from
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
def play(network: QNetwork, env: str, noise: float = 0.0) -> float:
    """Mean return of games in which all act side by side, by pictures with Gaussian noise."""
    games = [make_env(env) for _ in range(EPISODES)]
    seen = [game.reset(seed=FIRST_GAME + k)[0] for k, game in enumerate(games)]
    rng, returns, on = np.random.default_rng(0), np.zeros(EPISODES), list(range(EPISODES))
    for _ in range(LONGEST):
        shown = np.stack([seen[k] for k in on]).astype(np.float32)
        if noise:
            shown = (shown + rng.normal(0, 255 * noise, shown.shape)).clip(0, 255)
        actions = network(torch.from_numpy(shown).float()).argmax(1).numpy()
        random = rng.random(len(on)) < EPSILON
        actions[random] = rng.integers(network.readout.out_features, size=int(random.sum()))
        for k, action in zip([*on], actions):
            seen[k], reward, over, late, _ = games[k].step(int(action))
            returns[k] += reward
            if over or late:
                on.remove(k)
        if not on:
            break
    return float(returns.mean())


def states_of(network: QNetwork, env: str) -> torch.Tensor:
    """States of games in which it acts, that no network has learned from."""
    game, rng, seen = make_env(env), np.random.default_rng(1), []
    observation, _ = game.reset(seed=FIRST_GAME + EPISODES)
    with torch.inference_mode():
        for _ in range(STATES + CALIBRATED):
            seen.append(observation)
            action = int(network(torch.from_numpy(observation)[None]).argmax())
            if rng.random() < EPSILON:
                action = int(rng.integers(network.readout.out_features))
            observation, _, over, late, _ = game.step(action)
            if over or late:
                observation, _ = game.reset()
    return torch.from_numpy(np.stack(seen))


@torch.inference_mode()
def actions(network: QNetwork, states: torch.Tensor) -> torch.Tensor:
    """Greedy ones."""
    return torch.cat([network(part).argmax(1) for part in states.split(100)])


def judge(run: Run, algorithm: str, seed: int) -> tuple[list[dict], ...]:
    """Rows about costs, noise and conversion of a trained network."""
    agent, env = agent_of(run), run.config.env
    network, percentile = agent.network, agent.options.percentile
    states = states_of(network, env)
    states, others = states[:STATES], states[STATES:]
    judged, conversion = {LEARNED.get(algorithm, algorithm): network}, []
    if not network.sizes.spiking:
        as_trained, name = actions(network, states), CONVERTED[algorithm]
        layers = len(network.convolutions) + 1
        for ticks in [network.sizes.levels * layers] if network.sizes.levels else TICKS:
            judged[name] = convert(network, others, percentile, ticks)
            same = float((actions(judged[name], states) == as_trained).float().mean())
            row = {"algorithm": name, "seed": seed, "ticks": ticks, "agreement": round(same, 4)}
            conversion.append(row)
    costs, noise = [], []
    for name, of_it in judged.items():
        operations, sizes = count(of_it, states[::50]), of_it.sizes
        in_turn = len(of_it.convolutions) + 1 if sizes.spiking and of_it.constants.waits else 1
        costs.append(
            {
                "algorithm": name,
                "seed": seed,
                "ticks": sizes.ticks * in_turn if sizes.spiking else 1,
                "rates": " ".join(f"{rate:.4f}" for rate in operations.rates),
                "synaptic_operations": round(operations.synaptic_operations),
                "products": round(operations.products),
                "energy_nJ": round(operations.energy, 2),
            }
        )
        for level in track(NOISE, f"{name}, seed {seed}, games under noise"):
            row = {"algorithm": name, "seed": seed, "noise": level}
            noise.append(row | {"return": round(play(of_it, env, level), 3)})
    return costs, noise, conversion


def curve(run: Run, algorithm: str, seed: int) -> list[dict]:
    """Rows of its evaluations."""
    return [
        {"algorithm": algorithm, "seed": seed, "step": int(row["step"]), "return": float(row["mean"])}
        for row in run.table("evaluations")
    ]


def draw(tables: dict[str, list[dict]], env: str, target: Path) -> None:
    """Curves, energy, and returns under noise."""
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
    of_noise.set(xlabel="noise, in a pixel's range", ylabel="return", title="noise in what is seen")
    energy = [np.mean([r["energy_nJ"] for r in tables["costs"] if r["algorithm"] == name]) for name in names]
    of_energy.barh(names, energy, color=[*colour.values()])
    of_energy.invert_yaxis()
    of_energy.set(xlabel="nJ a decision, synapses alone, estimated", title="energy")
    figure.tight_layout()
    figure.savefig(target, dpi=120)


def write(tables: dict[str, list[dict]], env: str, results: Path) -> None:
    """All tables, and the picture."""
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
    """Train what is not trained yet, judge it, write tables and picture."""
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
        raise UserError(f"{given['env']} shows no pictures, whose noise is judged: give env:=minatar/...")
    prepare_to_compute()
    tables = {"curve": [], "costs": [], "noise": [], "conversion": []}
    for algorithm in given["algorithms"].split(","):
        steps = given["steps"] or resolve(algorithm, given["env"], {}).schedule.steps
        for seed in seeds:
            with Progress() as progress:
                run = trained(algorithm, given["env"], seed, steps, folder, progress)
            tables["curve"] += curve(run, algorithm, seed)
            for name, rows in zip(("costs", "noise", "conversion"), judge(run, algorithm, seed)):
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
