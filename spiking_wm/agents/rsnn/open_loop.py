"""Open-loop predictions of the model, with the real observations."""

import numpy as np

from spiking_wm.agents.rsnn.actor_and_model import ActorAndModel
from spiking_wm.agents.rsnn.heads import Gaussian, Softmax
from spiking_wm.agents.rsnn.inputs import Inputs
from spiking_wm.agents.rsnn.model import Model
from spiking_wm.neurons.recurrent import Activity, Array

STEPS = 20  # of a segment


class OpenLoopPrediction:
    """Segments of experience, predicted by the model from their first observation and the actions.

    Each step is predicted before the model learns from it. Only the last complete segment is kept.

    Args:
        networks: one realisation.
        model: its model.
    """

    def __init__(self, networks: ActorAndModel, model: Model):
        self._model, self._clip = model, networks.options.dream.clip
        self._head: Softmax | Gaussian = networks.head
        self._scaling: Inputs = networks.inputs
        self._activity: Activity | None = None
        self._inputs = np.zeros((1, networks.inputs.width), np.float32)
        self._real: list[Array] = []
        self._dream: list[Array] = []
        self._last: dict[str, np.ndarray] = {}

    def start(self, observation: Array) -> None:
        """Start a segment with an observation ``[D]``, unless one is running."""
        if self._activity is None:
            self._activity = self._model.activity.copy()
            self._inputs = self._scaling(observation[None])
            self._real, self._dream = [], []

    def step(self, action: np.ndarray, following: Array) -> None:
        """Predict the step after an action; ``following [D]`` is the real next observation."""
        if self._activity is None:
            return
        code = self._head.code(np.asarray(action)[None])
        prediction = self._model.predict(self._activity, self._inputs, code)
        self._inputs, _ = self._model.after(self._inputs, prediction)
        if self._clip:
            self._inputs = self._inputs.clip(self._scaling.low, self._scaling.high)
        self._real.append(following)
        self._dream.append(self._scaling.observations(self._inputs)[0])
        if len(self._real) == STEPS:
            self._last = {"real": np.stack(self._real), "dream": np.stack(self._dream)}
            self.stop()

    def stop(self) -> None:
        """Discard the running segment, because the episode has ended."""
        self._activity = None

    def last(self) -> dict[str, np.ndarray]:
        """The last complete segment, ``real`` and ``dream [STEPS, D]`` in observation units; or nothing."""
        return self._last
