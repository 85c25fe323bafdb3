"""Our launch files in other people's: what they are given is heeded, what they inherit ends nothing."""

import os
import textwrap

import pytest

pytest.importorskip("launch_ros", reason="needs ROS's own launch: see test/upstream/run")

from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetLaunchConfiguration,
    TimerAction,
)
from launch.launch_description_sources import (
    AnyLaunchDescriptionSource,
    PythonLaunchDescriptionSource,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import PushRosNamespace

from launch import LaunchDescription, LaunchService
from spiking_wm_ros.graph import ros_launch
from test.test_command_faults import ROOT

TRAIN = os.path.join(ROOT, "launch", "train.launch.py")
OF_OTHERS = [  # arguments of an outer file, some with names of options
    DeclareLaunchArgument("use_rviz", default_value="true"),
    DeclareLaunchArgument("hidden", default_value="640"),
    SetLaunchConfiguration("seed", "7"),
]


@pytest.fixture
def launched(monkeypatch):
    """The arguments of the graphs that were launched, by whole name; their nodes are not started."""
    graphs = []

    class Graph:
        actions = ()

        def __init__(self, _, resolved, claim, command, context):
            claim.close()
            ros_launch.ctrl_c.release()
            given = dict(argument.split(":=", 1) for argument in command.split()[4:])
            learner = next(node for node in resolved.nodes if node.executable == "dreamer")
            graphs.append((given, learner.parameters, resolved.namespace))

    monkeypatch.setattr(ros_launch, "LaunchedGraph", Graph)
    monkeypatch.setattr(ros_launch, "_runs", set())
    return graphs


def include(source=None, **given) -> IncludeLaunchDescription:
    source = source or PythonLaunchDescriptionSource(TRAIN)
    return IncludeLaunchDescription(source, launch_arguments=given.items())


def launch(*actions) -> int:
    service = LaunchService(noninteractive=True)
    service.include_launch_description(LaunchDescription(list(actions)))
    return service.run()


PLACES = {
    "in the file": lambda action: action,
    "in a group": lambda action: GroupAction([action]),
    "in a function": lambda action: OpaqueFunction(function=lambda _: [action]),
    "later": lambda action: TimerAction(period=0.1, actions=[action]),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_options_are_those_that_an_include_gives(launched, place):
    given = {"batch": "32", "critic.lr": "1e-4", "algorithm": "popsan"}
    assert launch(*OF_OTHERS, place(include(**given))) == 0
    ((found, parameters, _),) = launched
    assert found == given
    assert parameters["batch"] == 32 and parameters["seed"] == 0


def test_they_may_be_those_of_the_outer_file(launched):
    both = {"seed": LaunchConfiguration("seed"), "batch": ["3", "2"]}
    assert launch(*OF_OTHERS, include(**both)) == 0
    assert launched[0][0] == {"seed": "7", "batch": "32"}


def test_declared_arguments_are_inherited_as_everywhere(launched):
    assert launch(DeclareLaunchArgument("env", default_value="Pendulum-v1"), include()) == 0
    assert launched[0][0] == {"env": "Pendulum-v1"}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_typo_in_an_include_is_refused(launched, place, capfd):
    assert launch(*OF_OTHERS, place(include(btach="32"))) == 1
    assert "unknown parameter 'btach'; did you mean 'batch'?" in "".join(capfd.readouterr())
    assert not launched


def test_arguments_of_ros2_launch_itself_are_no_options(launched):
    prefix = {"launch-prefix": "nice", "launch-prefix-filter": "policy"}
    assert launch(include(**prefix)) == 0
    assert launched[0][0] == {}


def test_two_in_one_file_do_not_inherit_options_from_each_other(launched):
    assert launch(include(namespace="one", batch="32"), include(namespace="two", updates_per_step="0.5")) == 0
    first, second = (found for found, _, _ in launched)
    assert first == {"namespace": "one", "batch": "32"}
    assert second.pop("run").endswith("_two")  # begun within the same second, perhaps
    assert second == {"namespace": "two", "updates_per_step": "0.5"}
    assert launched[0][1]["run"] != launched[1][1]["run"]


def test_one_source_may_be_included_twice(launched):
    source = PythonLaunchDescriptionSource(TRAIN)
    one, two = include(source, namespace="one", seed="1"), include(source, namespace="two", batch="32")
    assert launch(*OF_OTHERS[:1], GroupAction([one]), GroupAction([two])) == 0
    assert [parameters["batch"] for _, parameters, _ in launched][1] == 32
    assert [parameters["seed"] for _, parameters, _ in launched] == [1, 0]


@pytest.mark.parametrize(
    ("pushed", "own", "whole"),
    [("a", "b", "a/b"), ("/a", "", "a"), ("a", "/b", "b"), ("", "b", "b"), ("", "", "")],
)
def test_a_namespace_is_inside_the_one_that_was_pushed(launched, pushed, own, whole):
    outer = [PushRosNamespace(pushed)] if pushed else []
    assert launch(GroupAction([*outer, include(**({"namespace": own} if own else {}))])) == 0
    assert launched[0][2] == whole


FRONTENDS = {
    "xml": f"""
        <launch>
          <arg name="use_rviz" default="true"/>
          <arg name="size" default="32"/>
          <include file="{TRAIN}">
            <arg name="batch" value="$(var size)"/>
          </include>
        </launch>
        """,
    "yaml": f"""
        launch:
        - arg: {{name: use_rviz, default: "true"}}
        - arg: {{name: size, default: "32"}}
        - include:
            file: {TRAIN}
            arg:
            - {{name: batch, value: $(var size)}}
        """,
}


@pytest.mark.parametrize("kind", FRONTENDS)
def test_from_files_in_xml_and_yaml(launched, tmp_path, kind):
    file = tmp_path / f"outer.launch.{kind}"
    file.write_text(textwrap.dedent(FRONTENDS[kind]).lstrip())
    assert launch(IncludeLaunchDescription(AnyLaunchDescriptionSource(str(file)))) == 0
    assert launched[0][0] == {"batch": "32"}
