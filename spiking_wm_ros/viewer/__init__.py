"""The viewer's web page; it does not use ROS."""
