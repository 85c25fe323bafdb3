"""Loihi 2, simulated on this machine by Intel's Lava (lava-nc 0.10.0)."""
