"""Robot descriptions: observations and commands of a robot. Imports no ROS."""
