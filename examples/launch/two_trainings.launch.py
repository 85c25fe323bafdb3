"""Train with and without dreams side by side, each in a namespace of its own.

ros2 launch examples/launch/two_trainings.launch.py env:=InvertedPendulum-v5 steps_of_each:=5000
"""

from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def _training(algorithm: str) -> GroupAction:
    """A training in a group: what is given to it is not inherited by the other one."""
    file = PathJoinSubstitution([FindPackageShare("spiking_wm_ros"), "launch", "train.launch.py"])
    given = {
        "namespace": algorithm,
        "algorithm": algorithm,
        "run": [LaunchConfiguration("runs"), "/", algorithm],
        "steps": LaunchConfiguration("steps_of_each"),  # an option of the run
    }
    include = IncludeLaunchDescription(PythonLaunchDescriptionSource(file), launch_arguments=given.items())
    return GroupAction([include])


def generate_launch_description() -> LaunchDescription:
    """Two trainings with one length; ``env`` is an argument of ours and is inherited."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "runs", default_value="runs/two_trainings", description="folder of both runs"
            ),
            DeclareLaunchArgument("steps_of_each", default_value="5000", description="environment steps"),
            _training("popsan"),
            _training("popsan_dream"),
        ]
    )
