"""A rover that dreams on its dock, and one that only charges there: trains and evaluates both.

Run as ``./swm experiment rover_dreaming folder:=runs/rover_dreaming seeds:=0,1,2``; a run that is in the
folder already is only evaluated. Both act 25 times a second of real time, side by side, so they are awake and
charge equally long. The acting policy is kept every 1,500 steps, and evaluated at the end in 40 greedy
episodes with the same starts for all. Writes ``rover_dreaming.csv`` and ``.png`` to the folder, or to
``results:=``.
"""

import csv
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from _arguments import arguments
from rich.progress import track

import spiking_wm
from spiking_wm.core.process import prepare_to_compute

ROOT = Path(__file__).resolve().parents[1]
FIRST_SEED = 10_000  # of evaluation episodes
ENV, RATE, STEPS, EVERY, EPISODES = "Rover-v0", 25, 15_000, 1500, 40
ARMS = {"popsan_dream": "dreaming while it charges", "popsan": "idle while it charges"}


def train(run: Path, algorithm: str, seed: int, domain: int) -> subprocess.Popen:
    """Start a run through ROS 2, in a domain of its own."""
    given = {
        "algorithm": algorithm,
        "env": ENV,
        "battery": "own",
        "capacity_j": 300,
        "rate_hz": RATE,
        "steps": STEPS,
        "seed": seed,
        "evaluation.every": 0,
        "checkpoint_every": EVERY,
        "run": run,
    }
    if algorithm == "popsan_dream":
        given["dream.every"] = 0  # on the dock only
    command = [ROOT / "swm", "train", *(f"{name}:={value}" for name, value in given.items())]
    return subprocess.Popen(command, env=os.environ | {"ROS_DOMAIN_ID": str(domain)})


def keep(run: Path) -> None:
    """Copy the policies of the checkpoints that are there; a run itself keeps the newest two."""
    (run / "kept").mkdir(exist_ok=True)
    for policy in run.glob("checkpoints/step_*/policy.safetensors"):
        kept = run / "kept" / f"{policy.parent.name.rsplit('_', 1)[0]}.safetensors"
        if not kept.exists():
            shutil.copy(policy, kept)


def train_both(folder: Path, seed: int) -> None:
    """Both arms at once, to their ends."""
    runs = {algorithm: folder / f"{algorithm}_{seed}" for algorithm in ARMS}
    started = [
        train(run, algorithm, seed, 60 + number)
        for number, (algorithm, run) in enumerate(runs.items())
        if not run.exists()
    ]
    over = threading.Event()
    while started and not over.wait(3):
        for run in runs.values():
            if run.exists():
                keep(run)
        if all(process.poll() is not None for process in started):
            over.set()
    if any(process.returncode for process in started):
        sys.exit(
            f"error: a run of seed {seed} failed, see above: remove its folder in {folder} and start again"
        )


def returns_of(policy: Path) -> np.ndarray:
    """Returns of greedy episodes."""
    prepare_to_compute()
    return np.array(spiking_wm.evaluate(policy, episodes=EPISODES, env=ENV, seed=FIRST_SEED).returns)


def main() -> None:
    """Train, evaluate, and write the table and the picture."""
    given = arguments({"folder": "runs/rover_dreaming", "seeds": "0,1,2", "results": ""})
    folder, seeds = Path(given["folder"]).resolve(), [int(seed) for seed in given["seeds"].split(",")]
    results = Path(given["results"] or folder)
    folder.mkdir(parents=True, exist_ok=True)
    results.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        train_both(folder, seed)
    kept = {
        (algorithm, seed, int(path.stem.split("_")[1])): path
        for algorithm in ARMS
        for seed in seeds
        for path in sorted((folder / f"{algorithm}_{seed}" / "kept").glob("step_*.safetensors"))
    }
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        evaluated = dict(zip(kept, track(pool.map(returns_of, kept.values()), "evaluating", len(kept))))
    with open(results / "rover_dreaming.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("algorithm", "seed", "step", "mean_return", "standard_error"))
        for (algorithm, seed, step), returns in evaluated.items():
            error = returns.std() / len(returns) ** 0.5
            writer.writerow((algorithm, seed, step, round(returns.mean(), 2), round(error, 2)))
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for algorithm, label in ARMS.items():
        steps = sorted(set.intersection(*({k[2] for k in kept if k[:2] == (algorithm, s)} for s in seeds)))
        means = np.array([[evaluated[algorithm, seed, step].mean() for step in steps] for seed in seeds])
        (line,) = axes.plot(
            np.array(steps) / RATE / 60, means.mean(0), label=f"{label}, mean and range of {len(seeds)} seeds"
        )
        axes.fill_between(
            np.array(steps) / RATE / 60, means.min(0), means.max(0), alpha=0.2, color=line.get_color()
        )
        print(f"{label}: last {means[:, -1].mean():.1f} (seeds: {means[:, -1].round(1)}),", end=" ")
        print(f"whole curve {means.mean():.1f} (seeds: {means.mean(1).round(1)})")
        print(f"  steps {steps}, means {means.mean(0).round(1)}")
    axes.set(xlabel="minutes awake", ylabel=f"mean return of {EPISODES} greedy episodes", title=ENV)
    axes.legend(loc="best")
    figure.tight_layout()
    figure.savefig(results / "rover_dreaming.png", dpi=120)


if __name__ == "__main__":
    main()
