"""Parameter files with entries for all nodes: those of others end none of ours, a typo in our own does."""

import json
import os
import signal
import subprocess
import sys

import pytest

from spiking_wm_ros.graph.log import LAUNCHED
from test.test_command_faults import ROOT

TYPO = {"ros__parameters": {"nods": "gate", "robot_description": "<robot/>"}}


def manager(*arguments: str, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "spiking_wm_ros.nodes.manager", "--ros-args", *arguments]
    environment = os.environ | environment
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def until_up(node: subprocess.Popen) -> str:
    """What a node says until its nodes, of which there are none, are active; then it is ended."""
    said = ""
    while "all nodes are active" not in said:
        line = node.stderr.readline()
        assert line, said
        said += line
    node.send_signal(signal.SIGINT)
    node.communicate(timeout=30)
    assert node.returncode == 0
    return said


@pytest.mark.parametrize(
    "entries", [{"/**": TYPO}, {"/**": TYPO, "/one": {"camera": TYPO}}, {"/one/*": TYPO}]
)
def test_parameters_for_all_nodes_may_be_those_of_others(tmp_path, entries):
    file = tmp_path / "all.yaml"  # JSON is YAML
    file.write_text(json.dumps(entries))
    said = until_up(manager("--params-file", str(file), "-r", "__ns:=/one"))
    assert "unknown parameter 'nods'; did you mean 'nodes'?; it is ignored" in said
    assert "robot_description" not in said


@pytest.mark.parametrize(
    "entries", [{"/one/manager": TYPO}, {"one": {"manager": TYPO}}, {"/**/manager": TYPO}]
)
def test_a_typo_for_the_node_itself_ends_it(tmp_path, entries):
    file = tmp_path / "own.yaml"
    file.write_text(json.dumps({"/**": {"ros__parameters": {"gravity": 9.81}}} | entries))
    node = manager("--params-file", str(file), "-r", "__ns:=/one")
    _, said = node.communicate(timeout=60)
    assert node.returncode == 2, said
    assert "manager: unknown parameter 'nods'; did you mean 'nodes'?" in said


def test_of_the_command_line_too_unless_launch_sets_it_for_all_nodes():
    node = manager("-p", "nods:=gate")
    _, said = node.communicate(timeout=60)
    assert node.returncode == 2 and "unknown parameter 'nods'" in said
    assert "it is ignored" in until_up(manager("-p", "nods:=gate", **{LAUNCHED: "1"}))
