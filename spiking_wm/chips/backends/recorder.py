"""What policies send to their networks."""

from typing import Any

import numpy as np


class Recorder:
    """Stands where a backend would, as ``policy.elsewhere``, and leaves the network to the policy."""

    def __init__(self):
        self.inputs: list[np.ndarray] = []  # of every decision

    def __call__(self, inputs: np.ndarray, before: Any, after: Any) -> None:
        """Take note."""
        self.inputs.append(inputs.copy())
