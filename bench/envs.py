"""Steps per second of training in a slow environment, with one and with several copies of it.

Run as ``./swm bench envs``. A step takes 10 ms: of one processor (busy), or of sleep, as for a simulator on
another machine. Trainings with one copy and with several take turns. Learning is light: a deep Q-network, one
update of 32 transitions in twenty steps, a policy version every hundred.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
from _yardstick import gflops
from rich.console import Console
from rich.table import Table

from spiking_wm.core.presets import resolve
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train

TURNS, SECONDS = 5, 8.0  # turns of each case; seconds that are measured in each
STEP = 0.01  # seconds
LEARNS_FROM = 50  # step from which on it is measured
OPTIONS = {
    "steps": 10**9,
    "learn_after": LEARNS_FROM,
    "warmup": LEARNS_FROM,
    "updates_per_step": 0.05,
    "policy_every": 100,
    "evaluation.every": 0,
    "checkpoint_every": 0,
}


class Busy(gym.Env):
    """Four values, two actions; a step computes for 10 ms."""

    observation_space = gym.spaces.Box(-1, 1, (4,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode."""
        super().reset(seed=seed)
        self._steps = 0
        return self._observed(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Pass 10 ms."""
        self.wait()
        self._steps += 1
        return self._observed(), float(action), False, self._steps == 200, {}

    def wait(self) -> None:
        """Pass the time of a step."""
        end = time.thread_time() + STEP
        while time.thread_time() < end:
            pass

    def _observed(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, 4).astype(np.float32)


class Sleeping(Busy):
    """The same; a step sleeps for 10 ms."""

    def wait(self) -> None:
        """Sleep."""
        time.sleep(STEP)


CASES = {"busy": (Busy, 2, 1.8), "sleeping": (Sleeping, 8, 6.0)}  # environment, copies, target of the ratio


def speed(env: type[Busy], envs: int) -> float:
    """Steps per second of a training."""
    times: list[float] = []

    def on_step(step: int) -> None:
        if step >= LEARNS_FROM:
            times.append(time.perf_counter())

    def stopped() -> bool:
        return bool(times) and times[-1] - times[0] > SECONDS

    with tempfile.TemporaryDirectory() as folder:
        setup = resolve("dqn", env.__name__, OPTIONS | {"envs": envs})
        train(
            Run.create(Path(folder) / "run", setup, env.__name__), on_step=on_step, stopped=stopped, env=env
        )
    return (len(times) - 1) / (times[-1] - times[0])


def main() -> None:
    """Measure in turns, print a table, and one JSON object as the last line."""
    gigaflops, speeds = gflops(), {name: ([], []) for name in CASES}
    for _ in range(TURNS):
        for name, (env, envs, _) in CASES.items():
            for found, number in zip(speeds[name], (1, envs)):
                found.append(speed(env, number))
    columns = ("each step", "copies", "steps/s of one", "of all", "ratio", "target")
    table = Table(*columns, title=f"{gigaflops:.0f} GFLOP/s")
    figures: dict[str, float] = {"gflops": gigaflops}
    for name, (_, envs, target) in CASES.items():
        one, several = speeds[name]
        ratios = [b / a for a, b in zip(one, several)]
        ratio = statistics.median(ratios)
        spread = f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        row = (f"{statistics.median(one):.1f}", f"{statistics.median(several):.1f}", spread, f"{target}")
        table.add_row(name, str(envs), *row)
        figures |= {f"{name}_1": statistics.median(one), f"{name}_{envs}": statistics.median(several)}
        figures[f"{name}_ratio"] = ratio
    Console(width=100).print(table)
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
