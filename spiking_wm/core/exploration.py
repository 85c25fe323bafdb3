"""Random numbers for exploring, the same in every process and after every restart."""

import numpy as np


class Exploration:
    """Random numbers of training steps, each a function of the run's seed and the step alone."""

    def __init__(self, seed: int):
        self._bits = np.random.Philox(key=seed)
        self._generator, self._start = np.random.Generator(self._bits), self._bits.state

    def at(self, step: int) -> np.random.Generator:
        """Those of one step; good until the next call."""
        # the first word counts what is drawn: the step in the second one, or steps would share numbers
        self._start["state"]["counter"][1] = step
        self._bits.state = self._start  # some microseconds, a new generator takes ten
        return self._generator
