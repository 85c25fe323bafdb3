"""Recorded data sets: demonstrations, labelled sequences."""
