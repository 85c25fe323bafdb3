"""Snapshots after a short seeded run of every algorithm, as digests. Prints JSON.

``python -m test.test_golden`` records them anew; do so only with a commit that explains why they changed. A
digest does not depend on the names of tensors, so renaming keeps it.
"""

import hashlib
import json
import os
import platform
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch

from spiking_wm.core.options import canonical
from spiking_wm.core.presets import algorithms, resolve
from spiking_wm.core.schedule import Schedule
from spiking_wm.envs.demonstrations import keep, play
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from test.conftest import env_for

# options of a run so short that it takes seconds, as far as an algorithm has them
SHORT = {
    "steps": 120,
    "learn_after": 40,
    "updates_per_step": 0.5,
    "warmup": 40,
    "policy_every": 10,
    "dream_every": 50,
    "dream_after": 60,
    "dream_rollouts": 8,
    "dream_batch": 8,
    "evaluate_every": 0,
    "checkpoint_every": 0,
    "matmul": "highest",
    "batch": 8,
    "model_batch": 8,
    "model_first_updates": 2,
    "actor_hidden": "[16]",
    "critic_hidden": "[16]",
    "model_hidden": 16,
    "model_every": 2,
    "neurons": 20,
    "model_neurons": 20,
    "value_first": 0,
    "size": "tiny",
    "length": 8,
    "starts": 8,
    "replay": 1000,
    "hidden": 16,
    "calibration": 32,
    "width": 16,
    "heads": 2,
    "context": 5,
    "dataset": "",
    "rollout": 20,
    "model_updates": 2,
}


DEMONSTRATED = "spiking_dt by demonstrations"


def snapshot_of(algorithm: str) -> dict[str, torch.Tensor]:
    """The agent's snapshot after such a run."""
    if algorithm == DEMONSTRATED:
        return demonstrated()
    env = env_for(algorithm)
    options = type(resolve(algorithm, env, {}).agent_options)
    given = {n: v for n, v in SHORT.items() if canonical(options, n) or canonical(Schedule, n)}
    if algorithm.startswith("rsnn"):
        del given["dream_batch"]  # as recorded, when their option had another name
    return short_run(algorithm, env, given)


def demonstrated() -> dict[str, torch.Tensor]:
    """Of a decision transformer that learns by demonstrations, and on line."""
    options = {"imitation_updates": 20, "dataset": "CartPole-v1/random-v0", "local_head": 0.1, "unsettled": 2}
    names = ("width", "hidden", "heads", "context", "replay", "rollout", "batch", "steps", "evaluate_every")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MINARI_DATASETS_PATH"] = folder
        rng = np.random.default_rng(0)
        played = play("CartPole-v1", lambda seen: rng.integers(2, size=len(seen)), 8, lambda done: None)
        keep("CartPole-v1", {kind: played for kind in ("expert", "medium", "random")}, "nobody")
        given = {name: SHORT[name] for name in names} | options
        return short_run("spiking_dt_dream", "CartPole-v1", given)


def short_run(algorithm: str, env: str, given: dict) -> dict[str, torch.Tensor]:
    """The agent's snapshot at the end of a run."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run", resolve(algorithm, env, given), env)
        return train(run).agent.snapshot()


def digest(snapshot: dict[str, torch.Tensor]) -> str:
    """SHA-256 of all tensors, in an order that their contents decide."""
    of_each = []
    for tensor in snapshot.values():
        array = tensor.contiguous().numpy()
        kind = f"{array.dtype}{array.shape}".encode()
        of_each.append(hashlib.sha256(kind + array.tobytes()).digest())
    return hashlib.sha256(b"".join(sorted(of_each))).hexdigest()


def size(snapshot: dict[str, torch.Tensor]) -> float:
    """Sum of the absolute values of all floating-point tensors."""
    numbers = [t.double() for t in snapshot.values() if t.is_floating_point()]
    return float(sum(t[t.isfinite()].abs().sum() for t in numbers))


def processor() -> str:
    """What decides how sums are rounded."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return f"{model or platform.processor()}, {torch.backends.cpu.get_cpu_capability()}"


def main() -> None:
    """Print what there is, or what the algorithms named by arguments give."""
    warnings.simplefilter("ignore")
    found = {}
    for algorithm in sys.argv[1:] or [*algorithms(), DEMONSTRATED]:
        snapshot = snapshot_of(algorithm)
        found[algorithm] = {"sha256": digest(snapshot), "size": size(snapshot)}
        print(algorithm, file=sys.stderr, flush=True)
    print(json.dumps({"processor": processor(), "snapshots": found}, indent=1))


if __name__ == "__main__":
    main()
