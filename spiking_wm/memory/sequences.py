"""A memory of experience in the order in which it came, to learn from in sequences."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from spiking_wm.core.contract import Transition

_NUMBERS = ("reward", "first", "terminal")
# the last _HELD_OUT of every _BLOCK steps are never learned from, for world models to be judged by
_BLOCK, _HELD_OUT = 1000, 40
LONGEST = _BLOCK - _HELD_OUT  # sequence


class Batch(NamedTuple):
    """``B`` sequences of ``L`` steps, as copies: each step is what an action led to."""

    observation: Tensor  # [L, B, ...]
    action: Tensor  # that led there, [L, B, A]; 0 where an episode begins
    reward: Tensor  # [L, B]
    first: Tensor  # 1 where an episode begins, or a sequence, so that nothing is known of before
    terminal: Tensor  # 1 where the task ended; where time ran out it goes on, unseen


class Sequences:
    """The last steps of all episodes, one after the other; the oldest are overwritten first.

    Args:
        capacity: steps kept, those at which episodes begin included, rounded up to whole blocks of 1000.
        observation: shape of an observation.
        dtype: its type, float32 or uint8.
        action: width of an action's code.
    """

    def __init__(self, capacity: int, observation: tuple[int, ...], dtype: torch.dtype, action: int):
        self.capacity, self.written = max(-(-capacity // _BLOCK), 2) * _BLOCK, 0
        self.fields = {
            "observation": _empty((self.capacity, *observation), dtype),
            "action": _empty((self.capacity, action)),
            **{name: _empty((self.capacity,)) for name in _NUMBERS},
        }
        self._episode = -1  # the one that goes on; -1: none does

    def __len__(self) -> int:
        return min(self.written, self.capacity)

    def add(self, transition: Transition, code: np.ndarray, reward: float) -> None:
        """Take in a transition, with its action's code ``[A]``, and where an episode begins its start too."""
        if transition.episode != self._episode:
            self._write(transition.observation, np.zeros_like(code), 0.0, 1.0, 0.0)
        self._write(transition.next_observation, code, reward, 0.0, float(transition.final))
        self._episode = -1 if transition.done else transition.episode

    def _write(self, observation: np.ndarray, action: np.ndarray, *numbers: float) -> None:
        row = self.written % self.capacity
        self.fields["observation"][row] = torch.as_tensor(observation)
        self.fields["action"][row] = torch.as_tensor(action)
        for name, number in zip(_NUMBERS, numbers):
            self.fields[name][row] = number
        self.written += 1

    def sample(self, batch: int, length: int, generator: Generator) -> Batch:
        """Sequences drawn uniformly with replacement from what is not held out.

        Raises:
            ValueError: if none of that length is kept.
        """
        full, begun = self._blocks()
        of_full, of_begun = LONGEST - length + 1, max(min(begun, LONGEST) - length + 1, 0)
        if full * of_full + of_begun < 1:
            raise ValueError(f"no sequence of {length} steps is kept yet ({len(self)} steps are)")
        drawn = torch.randint(full * of_full + of_begun, (batch,), generator=generator)
        # blocks are counted from the one that is being written, backwards, if it has any
        drawn -= of_begun
        now = self.written // _BLOCK
        block = torch.where(drawn < 0, now, now - 1 - drawn.div(of_full, rounding_mode="floor"))
        starts = block * _BLOCK + torch.where(drawn < 0, drawn + of_begun, drawn % of_full)
        sequences = self._at(starts + torch.arange(length)[:, None])
        sequences.first[0] = 1  # of the copy
        return sequences

    def held_out(self, length: int, most: int = 64) -> Batch:
        """The newest held-out stretches that lie within an episode, at most one a block."""
        full, _ = self._blocks()
        newest = self.written // _BLOCK - torch.arange(min(full, most))
        stretches = self._at(newest * _BLOCK - _HELD_OUT + torch.arange(length)[:, None])
        whole = stretches.first[1:].sum(0) == 0
        return Batch(*(field[:, whole] for field in stretches))

    def _blocks(self) -> tuple[int, int]:
        """How many whole blocks are kept, and how many steps of the one that is being written."""
        begun = self.written % _BLOCK
        return min(self.written // _BLOCK, self.capacity // _BLOCK - (begun > 0)), begun

    def _at(self, rows: Tensor) -> Batch:
        rows = rows % self.capacity
        return Batch(**{name: memory[rows] for name, memory in self.fields.items()})

    def snapshot(self) -> dict[str, Tensor]:
        """The filled part, the count of all ever written, and whether an episode goes on."""
        kept = {name: memory[: len(self)].clone() for name, memory in self.fields.items()}
        return kept | {"written": torch.tensor(self.written), "episode": torch.tensor(self._episode)}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Go on from a `snapshot`."""
        self.written = int(snapshot["written"])
        for name, memory in self.fields.items():
            memory[: len(self)] = snapshot[name]
        self._episode = int(snapshot["episode"])


def _empty(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Zeros that are mapped, not written as torch's are: memory is taken as it fills."""
    return torch.from_numpy(np.zeros(shape, str(dtype).removeprefix("torch.")))
