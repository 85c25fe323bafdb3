"""Several copies of the environment in the graph."""

import os
import signal

import pytest

from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import resolve
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from spiking_wm_ros.graph.processes import Processes
from spiking_wm_ros.graph.specification import resolve_graph
from test.conftest import ENV, SMALL
from test.ros.graph import run_to_end, wait_for_end
from test.test_envs_faults import OPTIONS, of_session, until
from test.test_training import assert_same_state, final_state

FAULTY = {"algorithm": "dqn", "env": "test.faulty:Faulty"} | OPTIONS


def test_the_graph_learns_from_copies_what_one_process_learns(tmp_path, tiny):
    """Also after a stop within a round, with a policy that remembers."""
    algorithm, env = "spiking_dt_dream", ENV
    tiny = SMALL[algorithm](tiny) | {"envs": 2}
    train(Run.create(tmp_path / "one", resolve(algorithm, env, tiny), env))
    graph = tmp_path / "graph"
    run_to_end("train", tiny | {"run": graph, "algorithm": algorithm, "env": env, "steps": 77})
    run_to_end("train", {"resume": graph, "steps": 120})
    one, two = final_state(Run(tmp_path / "one")), final_state(Run(graph))
    assert_same_state(one, two)
    evaluated = {row["step"]: row["returns"] for row in Run(graph).table("evaluations")}
    assert all(evaluated[row["step"]] == row["returns"] for row in Run(tmp_path / "one").table("evaluations"))


def test_a_copy_that_is_killed_ends_the_graph_in_one_line(tmp_path, capfd):
    given = FAULTY | {"run": tmp_path, "env_kwargs": "{kind: kill}"}
    with Processes(resolve_graph("train", {k: str(v) for k, v in given.items()})) as processes:
        bridge = processes._children["bridge"].pid
        assert wait_for_end(processes)["bridge"] == 2
    printed = "".join(capfd.readouterr())
    assert printed.count("the process of copy 1 of test.faulty:Faulty has ended (SIGKILL") == 1
    assert "Traceback" not in printed
    # the learner ends where it is, also within a round
    assert 0 < int(Run(tmp_path).newest().name.split("_")[1]) <= 28
    until(lambda: not of_session(bridge))


def test_a_signal_ends_the_copies_with_the_bridge(tmp_path, capfd):
    given = FAULTY | {"run": tmp_path, "env_kwargs": "{kind: none}", "steps": 10**6}
    with Processes(resolve_graph("train", {k: str(v) for k, v in given.items()})) as processes:
        bridge = processes._children["bridge"].pid
        until(lambda: (tmp_path / "policies").exists() and len(of_session(bridge)) >= 4)
        os.killpg(bridge, signal.SIGINT)  # as by a terminal, to all
        assert wait_for_end(processes)["bridge"] == 0
    assert "Traceback" not in "".join(capfd.readouterr())
    until(lambda: not of_session(bridge))


@pytest.mark.parametrize("option", [{"rate_hz": "10"}, {"battery": "virtual"}])
def test_one_robot_has_no_copies(option):
    given = {"algorithm": "popsan", "env": ENV, "envs": "2"}
    with pytest.raises(UserError, match="is for one robot, and there are envs:=2"):
        resolve_graph("train", given | option)
