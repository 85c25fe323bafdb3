"""Environments as the stack sees them. No ROS here."""
