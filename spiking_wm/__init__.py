"""Spiking agents that learn awake and in dreams of their own world models. Knows nothing of ROS."""
