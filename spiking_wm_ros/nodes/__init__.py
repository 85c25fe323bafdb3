"""ROS 2 nodes. They use algorithms only through `spiking_wm.core.contract`."""

import os
import signal

from spiking_wm.core.errors import UserError
from spiking_wm_ros.graph.log import tell
from spiking_wm_ros.graph.ros_check import check_ros

# `graph.launched` starts nodes with SIGINT blocked: until `main.run`, Ctrl-C ends them at once, and well
if signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []):
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])

try:  # before a node imports what may be missing
    check_ros()
except UserError as error:
    raise SystemExit(tell(error)) from None
