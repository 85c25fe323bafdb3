"""Replay memories with their held-out rows, and running statistics of observations."""
