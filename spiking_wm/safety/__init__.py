"""What stands between a policy and the motors. Knows nothing of ROS."""
