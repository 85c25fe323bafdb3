"""The rover dreams on its dock, or only charges there: trains both, seed after seed, and judges them.

Run as ``./swm shell python results/rover_dreaming.py FOLDER SEED ...``; a run that is in FOLDER already
is judged only. Both act 25 times a second of real time, side by side, so they are awake and charge
equally long. Every 1,500 steps the policy that acts is kept, and afterwards judged by 40 greedy
episodes with the same starts for all. Writes ``results/rover_dreaming.csv`` and ``.png``.
"""

import csv
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import gymnasium as gym
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from rich.progress import track

import spiking_wm.envs  # noqa: F401, registers the rover
from spiking_wm.core.process import prepare_to_compute
from spiking_wm.core.spaces import Spaces
from spiking_wm.runs.policy_bundle import load_bundle, make_policy

HERE = Path(__file__).resolve().parent
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
        "evaluate_every": 0,
        "checkpoint_every": EVERY,
        "run": run,
    }
    if algorithm == "popsan_dream":
        given["dream_every"] = 0  # on the dock only
    command = [HERE.parent / "swm", "train", *(f"{name}:={value}" for name, value in given.items())]
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


def judge(policy: Path) -> np.ndarray:
    """Returns of greedy episodes."""
    prepare_to_compute()
    env = gym.make(ENV)
    acting = make_policy(load_bundle(policy), Spaces.of(env))
    returns = np.zeros(EPISODES)
    for episode in range(EPISODES):
        observation, _ = env.reset(seed=10_000 + episode)
        state, over = acting.initial_state(), False
        while not over:
            action, state = acting.act(observation.astype(np.float32), state, None)
            observation, reward, terminated, truncated, _ = env.step(action)
            returns[episode] += reward
            over = terminated or truncated
    return returns


def main() -> None:
    """Train, judge, and write the table and the picture."""
    folder, seeds = Path(sys.argv[1]).resolve(), [int(seed) for seed in sys.argv[2:]]
    for seed in seeds:
        train_both(folder, seed)
    kept = {
        (algorithm, seed, int(path.stem.split("_")[1])): path
        for algorithm in ARMS
        for seed in seeds
        for path in sorted((folder / f"{algorithm}_{seed}" / "kept").glob("step_*.safetensors"))
    }
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        judged = dict(zip(kept, track(pool.map(judge, kept.values()), "judging", len(kept))))
    with open(HERE / "rover_dreaming.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("algorithm", "seed", "step", "mean_return", "standard_error"))
        for (algorithm, seed, step), returns in judged.items():
            error = returns.std() / len(returns) ** 0.5
            writer.writerow((algorithm, seed, step, round(returns.mean(), 2), round(error, 2)))
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for algorithm, label in ARMS.items():
        steps = sorted(set.intersection(*({k[2] for k in kept if k[:2] == (algorithm, s)} for s in seeds)))
        means = np.array([[judged[algorithm, seed, step].mean() for step in steps] for seed in seeds])
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
    figure.savefig(HERE / "rover_dreaming.png", dpi=120)


if __name__ == "__main__":
    main()
