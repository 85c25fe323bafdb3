"""Descriptions of robots: what they measure, what they take as commands; knows no ROS types."""
