"""Learning agents, found by name in `config/algorithms`. No ROS here."""
