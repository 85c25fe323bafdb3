"""Random numbers for exploring, the same in every process and after every restart."""

import numpy as np


def exploration(seed: int, step: int) -> np.random.Generator:
    """Random numbers of one training step, a function of the run's seed and the step alone."""
    return np.random.Generator(np.random.Philox(key=seed, counter=step))
