"""Batteries, and the phases in which a robot acts, rests and dreams."""
