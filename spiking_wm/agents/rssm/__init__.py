"""Spiking-WM: a latent world model of multi-compartment neurons, and behaviour learned in imagination."""
