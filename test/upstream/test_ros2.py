"""ROS's own command line on our graphs: launch, run, topic, node, param, service, lifecycle and action."""

import re
import subprocess

import pytest
import yaml

from test.conftest import TINY
from test.test_command_faults import ROOT, loads, until
from test.upstream.launching import LONG, Terminal, need_ros2, ros2

need_ros2()

SHORT = [f"{name}:={value}" for name, value in TINY.items()]
TRAIN = ["ros2", "launch", "spiking_wm_ros", "train.launch.py"]


def is_whole(run, told: str) -> bool:
    """Whether a run has all that one of ./swm train has, and says where."""
    files = {file.name for file in run.iterdir()}
    return f"everything is in {run}" in told and {"report.html", "curve.png", "versions.json"} <= files


def plain(shown: str) -> str:
    """What a terminal shows, without colours and breaks of lines."""
    return re.sub(r"\x1b\[[\d;]*m|\r", "", shown)


def test_arguments_are_shown_and_packages_found():
    shown = ros2("launch", "spiking_wm_ros", "train.launch.py", "--show-args")
    assert "'algorithm':" in shown and "Valid choices are: ['converted_sqn'" in shown
    assert "spiking_wm_ros dreamer" in ros2("pkg", "executables", "spiking_wm_ros")
    assert "rollouts" in ros2("interface", "show", "spiking_wm_msgs/action/Dream")


def test_a_launched_training_is_a_whole_run_with_the_command_that_repeats_it(tmp_path):
    run, again = tmp_path / "run", tmp_path / "again"
    ended = Terminal([*TRAIN, f"run:={run}", *SHORT], tmp_path / "one")
    try:
        assert ended.ended() == 0, ended.shown
        assert is_whole(run, plain(ended.shown)) and not ended.left()
    finally:
        ended.close()
    command = yaml.safe_load((run / "versions.json").read_text())["command"].split()
    assert command == [*TRAIN, f"run:={run}", *SHORT]
    repeated = [argument.replace(str(run), str(again)) for argument in command]
    done = subprocess.run(repeated, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0 and is_whole(again, done.stdout), done.stdout + done.stderr
    assert (again / "evaluations.csv").read_text().splitlines()[0].startswith("step")


def test_a_typo_is_refused(tmp_path):
    done = subprocess.run([*TRAIN, "btach:=3"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "unknown parameter 'btach'; did you mean 'batch'?" in done.stdout + done.stderr


def test_a_graph_that_fails_says_so_and_how_to_go_on(tmp_path):
    training = Terminal([*TRAIN, f"run:={tmp_path / 'run'}", *LONG], tmp_path)
    try:
        training.shows("has mean return")
        dreamer = re.search(r"\[dreamer-\d\]: process started with pid \[(\d+)\]", training.shown)
        subprocess.run(["kill", "-KILL", dreamer[1]], check=True)
        assert training.ended() == 1, training.shown
        assert "dreamer was killed (SIGKILL; if nobody did it, memory ran out)" in training.shown
        until(lambda: not training.left())  # its learner ends by itself
    finally:
        training.close()


def test_the_example_trains_twice_side_by_side(tmp_path):
    options = [f"runs:={tmp_path}", "steps_of_each:=120", "env:=Pendulum-v1", "hidden:=640"]
    example = ["ros2", "launch", "examples/launch/two_trainings.launch.py", *options]
    both = Terminal(example, tmp_path / "launch")
    try:
        assert both.ended() == 0, both.shown
        shown = plain(both.shown)
        assert all(is_whole(tmp_path / run, shown) for run in ("popsan", "popsan_dream"))
        assert yaml.safe_load((tmp_path / "popsan" / "config.yaml").read_text())["env"] == "Pendulum-v1"
        assert not both.left()
    finally:
        both.close()


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    made = Terminal([*TRAIN, f"run:={folder / 'run'}", *LONG], folder)
    made.run = folder / "run"
    made.shows("has mean return")
    yield made
    made.press_ctrl_c()
    code = made.ended()
    made.close()
    ros2("daemon", "stop")  # which lists have started
    assert code == 0 and loads(made.run)


def listed(*arguments: str, of: set[str]) -> None:
    """Wait until a list has all these lines: a daemon discovers nodes over time."""
    until(lambda: of <= set(ros2(*arguments).split()))


def test_the_command_line_talks_to_it(training):
    listed("node", "list", of={"/bridge", "/dreamer", "/manager", "/policy"})
    listed("topic", "list", of={"/transition", "/policy_version", "/diagnostics"})
    listed("service", "list", of={"/dreamer/dream", "/dreamer/save_checkpoint"})
    listed("lifecycle", "nodes", of={"/bridge", "/dreamer", "/policy"})
    assert "active [3]" in ros2("lifecycle", "get", "/dreamer")
    assert "Integer value is: 16" in ros2("param", "get", "/dreamer", "batch")
    assert "observation" in ros2("topic", "echo", "--once", "/transition")
    saved = ros2("service", "call", "/dreamer/save_checkpoint", "std_srvs/srv/Trigger")
    assert "success=True" in saved
    dreamt = ros2(
        "action", "send_goal", "/dreamer/dream_phase", "spiking_wm_msgs/action/Dream", "{rollouts: 32}"
    )
    assert "Goal finished with status: SUCCEEDED" in dreamt, dreamt


def test_a_node_is_run_alone(tmp_path):
    alone = ["--ros-args", "-r", "__ns:=/alone"]
    node = Terminal(["ros2", "run", "spiking_wm_ros", "manager", *alone], tmp_path)
    try:
        node.shows("all nodes are active")
        node.press_ctrl_c()
        node.ended()
        assert "Traceback" not in node.shown and not node.left()
    finally:
        node.close()
