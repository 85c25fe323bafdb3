"""Training episodes that go on, one in each copy of the environment, and how checkpoints keep them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # sessions must not load torch
    from torch import Tensor


@dataclass
class RunningEpisode:
    """An episode that goes on: what it takes to replay it.

    Args:
        number: of the episode; all copies count together.
        seed: as in `Transition`.
        actions: so far.
        observation: after the last of these actions; None: not known.
        total: sum of the rewards so far.
    """

    number: int
    seed: int = -1
    actions: list[np.ndarray] = field(default_factory=list)
    observation: np.ndarray | None = None
    total: float = 0.0


def next_number(episodes: Sequence[RunningEpisode]) -> int:
    """Number of the episode that begins next in any copy."""
    return max(episode.number for episode in episodes) + 1


def tensors_of(episodes: Sequence[RunningEpisode]) -> dict[str, np.ndarray]:
    """Actions and observations by name, for a checkpoint."""
    tensors = {}
    for copy, episode in enumerate(episodes):
        tensors[f"actions{_suffix(copy)}"] = np.array(episode.actions)
        if episode.observation is not None:
            tensors[f"observation{_suffix(copy)}"] = episode.observation
    return tensors


def facts_of(episodes: Sequence[RunningEpisode]) -> dict[str, Any]:
    """The rest of the episodes, as values for JSON."""
    return {"episodes": [[episode.number, episode.seed, episode.total] for episode in episodes]}


def episodes_of(tensors: "Mapping[str, Tensor]", facts: Mapping[str, Any]) -> list[RunningEpisode]:
    """Inverse of `tensors_of` and `facts_of`; facts of earlier versions tell of one episode."""
    given = facts.get("episodes")
    if given is None:
        given = [[facts["episode"], facts["episode_seed"], facts.get("_episode_return", 0.0)]]
    episodes = []
    for copy, (number, seed, total) in enumerate(given):
        seen = tensors.get(f"observation{_suffix(copy)}")  # None in checkpoints of version 0.1
        actions = list(tensors[f"actions{_suffix(copy)}"].numpy())
        episodes.append(RunningEpisode(number, seed, actions, None if seen is None else seen.numpy(), total))
    return episodes


def _suffix(copy: int) -> str:
    return f"_{copy}" if copy else ""
