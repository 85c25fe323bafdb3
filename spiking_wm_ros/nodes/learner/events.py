"""Messages between the dreamer node and its learner process.

The node sends a `Request`, the learner an `Event`. Does not load torch.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spiking_wm.core.contract import Budget, DreamProgress, Transition
from spiking_wm.training.learner import DreamResult

# --- to the learner ---


@dataclass(frozen=True)
class StartDream:
    """Start a dream phase; an empty budget means the schedule's number of rollouts."""

    budget: Budget


@dataclass(frozen=True)
class EndDream:
    """End the dream phase, if there is one; its updates are kept."""


@dataclass(frozen=True)
class LearnFromBag:
    """Learn from recorded transitions, a folder of MCAP files."""

    folder: Path


@dataclass(frozen=True)
class SendSegment:
    """Send a held-out segment and its prediction, as `HeldOutSegment`."""


@dataclass(frozen=True)
class RobotPhase:
    """The robot's phase has changed; it is recorded in the run."""

    phase: str
    reason: str


@dataclass(frozen=True)
class Save:
    """Write a checkpoint."""


@dataclass(frozen=True)
class Stop:
    """Write a last checkpoint and end."""


Request = Transition | StartDream | EndDream | LearnFromBag | SendSegment | RobotPhase | Save | Stop

# --- from the learner ---


@dataclass(frozen=True)
class Status:
    """Counters of the learner, as diagnostics publish them."""

    phase: str
    can_dream: bool
    step: int
    steps: int
    updates: int
    updates_first: int  # due before the first step
    policy_version: int
    dreams: int
    dream_rollouts: int
    dream_updates: int
    transitions_waiting: int


@dataclass(frozen=True)
class PolicyReleased:
    """A policy version is written and acts in steps ``first_step`` to ``until_step - 1``."""

    version: int
    first_step: int
    until_step: int
    path: str
    sha256: str


@dataclass(frozen=True)
class EpisodeEnded:
    """A training episode ended."""

    episode_return: float


@dataclass(frozen=True)
class Evaluated:
    """An evaluation ended; ``step`` is the training step of its policy."""

    step: int
    version: int
    mean: float


@dataclass(frozen=True)
class Dreamed:
    """A part of a dream phase is done."""

    progress: DreamProgress


@dataclass(frozen=True)
class DreamEnded:
    """A dream phase ended; ``version`` is the newest policy version."""

    result: DreamResult
    version: int


@dataclass(frozen=True)
class DreamRefused:
    """The learner cannot dream."""

    reason: str


@dataclass(frozen=True)
class HeldOutSegment:
    """A held-out segment and its prediction, as `Agent.dream_against_reality` gives them."""

    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class Saved:
    """A checkpoint is written."""

    path: Path


@dataclass(frozen=True)
class Warned:
    """A warning for the user; learning continues."""

    text: str


@dataclass(frozen=True)
class Failed:
    """The learner ends because of a user error."""

    reason: str


@dataclass(frozen=True)
class Finished:
    """The run is finished and saved."""

    step: int


@dataclass(frozen=True)
class Ended:
    """The learner's process has ended; the last event, however it ends."""


Event = (
    Status
    | PolicyReleased
    | EpisodeEnded
    | Evaluated
    | Dreamed
    | DreamEnded
    | DreamRefused
    | HeldOutSegment
    | Saved
    | Warned
    | Failed
    | Finished
    | Ended
)
