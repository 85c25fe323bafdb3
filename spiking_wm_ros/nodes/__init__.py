"""ROS 2 nodes. Of algorithms they use the contract (`spiking_wm.core.contract`) only."""
