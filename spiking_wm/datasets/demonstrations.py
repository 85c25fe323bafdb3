"""Demonstrations: recorded trajectories from Minari data sets."""

import zlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from spiking_wm.core.errors import UserError
from spiking_wm.core.extras import missing_extra


class Demonstration(NamedTuple):
    """One episode of ``L`` steps."""

    observation: np.ndarray  # [L, D], float32
    action: np.ndarray  # [L] or [L, A]
    reward: np.ndarray  # [L], float32
    next_observation: np.ndarray  # [L, D]
    terminated: np.ndarray  # [L], bool; false at the end of a truncated episode


def digest(demonstrations: Iterable[Demonstration]) -> int:
    """CRC-32 of all fields, to detect that a data set of the same name has changed."""
    found = 0
    for d in demonstrations:
        for field in d:
            found = zlib.crc32(np.ascontiguousarray(field).data, found)
    return found


def load(name: str) -> list[Demonstration]:
    """All episodes of a data set. Downloads it from Minari's server if it is not on this machine.

    Args:
        name: Minari id, as ``CartPole-v1/mixed-v0`` (from ``./swm demos``) or ``mujoco/hopper/medium-v0``.

    Raises:
        UserError: if the data set is missing or empty, its observations are not vectors, or the extra
            ``demos`` is not installed.
    """
    with missing_extra():
        import minari  # imported here: the import takes a second

    try:
        found = minari.load_dataset(name, download=name not in minari.list_local_datasets())
    except Exception as error:  # the type of exception depends on Minari's server
        local = ", ".join(sorted(minari.list_local_datasets())) or "none"
        told = " ".join(str(error).split())[:120]
        server = "to download it, pip install 'minari[hf]'" if isinstance(error, ImportError) else told
        raise UserError(
            f"no data set '{name}' on this machine (it has: {local}): collect one by ./swm demos"
            f" env:={name.rpartition('/')[0]}; Minari's server: {server}"
        ) from None
    episodes = []
    for episode in found.iterate_episodes():
        seen = episode.observations
        if not isinstance(seen, np.ndarray) or seen.ndim != 2:
            raise UserError(
                f"the observations of data set '{name}' are not vectors: choose another dataset:="
            )
        seen = seen.astype(np.float32)
        episodes.append(
            Demonstration(
                seen[:-1], episode.actions, episode.rewards.astype(np.float32), seen[1:], episode.terminations
            )
        )
    if not episodes:
        raise UserError(f"data set '{name}' is empty: choose another dataset:=")
    return episodes
