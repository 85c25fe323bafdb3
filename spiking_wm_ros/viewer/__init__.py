"""A page on this machine that shows what a graph does; knows nothing of ROS."""
