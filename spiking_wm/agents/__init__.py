"""The algorithms. Each says here which spaces it takes, before anything that takes time is loaded."""

from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete

from spiking_wm.core.aliases import AGENTS
from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces


class Takes(NamedTuple):
    """Spaces that an agent takes.

    ``dimensions`` of observations: 1 is a vector, 2 a grey picture, 3 a picture with channels; pictures are
    bytes unless ``float_pictures``. ``boxes``: bounded vectors of actions; ``choices``: Discrete.
    """

    dimensions: tuple[int, ...] = (1,)
    float_pictures: bool = False
    boxes: bool = True
    choices: bool = True

    def fit(self, spaces: Spaces) -> bool:
        """True if the agent takes these spaces."""
        observation, action = spaces.observation, spaces.action
        dimensions = len(observation.shape)
        if dimensions not in self.dimensions:
            return False
        if dimensions > 1 and observation.dtype != np.uint8 and not self.float_pictures:
            return False
        if isinstance(action, Discrete):
            return self.choices
        return self.boxes and len(action.shape) == 1 and _bounded(action)

    def __str__(self) -> str:
        seen = "vectors" if self.dimensions == (1,) else "vectors or pictures"
        kinds = [*["bounded continuous"] * self.boxes, *["discrete"] * self.choices]
        return f"{seen} and {' or '.join(kinds)} actions"


def _bounded(action: Box) -> bool:
    return bool(np.isfinite(action.low).all() and np.isfinite(action.high).all())


TAKES = {
    "dqn": Takes(dimensions=(1, 3), float_pictures=True, boxes=False),
    "popsan": Takes(choices=False),
    "rsnn": Takes(),
    "rssm": Takes(dimensions=(1, 2, 3)),
    "spiking_dt": Takes(),
}


def check_spaces(agent: str, spaces: Spaces, options: Any = None) -> None:
    """Refuse spaces that one of our agents does not take; of other agents nothing is known.

    Args:
        agent: its name.
        spaces: the environment's.
        options: the agent's; if their class has a method ``check``, it is called with the spaces.

    Raises:
        UserError: naming the spaces, and algorithms that take them; or as ``check``.
    """
    agent = AGENTS.get(agent, agent)
    if agent not in TAKES:
        return
    if TAKES[agent].fit(spaces):
        if hasattr(options, "check"):
            options.check(spaces)
        return
    observation, action = spaces.observation, spaces.action
    algorithms = {agent: algorithm for algorithm, agent in AGENTS.items()}  # the others are called alike
    others = [algorithms.get(name, name) for name, takes in TAKES.items() if takes.fit(spaces)]
    advice = f"choose another env:=, or algorithm:={', '.join(others)}" if others else "wrap the environment"
    if isinstance(action, Box) and not _bounded(action):
        advice = "give the action space finite low and high"
    raise UserError(
        f"{algorithms.get(agent, agent)} takes {TAKES[agent]}, not observations of shape {observation.shape}"
        f" ({observation.dtype}) and actions {action}: {advice}"
    )
