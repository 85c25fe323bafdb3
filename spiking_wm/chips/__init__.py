"""Networks as neuromorphic chips take them."""
