"""What a model foresees of the present without looking, beside what comes."""

import numpy as np

from spiking_wm.agents.rsnn.actor_and_model import Pair
from spiking_wm.neurons.recurrent import Array

STEPS = 20  # without looking


class Foresight:
    """Stretches of experience that the model goes through on its own, told the actions alone.

    Each step is foreseen before anything is learned from it. Nothing is kept but the last whole stretch.

    Args:
        pair: one realisation, with a model.
    """

    def __init__(self, pair: Pair):
        self._pair, self._activity = pair, None
        self._whole: dict[str, np.ndarray] = {}

    def begin(self, observation: Array) -> None:
        """Look, for the last time in this stretch, at an observation ``[D]``, unless one is under way."""
        if self._activity is None:
            self._activity = self._pair.model.activity.copy()
            self._inputs = self._pair.inputs(observation[None])
            self._real, self._dream = [], []

    def go_on(self, action: np.ndarray, following: Array) -> None:
        """Foresee what an action leads to; ``following [D]`` is what it did lead to."""
        if self._activity is None:
            return
        pair = self._pair
        code = pair.head.code(np.asarray(action)[None])
        self._inputs, _ = pair.model.after(
            self._inputs, pair.model.predict(self._activity, self._inputs, code)
        )
        if pair.options.clip_dreams:
            self._inputs = self._inputs.clip(pair.inputs.low, pair.inputs.high)
        self._real.append(following)
        self._dream.append(pair.inputs.observations(self._inputs)[0])
        if len(self._real) == STEPS:
            self._whole = {"real": np.stack(self._real), "dream": np.stack(self._dream)}
            self.drop()

    def drop(self) -> None:
        """End the stretch that is under way: the episode is over."""
        self._activity = None

    def last(self) -> dict[str, np.ndarray]:
        """The last whole stretch, ``real`` and ``dream [STEPS, D]`` in units of observations; or nothing."""
        return self._whole
