"""ROS 2 nodes. They use algorithms only through `spiking_wm.core.contract`."""

from spiking_wm.core.errors import UserError
from spiking_wm_ros.graph.log import tell
from spiking_wm_ros.graph.ros_check import check_ros

try:  # before a node imports what may be missing
    check_ros()
except UserError as error:
    raise SystemExit(tell(error)) from None
