"""The launch files under ROS's own `launch`, wherever launch_pytest is installed."""

import os
import subprocess
import sys
import time

import pytest

launch_pytest = pytest.importorskip(
    "launch_pytest", reason="needs a full ROS 2: launch_pytest is on no registry"
)

from launch.actions import IncludeLaunchDescription  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402
from launch_pytest.actions import ReadyToTest  # noqa: E402

from launch import LaunchDescription, LaunchService  # noqa: E402
from spiking_wm.runs.folder import Run  # noqa: E402
from spiking_wm_ros.graph.specification import GRAPHS, resolve_graph  # noqa: E402
from test.conftest import TINY  # noqa: E402
from test.ros.graph import children  # noqa: E402
from test.test_command_faults import ROOT, loads, until  # noqa: E402
from test.test_training import final_state  # noqa: E402

LAUNCH = os.path.join(os.path.dirname(__file__), "..", "..", "launch")


@pytest.mark.parametrize("name", GRAPHS)
def test_launch_files_declare_what_the_specification_says(name):
    path = os.path.join(LAUNCH, f"{name}.launch.py")
    found = PythonLaunchDescriptionSource(path).try_get_launch_description_without_context()
    declared = {a.name for a in found.get_launch_arguments()}
    assert declared == {a.name for a in GRAPHS[name].arguments}


def test_a_launch_starts_the_nodes_of_the_specification(tmp_path):
    from launch_ros.actions import Node

    from spiking_wm_ros.graph.launched import LaunchedGraph

    given = {k: str(v) for k, v in (TINY | {"run": tmp_path / "run", "namespace": "elsewhere"}).items()}
    resolved = resolve_graph("train", given)
    graph = LaunchedGraph("train", resolved, None, "", LaunchService(argv=[]).context)
    nodes = [action for action in graph.actions if isinstance(action, Node)]
    assert [node.node_executable for node in nodes] == [node.executable for node in resolved.nodes]


@pytest.fixture(scope="module")
def run_path(tmp_path_factory):
    return tmp_path_factory.mktemp("launch") / "run"


@launch_pytest.fixture(scope="module")
def training(run_path):
    arguments = {k: str(v) for k, v in (TINY | {"run": run_path}).items()}
    source = PythonLaunchDescriptionSource(os.path.join(LAUNCH, "train.launch.py"))
    include = IncludeLaunchDescription(source, launch_arguments=arguments.items())
    return LaunchDescription([include, ReadyToTest()])


@pytest.mark.launch(fixture=training)
def test_a_launched_run_trains_to_its_end(run_path):
    deadline = time.monotonic() + 120
    while not (run_path / "checkpoints").exists() or len(Run(run_path).checkpoints.all()) < 2:
        assert time.monotonic() < deadline, "no second checkpoint"
        time.sleep(0.2)


@pytest.mark.launch(fixture=training, shutdown=True)
def test_it_has_shut_down_with_everything_saved(run_path):
    assert final_state(Run(run_path))[1]["step"] >= 60


LAUNCHES = """
import sys
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch import LaunchDescription, LaunchService
arguments = [argument.split(":=") for argument in sys.argv[2:]]
source = PythonLaunchDescriptionSource(sys.argv[1])
service = LaunchService()
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
)
sys.exit(service.run())
"""


def launched(run) -> subprocess.Popen:
    """What `ros2 launch` does, in a process of its own."""
    given = [f"{name}:={value}" for name, value in (TINY | {"steps": 100_000, "run": run}).items()]
    command = (sys.executable, "-c", LAUNCHES, os.path.join(LAUNCH, "train.launch.py"), *given)
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
    )


def test_of_two_launches_in_one_domain_one_lives_and_its_nodes_end_if_it_is_killed(tmp_path):
    runs = [tmp_path / "one", tmp_path / "two"]
    both = [launched(run) for run in runs]
    try:
        refused = until(lambda: [each for each in both if each.poll() is not None])[0]
        assert refused.returncode == 1
        assert "another graph runs in ROS domain" in refused.stdout.read()
        (lives, run) = next(pair for pair in zip(both, runs) if pair[0] is not refused)
        until(lambda: any((run / "checkpoints").glob("step_*")))
        nodes = children(lives.pid, "spiking_wm_ros")
        lives.kill()
        lives.wait()
        assert len(nodes) == 4
        until(lambda: not any(os.path.exists(f"/proc/{node}") for node in nodes), 20)
        assert loads(run)
    finally:
        for each in both:
            each.kill()
            each.wait()
            each.stdout.close()
