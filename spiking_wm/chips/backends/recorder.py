"""Record the inputs of a policy's spiking network."""

from typing import Any

import numpy as np


class InputRecorder:
    """A `Policy.network_runner` that records the inputs; the policy runs the network itself."""

    def __init__(self) -> None:
        self.inputs: list[np.ndarray] = []  # one entry per decision, as for `ChipNetwork`

    def __call__(self, inputs: np.ndarray, before: Any, after: Any) -> None:
        """Record the inputs of a decision. Returns None, so the policy runs the network."""
        self.inputs.append(inputs.copy())
