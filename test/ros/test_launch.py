"""The launch files under ROS's own `launch`, wherever launch_pytest is installed."""

import os
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

    from spiking_wm_ros.graph import ros_launch

    given = {k: str(v) for k, v in (TINY | {"run": tmp_path / "run", "namespace": "elsewhere"}).items()}
    service = LaunchService(argv=[])
    service.context.launch_configurations.update(given)
    actions = ros_launch._nodes("train", service.context)
    wanted = resolve_graph("train", given).nodes
    assert all(isinstance(action, Node) for action in actions)
    assert [action.node_executable for action in actions] == [node.executable for node in wanted]


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
