"""Runs side by side."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import resolve
from spiking_wm.runs.comparison import (
    Curve,
    Group,
    default_threshold,
    interval,
    on_a_grid,
    read,
    steps_to,
)
from spiking_wm.runs.folder import Run
from test.conftest import ENV

ROOT = Path(__file__).resolve().parents[1]


def run_of(path: Path, returns: list[float], algorithm: str = "popsan", env: str = ENV, **given) -> Path:
    """A run that was evaluated every 10 steps, and every 2 seconds."""
    run = Run.create(path, resolve(algorithm, env, given), env)
    for k, mean in enumerate(returns):
        row = {
            "step": 10 * k,
            "policy_version": k,
            "mean": mean,
            "std": 0.0,
            "seconds": 2 * k,
            "returns": f"{mean}",
        }
        run.append("evaluations", row)
    return path


@pytest.fixture
def four(tmp_path) -> list[Path]:
    return [
        run_of(tmp_path / "a0", [0, 4, 10], seed=0),
        run_of(tmp_path / "a1", [2, 8, 10, 50], seed=1, steps=400),
        run_of(tmp_path / "b0", [1, 1, 5], seed=0, batch=32),
        run_of(tmp_path / "c0", [0, 9, 9], "popsan_dream"),
    ]


def test_runs_that_differ_in_seeds_only_are_one_group(four):
    env, groups = read(four)
    assert env == ENV
    assert [group.label for group in groups] == ["popsan batch:=256", "popsan batch:=32", "popsan_dream"]
    assert [[curve.seed for curve in group.curves] for group in groups] == [[0, 1], [0], [0]]
    grid, values = on_a_grid(groups[0].curves, "step")
    assert grid.tolist() == [0, 10, 20]  # as far as both go
    assert values.tolist() == [[0, 4, 10], [2, 8, 10]]
    assert on_a_grid(groups[0].curves, "seconds")[0].tolist() == [0, 2, 4]


def test_curves_with_other_steps_are_joined_by_lines():
    curves = [
        Curve(0, np.array([0.0, 10.0]), np.array([0.0, 1.0]), np.array([0.0, 10.0])),
        Curve(1, np.array([0.0, 4.0, 8.0]), np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 3.0])),
    ]
    grid, values = on_a_grid(curves, "step")
    assert grid.tolist() == [0, 4, 8] and values.tolist() == [[0, 4, 8], [1, 1, 3]]


def test_intervals_are_students():
    found = interval(np.array([1.0, 2.0, 3.0]))
    assert found.mean == 2 and found.half == pytest.approx(4.302653 / 3**0.5)  # t of two degrees of freedom
    assert np.isinf(interval(np.array([5.0])).half)
    columns = interval(np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert columns.mean.tolist() == [2, 5] and columns.half == pytest.approx([12.706205, 0])


def test_thresholds(four):
    _, groups = read(four)
    assert default_threshold(groups) == pytest.approx(0 + 0.9 * 30)  # of means 0 at first and 30 at last
    slow, fast = groups[0].curves
    assert steps_to(fast, 8) == 10 and steps_to(slow, 8) == 20 and np.isinf(steps_to(slow, 27))
    assert default_threshold([Group("x", (slow,))]) == pytest.approx(9)


def test_what_cannot_be_compared_is_refused(four, tmp_path):
    other = run_of(tmp_path / "p", [1], env="Pendulum-v1")
    silent = Run.create(tmp_path / "silent", resolve("popsan", ENV, {}), ENV).path
    for paths, told in (
        ([*four, other], "different environments"),
        ([silent], "no evaluations"),
        ([four[0], four[0]], "have the same seed"),
        ([tmp_path / "none"], "is not a run"),
    ):
        with pytest.raises(UserError, match=told):
            read(paths)


def compare(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "spiking_wm_ros.cli", "compare", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_the_command_tells_draws_and_writes(four, tmp_path):
    done = compare(*four, f"results:={tmp_path}/made/it", "threshold:=9")
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "10 ± 0" in told and "20 20" in told and "steps to 9" in told
    rows = list(csv.DictReader((tmp_path / "made/it.csv").open()))
    assert len(rows) == 3 + 4 + 3 + 3 and rows[4] == {
        "runs": "popsan batch:=256",
        "seed": "1",
        "step": "10",
        "seconds": "2.0",
        "mean_return": "8.0",
    }
    assert (tmp_path / "made/it.png").stat().st_size > 10_000
    for wrong, told in (
        ("threshold:=x", "is not a number"),
        ("seed:=1", "unknown argument"),
        ("x", "not a run"),
    ):
        refused = compare(four[0], wrong)
        assert refused.returncode == 2 and told in refused.stderr
    assert "no runs to compare" in compare().stderr
