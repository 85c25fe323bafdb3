"""ROS 2 nodes: bridge, policy and dreamer. What they know of agents is the contract."""
