"""Spiking networks on neuromorphic chips: description, reference, energy, NIR files, and backends.

- `network`: `ChipNetwork`, what a policy gives to a chip (`Policy.chip_network`).
- `reference`: the same network in PyTorch, double precision; chips are tested against it.
- `grid`: weights that chips hold exactly.
- `operations`: synaptic operations and energy of a decision on a chip (`energy`: on digital hardware).
- `nir`: files in the Neuromorphic Intermediate Representation.
- `backends`: what runs the network of a policy: the host, or a simulated Loihi 2.
"""
