"""Environments of every kind in the graph: it learns what one process learns, and ends as it should."""

import subprocess
import sys
import time

import pytest

from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import resolve
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from spiking_wm_ros.graph.specification import resolve_graph
from test.conftest import TINY, tiny_dqn
from test.ros.graph import run_to_end
from test.test_environments import id_of, newest_loads
from test.test_environments_refused import FAILS_LATE
from test.test_training import assert_same_state, final_state

SMALL = TINY | {"actor_hidden": "[16]", "critic_hidden": "[16]"}


@pytest.mark.parametrize(
    ("case", "algorithm", "options"),
    [
        ("DoubleBounds", "popsan", SMALL),
        ("WholeActions", "popsan", SMALL),
        ("ManyChoices", "dsqn", tiny_dqn(TINY)),  # with observations by name
        ("NoLimit", "popsan", SMALL | {"evaluation.longest": 40}),
        ("NeedsArgument", "popsan", SMALL | {"env_kwargs": "{length: 2}"}),
    ],
)
def test_the_graph_learns_what_one_process_learns(tmp_path, case, algorithm, options):
    train(Run.create(tmp_path / "one", resolve(algorithm, id_of(case), options), id_of(case)))
    run_to_end("train", options | {"run": tmp_path / "graph", "algorithm": algorithm, "env": id_of(case)})
    assert_same_state(final_state(Run(tmp_path / "one")), final_state(Run(tmp_path / "graph")))
    one, graph = (Run(tmp_path / name).table("evaluations") for name in ("one", "graph"))
    assert [row["returns"] for row in one] == [row["returns"] for row in graph] != []


def swm(*arguments: str) -> tuple[subprocess.CompletedProcess, float]:
    began = time.monotonic()
    command = [sys.executable, "-m", "spiking_wm_ros.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done, time.monotonic() - began


@pytest.mark.parametrize("case", ["NanReward", "StepRaises", "Exits"])
def test_an_environment_that_fails_ends_the_graph_with_one_line_and_a_checkpoint(tmp_path, case):
    run = tmp_path / "run"
    options = SMALL | {
        "steps": 100,
        "evaluate_every": 0,
        "run": run,
        "env": id_of(case),
        "algorithm": "popsan",
    }
    done, _ = swm("train", *(f"{name}:={value}" for name, value in options.items()))
    assert done.returncode == 2, done.stderr
    assert done.stderr.count(FAILS_LATE[case]) == 1 and "Traceback" not in done.stderr
    if case != "NanReward":  # the others are raised by code of the environment
        assert "test/environments.py" in (run / "log.txt").read_text()
    assert newest_loads(run) in (64, 65)


def test_an_environment_that_cannot_be_closed_is_an_error_after_everything_is_saved(tmp_path):
    run = tmp_path / "run"
    options = SMALL | {"steps": 60, "run": run, "env": id_of("CloseRaises"), "algorithm": "popsan"}
    done, _ = swm("train", *(f"{name}:={value}" for name, value in options.items()))
    assert done.returncode == 2, done
    assert done.stderr.count("close() of CaseCloseRaises-v0 fails: RuntimeError: port is stuck") == 1
    assert done.stderr.endswith("error: bridge ended with an error, see above: what was learned is saved\n")
    assert "everything is in" in done.stdout and "Traceback" not in done.stderr and newest_loads(run) == 60


def test_an_environment_that_must_be_alone_is_made_once(tmp_path):
    # a second instance in the bridge's process would be refused
    options = {name: value for name, value in SMALL.items() if not name.startswith("evalua")}
    options |= {"run": tmp_path / "run", "env": id_of("Alone"), "algorithm": "popsan", "env_alone": "true"}
    run_to_end("train", options)
    assert newest_loads(tmp_path / "run") == 120 and not Run(tmp_path / "run").evaluations
    run_to_end("evaluate", {"checkpoint": tmp_path / "run", "episodes": 1})
    with pytest.raises(UserError, match="there is only one"):
        resolve_graph(
            "train", {k: str(v) for k, v in options.items()} | {"run": "other", "evaluate_every": "9"}
        )


def test_an_episode_that_is_not_repeated_is_told_and_ends(tmp_path):
    run = tmp_path / "run"
    options = SMALL | {"steps": 40, "evaluate_every": 0, "run": run, "env": id_of("Forgetful")}
    run_to_end("train", options | {"algorithm": "popsan"})
    done, _ = swm("train", f"resume:={run}", "steps:=100")
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("does not repeat its episode") == 1
    assert [int(row["length"]) for row in Run(run).table("episodes")] == [25, 16, 25, 25]


def test_an_environment_that_cannot_be_drawn_trains_without_images(tmp_path):
    run = tmp_path / "run"
    options = SMALL | {"run": run, "env": id_of("DrawsBadly"), "algorithm": "popsan", "record": "true"}
    done, _ = swm("train", *(f"{name}:={value}" for name, value in options.items()))
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count(
        "CaseDrawsBadly-v0 cannot be drawn: AttributeError: no display"
    ) == 1
    assert newest_loads(run) == 120
