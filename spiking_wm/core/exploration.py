"""Random numbers of exploration, reproducible over processes and restarts."""

import numpy as np


class Exploration:
    """Random generators of training steps; each depends on the run's seed and the step only."""

    def __init__(self, seed: int):
        self._bits = np.random.Philox(key=seed)
        self._generator, self._start = np.random.Generator(self._bits), self._bits.state

    def at(self, step: int) -> np.random.Generator:
        """The generator of a step; valid until the next call."""
        # Philox counts draws in the first word; with the step in it, neighbouring steps would share numbers
        self._start["state"]["counter"][1] = step
        self._bits.state = self._start  # faster than a new generator, which takes ten microseconds
        return self._generator
