"""Intel's Lava: networks as Loihi 2 would run them, simulated on this machine (lava-nc 0.10.0)."""
