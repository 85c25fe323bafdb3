"""Replay memory of environment steps in temporal order, for drawing sequences."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from spiking_wm.core.contract import Transition
from spiking_wm.memory.held_out import HeldOut

HELD_OUT = HeldOut(block=1000, count=40)
_BLOCK, _TRAINING = HELD_OUT.block, HELD_OUT.training  # a training sequence has at most _TRAINING steps
_NUMBERS = ("reward", "first", "terminal")


class Batch(NamedTuple):
    """``B`` sequences of ``L`` steps (copies). A step holds an observation and the action before it."""

    observation: Tensor  # [L, B, ...]
    action: Tensor  # code of the action that led to the observation, [L, B, A]; 0 at the start of an episode
    reward: Tensor  # of that action, [L, B]
    first: Tensor  # 1 at the start of an episode or of a training sequence (state is reset), [L, B]
    terminal: Tensor  # 1 where the episode terminated or a life was lost; 0 where it was truncated, [L, B]


class Sequences:
    """Ring buffer of the steps of all episodes, one episode after the other.

    Args:
        capacity: number of steps, including the first observation of each episode, rounded up to whole blocks
            of `HELD_OUT`. The oldest are overwritten first.
        observation: shape of an observation.
        dtype: type of an observation, float32 or uint8.
        action: width of an action's code.
    """

    def __init__(self, capacity: int, observation: tuple[int, ...], dtype: torch.dtype, action: int):
        self.capacity, self.written = max(HELD_OUT.whole_blocks(capacity), 2 * _BLOCK), 0
        self.fields = {
            "observation": _empty((self.capacity, *observation), dtype),
            "action": _empty((self.capacity, action)),
            **{name: _empty((self.capacity,)) for name in _NUMBERS},
        }
        self._episode = -1  # number of the running episode; -1: none

    def __len__(self) -> int:
        return min(self.written, self.capacity)

    def add(self, transition: Transition, code: np.ndarray, reward: float) -> None:
        """Store a transition. At the start of an episode, store its first observation too.

        Args:
            transition: the transition.
            code: action code ``[A]``.
            reward: reward, as scaled by the agent.
        """
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
        """``batch`` sequences of ``length`` steps, drawn uniformly with replacement from training rows.

        Raises:
            ValueError: if the memory holds none of that length.
        """
        full, begun = self._blocks()
        of_full, of_begun = _TRAINING - length + 1, max(min(begun, _TRAINING) - length + 1, 0)
        if full * of_full + of_begun < 1:
            raise ValueError(f"no sequence of {length} steps is stored yet ({len(self)} steps are stored)")
        drawn = torch.randint(full * of_full + of_begun, (batch,), generator=generator)
        # blocks are counted backwards, from the block being written
        drawn -= of_begun
        now = self.written // _BLOCK
        block = torch.where(drawn < 0, now, now - 1 - drawn.div(of_full, rounding_mode="floor"))
        starts = block * _BLOCK + torch.where(drawn < 0, drawn + of_begun, drawn % of_full)
        sequences = self._at(starts + torch.arange(length)[:, None])
        sequences.first[0] = 1  # changes the copy only
        return sequences

    def held_out(self, length: int, most: int = 64) -> Batch:
        """The first ``length`` held-out steps of each of the ``most`` newest full blocks, newest first.

        Blocks in which an episode starts within these steps are left out.
        """
        full, _ = self._blocks()
        blocks = self.written // _BLOCK - 1 - torch.arange(min(full, most))
        segments = self._at(HELD_OUT.first(blocks) + torch.arange(length)[:, None])
        whole = segments.first[1:].sum(0) == 0
        return Batch(*(field[:, whole] for field in segments))

    def _blocks(self) -> tuple[int, int]:
        """Number of full blocks stored, and of steps in the block being written."""
        begun = self.written % _BLOCK
        return min(self.written // _BLOCK, self.capacity // _BLOCK - (begun > 0)), begun

    def _at(self, rows: Tensor) -> Batch:
        rows = rows % self.capacity
        return Batch(**{name: memory[rows] for name, memory in self.fields.items()})

    def snapshot(self) -> dict[str, Tensor]:
        """The filled part, the total number of steps written, and the number of the running episode."""
        kept = {name: memory[: len(self)].clone() for name, memory in self.fields.items()}
        return kept | {"written": torch.tensor(self.written), "episode": torch.tensor(self._episode)}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Continue from a `snapshot`."""
        self.written = int(snapshot["written"])
        for name, memory in self.fields.items():
            memory[: len(self)] = snapshot[name]
        self._episode = int(snapshot["episode"])


def _empty(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Zeros that allocate memory only as rows are filled (`torch.zeros` may write them at once)."""
    return torch.from_numpy(np.zeros(shape, str(dtype).removeprefix("torch.")))
