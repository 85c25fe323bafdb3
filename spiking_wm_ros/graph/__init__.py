"""Graphs of nodes: one specification for both `ros2 launch` and `./swm`."""
