"""Robots as they look from ROS: what they measure and what they obey."""
