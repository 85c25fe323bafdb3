"""Energy and what follows from it: batteries, and the phases of a robot's day. Knows nothing of ROS."""
