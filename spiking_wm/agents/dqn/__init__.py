"""Deep Q-networks: spiking, with ReLU, and converted from one to the other."""
