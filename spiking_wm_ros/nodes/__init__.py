"""ROS 2 nodes. They use algorithms only through `spiking_wm.core.contract`."""
