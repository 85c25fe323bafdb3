"""Deep Q-networks: spiking, with ReLU, and converted from ReLU to spiking."""
