"""Recorded sequences that the user has in a folder."""
