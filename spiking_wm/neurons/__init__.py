"""Spiking networks: neurons, codes, the PopSAN actor and the world-model ensemble. No ROS here."""
