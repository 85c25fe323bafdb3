"""Record what a policy gives to its network."""

from typing import Any

import numpy as np


class InputRecorder:
    """A ``policy.network_runner`` that records inputs and lets the policy run its network."""

    def __init__(self) -> None:
        self.inputs: list[np.ndarray] = []  # one entry per decision, as for `ChipNetwork`

    def __call__(self, inputs: np.ndarray, before: Any, after: Any) -> None:
        """Record the inputs of a decision; None lets the policy compute."""
        self.inputs.append(inputs.copy())
