"""The experiment of learning curves on HalfCheetah: what it trains, goes on with, refuses and shows."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import resolve
from spiking_wm.core.storage import load
from spiking_wm.runs.folder import Run

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "experiments"))
import _intervals  # noqa: E402
import _runs  # noqa: E402
import frontier_halfcheetah as frontier  # noqa: E402

ENV = "InvertedPendulum-v5"
TINY = {
    "evaluation.every": 100,
    "evaluation.episodes": 2,
    "learn_after": 100,
    "warmup": 100,
    "dream.after": 150,
    "dream.every": 50,
    "dream.rollouts": 32,
    "dream.batch": 32,
    "checkpoint_every": 100,
    "batch": 16,
    "model.batch": 16,
    "model.first_updates": 10,
    "actor.hidden": "[16]",
    "critic.hidden": "[16]",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(_intervals, "REPETITIONS", 200)


def arguments(folder: Path, **changes) -> list[str]:
    given = {"env": ENV, "steps": 400, "seeds": "0", "threshold": 5, "folder": folder, **TINY, **changes}
    return [f"{name}:={value}" for name, value in given.items()]


def run_here(monkeypatch, *given: str) -> None:
    monkeypatch.setattr(sys, "argv", ["frontier_halfcheetah", *given])
    frontier.main()


def start(given: list[str]) -> subprocess.Popen:
    program = [sys.executable, str(ROOT / "experiments/frontier_halfcheetah.py"), *given]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True)


def recorded(folder: Path, env: str, curves: dict[tuple[str, int], list[float]], every: int = 10_000) -> None:
    """Runs as they are after evaluations with these mean returns, in the folder."""
    for (arm, seed), returns in curves.items():
        given = {"seed": seed, "stop_when_solved": False, **frontier.ARMS[arm].options}
        setup = resolve(frontier.ARMS[arm].algorithm, env, given)
        run = Run.create(folder / f"{arm}_{seed}", setup, env)
        for number, mean in enumerate(returns):
            row = {"step": number * every, "policy_version": 1, "mean": mean, "std": 0, "returns": mean}
            run.append("evaluations", row | {"seconds": 360 * number})


def shown(monkeypatch, capsys, *given: str) -> dict[str, list[str]]:
    """The printed table: cells by measure."""
    run_here(monkeypatch, "train:=false", *given)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: values for name, *values in cells}


# --- what is shown ---


def test_table_curves_and_picture_of_what_is_there(monkeypatch, capsys, tmp_path):
    folder, results = tmp_path / "runs", tmp_path / "results"
    rise = np.linspace(0, 10_000, 11)
    curves = {("awake", seed): list(rise + seed) for seed in (1, 2, 3)}
    curves |= {("dream", seed): list(rise + 1000 + seed) for seed in (1, 2, 3)}
    curves["dream", 3][-2] = 20_000
    recorded(folder, "HalfCheetah-v5", curves)
    cells = shown(monkeypatch, capsys, f"folder:={folder}", f"results:={results}", "seeds:=1,2,3")
    assert cells[""] == ["awake", "dream"]  # the third arm has not begun
    assert cells["seeds"] == ["3", "3"] and cells["steps"] == ["100,000", "100,000"]
    assert cells["last evaluation: mean"] == ["10,002 [10,001, 10,003]", "11,002 [11,001, 11,003]"]
    assert cells["last evaluation: interquartile mean"][0].startswith("10,002 [")
    assert cells["last evaluation: standard deviation over seeds"] == ["1", "1"]
    assert cells["best evaluation of each seed: mean"][1].startswith("14,001 [11,0")
    assert cells["first step with a mean of at least 8,000"] == ["80,000", "70,000"]
    assert cells["mean return over the first 50,000 steps"][0] == "2,502 [2,501, 2,503]"
    assert cells["the same, of `dream` minus this arm's"] == ["1,000 [999, 1,001]", "-"]
    assert cells["probability that `dream` has more"] == ["1.00 [1.00, 1.00]", "-"]
    assert cells["hours of computing"] == ["3.00", "3.00"]
    assert {path.name for path in results.iterdir()} == {
        "frontier_halfcheetah.csv",
        "frontier_halfcheetah.png",
    }
    with (results / "frontier_halfcheetah.csv").open() as file:
        rows = [*csv.reader(file)]
    assert rows[0] == ["arm", "seed", "step", "return"] and len(rows) == 1 + 6 * 11
    assert rows[1:3] == [["awake", "1", "0", "1.0"], ["awake", "1", "10000", "1001.0"]]


def test_runs_of_another_machine_are_taken_in_and_not_trained_again(monkeypatch, capsys, tmp_path):
    there, here, table = tmp_path / "there", tmp_path / "here", tmp_path / "frontier_invertedpendulum.csv"
    recorded(there, ENV, {("awake", 0): [0, 2, 4], ("awake", 1): [1, 3, 5]}, 100)
    given = (f"env:={ENV}", "seeds:=0,1", "threshold:=5", "steps:=200")
    shown(monkeypatch, capsys, f"folder:={there}", f"results:={tmp_path}", *given)
    run_here(monkeypatch, f"folder:={here}", f"earlier:={table}", "arms:=awake", *given)  # nothing to train
    assert {path.suffix for path in here.iterdir()} == {".csv", ".png"}
    assert (here / table.name).read_text() == table.read_text()
    recorded(here, ENV, {("awake", 2): [2, 4, 6]}, 100)
    cells = shown(monkeypatch, capsys, f"folder:={here}", f"earlier:={table}", *given, "seeds:=0,1,2")
    assert cells["seeds"] == ["2"]  # the third is not finished
    for text in ("arm,seed\n", "arm,seed,step,return\nawake,0,x,1\n"):
        table.write_text(text)
        with pytest.raises(UserError, match="is no table of this program"):
            run_here(monkeypatch, f"folder:={here}", f"earlier:={table}", *given)


def test_runs_of_other_lengths_are_compared_where_they_all_are(monkeypatch, capsys, tmp_path):
    recorded(tmp_path, ENV, {("awake", 0): [0, 2, 4, 6, 8], ("awake", 1): [2, 4, 6]}, 1000)
    given = (f"folder:={tmp_path}", f"env:={ENV}", "seeds:=0,1,2", "threshold:=5", "steps:=4000")
    cells = shown(monkeypatch, capsys, *given)
    assert cells[""] == ["awake"] and cells["seeds"] == ["2"] and cells["steps"] == ["2,000"]
    assert cells["first step with a mean of at least 5"] == ["2,000"]
    assert cells["mean return over the first 2,000 steps"] == ["3 [2, 4]"]
    cells = shown(monkeypatch, capsys, *given, "steps:=1000")  # of longer runs, the beginning
    assert cells["steps"] == ["1,000"] and cells["first step with a mean of at least 5"] == ["never"]
    assert len((tmp_path / "frontier_invertedpendulum.csv").read_text().split()) == 1 + 2 * 2


def test_one_seed_has_no_interval(monkeypatch, capsys, tmp_path):
    recorded(tmp_path, ENV, {("awake", 7): [0, 2], ("dream", 7): [0, 6]}, 1000)
    given = (f"folder:={tmp_path}", f"env:={ENV}", "seeds:=7")
    cells = shown(monkeypatch, capsys, *given)
    assert cells["last evaluation: mean"] == ["2", "6"]
    assert cells["last evaluation: standard deviation over seeds"] == ["-", "-"]
    assert cells["the same, of `dream` minus this arm's"] == ["2", "-"]


def test_intervals_are_those_of_the_bootstrap(monkeypatch):
    monkeypatch.setattr(_intervals, "REPETITIONS", 2000)
    scores = np.arange(10.0)
    mean, middle = _intervals.mean(scores), _intervals.interquartile_mean(scores * [1] * 9 + [0])
    drawn = np.random.default_rng(0).choice(scores, (20_000, 10)).mean(1)
    assert mean == pytest.approx((4.5, *np.quantile(drawn, (0.025, 0.975))), abs=0.15)
    assert _intervals.mean(scores) == mean  # the same each time
    assert middle.low < middle.value < middle.high
    low, high = _intervals.band(np.stack([scores, scores * 10], 1))
    assert (low[0], high[0]) == pytest.approx(mean[1:], abs=0.3)
    assert (low[1], high[1]) == pytest.approx(np.multiply(mean[1:], 10), abs=3)
    assert _intervals.difference(scores, scores).low < -2
    assert _intervals.probability_of_improvement(scores + 5, scores).value == pytest.approx(0.875)


def test_an_area_ends_between_evaluations():
    steps, returns = np.array([0, 40, 80]), np.array([[0.0, 4.0, 0.0], [2.0, 2.0, 2.0]])
    assert _intervals.area(steps, returns, 60) == pytest.approx([(80 + 60) / 60, 2])


# --- what is refused ---


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("arms:=awake,asleep", "unknown arm 'asleep'; known: awake, dream, replay_control"),
        ("critic.rate:=1", "unknown parameter 'critic.rate'"),
        ("seed:=1", "give seeds:="),
        ("seeds:=1,x", "seeds:=x is not a whole number"),
        ("processes:=0", "processes:=0 is below 1"),
        ("train:=no", "neither true nor false"),
        ("steps", "is not of the form name:=value"),
        ("env:=NoSuch-v0", "NoSuch"),
        ("train:=false", "no run in .* has an evaluation yet"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_written(given, told, monkeypatch, tmp_path):
    with pytest.raises(UserError, match=told):
        run_here(monkeypatch, f"folder:={tmp_path}", given)
    assert not [*tmp_path.iterdir()]


def test_runs_of_other_options_are_refused(monkeypatch, tmp_path):
    recorded(tmp_path, "HalfCheetah-v5", {("dream", 0): [1.0]})
    given = (f"folder:={tmp_path}", "seeds:=0", "arms:=dream")
    with pytest.raises(UserError, match=r"dream_0 was begun with another critic\.lr: delete it"):
        run_here(monkeypatch, *given, "critic_lr:=0.01")
    with pytest.raises(UserError, match="dream_0 was begun with another env"):
        run_here(monkeypatch, *given, f"env:={ENV}", "train:=false")
    run_here(monkeypatch, *given, "critic_lr:=0.01", "train:=false")
    (tmp_path / "dream_1").mkdir()
    (tmp_path / "dream_1" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="dream_1 is not a run"):
        run_here(monkeypatch, f"folder:={tmp_path}", "seeds:=1", "arms:=dream")


# --- what is trained ---


def state_of(path: Path) -> tuple:
    """Everything learned, and evaluations, without times."""
    run = Run(path)
    tensors, facts = load(run.newest() / "agent.safetensors")
    evaluations = [(row["step"], row["returns"]) for row in run.table("evaluations")]
    learned = {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
    return learned, facts["learner"], evaluations, run.table("episodes")


def wait_for(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.long
def test_runs_that_were_stopped_or_killed_go_on_bit_for_bit(monkeypatch, capsys, tmp_path):
    whole, disturbed = tmp_path / "whole", tmp_path / "disturbed"
    run_here(monkeypatch, *arguments(whole))
    said = capsys.readouterr().out
    assert "| last evaluation: mean" in said and "replay_control" in said
    for arm, seed in (("awake", 0), ("dream", 0), ("replay_control", 0)):
        facts = load(Run(whole / f"{arm}_{seed}").newest() / "agent.safetensors")[1]["learner"]
        assert facts["step"] == 400 and (facts["dreams"] > 0) == (arm != "awake")
    written = [path.stat().st_mtime_ns for path in sorted(whole.rglob("*.safetensors"))]
    run_here(monkeypatch, *arguments(whole))  # nothing is left to do
    assert written == [path.stat().st_mtime_ns for path in sorted(whole.rglob("*.safetensors"))]

    killed = start(arguments(disturbed))
    wait_for(lambda: [*disturbed.glob("awake_0/checkpoints/step_*")], killed)
    killed.kill()  # its runs notice, save and end
    killed.wait()
    stopped = start(arguments(disturbed))
    wait_for(lambda: Run(disturbed / "dream_0").table("dreams"), stopped)
    stopped.send_signal(signal.SIGINT)
    stopped.wait()
    assert stopped.returncode == 1 and Run(disturbed / "dream_0").checkpoints.all()
    run_here(monkeypatch, *arguments(disturbed))
    for name in ("awake_0", "dream_0", "replay_control_0"):
        assert state_of(disturbed / name) == state_of(whole / name)


@pytest.mark.slow
@pytest.mark.long
def test_runs_killed_themselves_are_told_and_go_on_from_their_checkpoints(monkeypatch, tmp_path):
    run_here(monkeypatch, *arguments(tmp_path / "whole", arms="dream"))
    folder, started = tmp_path / "killed", []
    popen = subprocess.Popen
    monkeypatch.setattr(
        _runs.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1]
    )
    polled = _runs.time.sleep

    def kill_after_a_checkpoint(seconds: float) -> None:
        polled(seconds)
        if len(Run(folder / "dream_0").table("evaluations")) > 2:
            started[-1].kill()

    monkeypatch.setattr(_runs.time, "sleep", kill_after_a_checkpoint)
    with pytest.raises(UserError, match="dream_0 failed: it printed nothing"):
        run_here(monkeypatch, *arguments(folder, arms="dream"))
    assert started[-1].returncode == -signal.SIGKILL
    monkeypatch.setattr(_runs.time, "sleep", polled)
    run_here(monkeypatch, *arguments(folder, arms="dream"))
    assert state_of(folder / "dream_0") == state_of(tmp_path / "whole" / "dream_0")
    run_here(monkeypatch, *arguments(folder, arms="dream", steps=500))  # goes on to more steps
    assert [row["step"] for row in Run(folder / "dream_0").table("evaluations")][-1] == "500"


@pytest.mark.slow
def test_a_run_that_cannot_learn_is_told_by_what_it_printed(monkeypatch, tmp_path):
    with pytest.raises(UserError, match=r"awake_0 failed: error: .*log\.txt"):
        run_here(monkeypatch, *arguments(tmp_path, env="CartPole-v1", arms="awake"))
