"""Graphs of nodes: one specification, which `ros2 launch` and `./swm` start."""
