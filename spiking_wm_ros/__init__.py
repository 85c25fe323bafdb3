"""Robots whose policy and world model are spiking neural networks, on ROS 2."""
