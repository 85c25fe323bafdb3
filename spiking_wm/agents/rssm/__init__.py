"""Spiking-WM: a latent world model of multi-compartment neurons, actor and critic in its imagination."""
