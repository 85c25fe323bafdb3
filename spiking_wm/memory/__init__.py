"""Replay memories with held-out rows for evaluation, and running statistics of observations."""
