"""Random generators for exploration, reproducible across processes and restarts."""

import numpy as np


class Exploration:
    """One random generator per training step. It depends only on the run's seed and the step."""

    def __init__(self, seed: int):
        self._bits = np.random.Philox(key=seed)
        self._generator, self._start = np.random.Generator(self._bits), self._bits.state

    def at(self, step: int) -> np.random.Generator:
        """The generator for a training step; valid until the next call."""
        # Philox counts draws in the first word; with the step in it, neighbouring steps would share numbers
        self._start["state"]["counter"][1] = step
        self._bits.state = self._start  # creating a new generator takes 10 microseconds
        return self._generator
