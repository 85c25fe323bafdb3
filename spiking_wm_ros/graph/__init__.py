"""Which nodes run together: one specification, started by `ros2 launch` or by `./swm`."""
