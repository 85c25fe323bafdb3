"""See `spiking_wm_ros.graph.specification`; `./swm view` starts the same nodes."""

from spiking_wm_ros.graph.ros_launch import description


def generate_launch_description():
    """Declare the arguments and start the nodes of the graph."""
    return description("view")
