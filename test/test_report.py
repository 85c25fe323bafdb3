"""A run at a glance: `./swm report`, and what it is made from."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import resolve
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from spiking_wm.runs.policy_bundle import load_bundle
from spiking_wm.runs.report import _far_apart_first, report
from spiking_wm.training.evaluation import episode_return
from spiking_wm_ros.cli.report import write_reports
from test.chips import policy_of
from test.conftest import ENV

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def dreamt(tmp_path_factory) -> Run:
    """A run with dreams."""
    from test.conftest import TINY

    given = TINY | {"dream_every": 100, "dream_after": 60, "steps": 700}
    given["dream_updates_per_rollout"] = 0.25  # so many that the actor changes in every dream
    run = Run.create(
        tmp_path_factory.mktemp("runs") / "run", resolve("popsan_dream", "Pendulum-v1", given), "Pendulum-v1"
    )
    train(run)
    return run


def test_policies_around_dreams_are_kept(dreamt):
    rows = dreamt.table("dreams")
    assert [int(row["number"]) for row in rows] == [*range(1, len(rows) + 1)] and len(rows) >= 4
    ended = [float(row["began"]) + float(row["seconds"]) for row in rows]
    began = [float(row["began"]) for row in rows]
    assert all(b >= e for b, e in zip(began[1:], ended)) and all(float(row["seconds"]) > 0 for row in rows)
    pairs = dreamt.around_dreams()
    assert [number for number, *_ in pairs] == [*range(1, len(rows) + 1)]
    for _, before, after in pairs:
        one, other = (load_bundle(path).weights for path in (before, after))
        assert any((one[name] != other[name]).any() for name in one)


def test_so_many_dreams_are_kept_from_first_to_last(tmp_path):
    run = Run(tmp_path)
    for number in range(1, 300):
        for when in ("before", "after"):
            run.keep_around_dream(number, when, b"x")
    kept = [number for number, *_ in run.around_dreams()]
    assert 6 <= len(kept) <= 12 and kept[0] == 1 and kept[-1] == 299


def test_the_report_is_one_file_that_says_it_all(dreamt):
    file = report(dreamt)
    text = file.read_text()
    titles = re.findall("<h2>(.*?)</h2>", text)
    assert titles == [
        "Run",
        "Learning curve",
        "Phases over time",
        "Error of the world model",
        "Dream against reality",
        "What dreams changed",
        "Spikes and energy of the policy",
        "Options",
    ]
    assert file.stat().st_size < 5_000_000
    # nothing from elsewhere
    assert set(re.findall('src="(.....)', text)) == {"data:"} and "href" not in text and "http" not in text
    assert text.count("data:image/png;base64,") == 5
    assert "torch 2." in text and "nJ in all" in text and "greedy episodes" in text
    judged = re.search(r"Better after (\d+) of (\d+) dreams", text)
    assert int(judged[2]) == len(dreamt.around_dreams()) >= int(judged[1])


def test_networks_that_no_chip_runs_are_reported_without_their_spikes(tmp_path):
    given = {
        "steps": 30,
        "evaluate_every": 30,
        "evaluation_episodes": 1,
        "checkpoint_every": 30,
        "learn_after": 20,
    }
    run = Run.create(tmp_path / "run", resolve("dqn", "minatar/Breakout-v0", given), "minatar/Breakout-v0")
    train(run)
    text = report(run).read_text()
    assert "Not counted" in text and "What dreams changed" not in text and "Learning curve" in text


@pytest.mark.slow
def test_the_command_is_kept_and_reported(tmp_path):
    command = [sys.executable, "-m", "spiking_wm_ros.cli"]
    path = tmp_path / "a run"
    given = ["steps:=60", "evaluate_every:=0", f"run:={path}"]
    done = subprocess.run(
        [*command, "train", "--in-process", *given], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and "report.html" in done.stdout, done.stderr
    kept = json.loads((path / "versions.json").read_text())["command"]
    assert kept == f"./swm train --in-process steps:=60 evaluate_every:=0 'run:={path}'"
    assert "steps:=60 evaluate_every:=0" in (path / "report.html").read_text()
    (path / "report.html").unlink()
    done = subprocess.run([*command, "report", str(path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and (path / "report.html").exists()
    for wrong in ([], [str(tmp_path)]):
        with pytest.raises(UserError):
            write_reports(wrong)


def test_a_resumed_run_of_before_gets_the_new_columns(dreamt, tmp_path):
    shutil.copytree(dreamt.path, tmp_path / "old")
    run, table = Run(tmp_path / "old"), tmp_path / "old/dreams.csv"
    old = [line.rsplit(",", 3)[0] for line in table.read_text().splitlines()]
    table.write_text("\n".join(old) + "\n")
    run.forget_after(10**6, 10**6, 10**6)
    rows = run.table("dreams")
    assert (
        rows[0]["number"] == rows[0]["seconds"] == "" and rows[0]["step"] == dreamt.table("dreams")[0]["step"]
    )
    assert "Phases over time" not in report(run).read_text()


def test_those_that_are_judged_first_are_far_apart():
    assert _far_apart_first(list("abcdefghi"))[:3] == ["a", "i", "e"]
    assert sorted(_far_apart_first([*range(12)])) == [*range(12)] and _far_apart_first([5]) == [5]


def test_greedy_games_repeat_and_end():
    policy, env = policy_of("popsan", ENV)
    assert episode_return(policy, env, 3) == episode_return(policy, env, 3) >= 1
    assert episode_return(policy, env, 3, 1) == 1  # cut short
