"""Recurrent spiking networks, actor and world model, that learn on line by local plasticity."""
