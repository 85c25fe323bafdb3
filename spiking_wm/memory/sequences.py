"""Replay memory of environment steps in temporal order, for drawing sequences."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from spiking_wm.core.contract import Transition
from spiking_wm.memory.held_out import HeldOut
from spiking_wm.memory.lanes import as_tensor, from_tensor, locate

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

    With ``lanes``, the ring buffers of several copies of the environment are interleaved: row ``r`` is row
    ``r // lanes`` of lane ``r % lanes``.

    Args:
        capacity: number of steps, including the first observation of each episode, rounded up to whole blocks
            of `HELD_OUT` in every lane. The oldest are overwritten first.
        observation: shape of an observation.
        dtype: type of an observation, float32 or uint8.
        action: width of an action's code.
        lanes: number of ring buffers; each holds the steps of one copy of the environment.
    """

    def __init__(
        self,
        capacity: int,
        observation: tuple[int, ...],
        dtype: torch.dtype,
        action: int,
        lanes: int = 1,
    ):
        self._ring = max(HELD_OUT.whole_blocks(-(-capacity // lanes)), 2 * _BLOCK)
        self.capacity, self._written = self._ring * lanes, [0] * lanes
        self.fields = {
            "observation": _empty((self.capacity, *observation), dtype),
            "action": _empty((self.capacity, action)),
            **{name: _empty((self.capacity,)) for name in _NUMBERS},
        }
        self._episode = [-1] * lanes  # number of the running episode; -1: none

    @property
    def written(self) -> int:
        """Steps written so far, those included that are overwritten."""
        return sum(self._written)

    def __len__(self) -> int:
        return sum(min(written, self._ring) for written in self._written)

    def add(self, transition: Transition, code: np.ndarray, reward: float, lane: int = 0) -> None:
        """Store a transition. At the start of an episode, store its first observation too.

        Args:
            transition: the transition.
            code: action code ``[A]``.
            reward: reward, as scaled by the agent.
            lane: of the copy of the environment.
        """
        if transition.episode != self._episode[lane]:
            self._write(lane, transition.observation, np.zeros_like(code), 0.0, 1.0, 0.0)
        self._write(lane, transition.next_observation, code, reward, 0.0, float(transition.final))
        self._episode[lane] = -1 if transition.done else transition.episode

    def _write(self, lane: int, observation: np.ndarray, action: np.ndarray, *numbers: float) -> None:
        row = (self._written[lane] * len(self._written) + lane) % self.capacity
        self.fields["observation"][row] = torch.as_tensor(observation)
        self.fields["action"][row] = torch.as_tensor(action)
        for name, number in zip(_NUMBERS, numbers):
            self.fields[name][row] = number
        self._written[lane] += 1

    def holds(self, length: int) -> bool:
        """True if there are sequences of ``length`` steps to draw."""
        return sum(self._sequences(length)) > 0

    def _sequences(self, length: int) -> list[int]:
        """Number of training sequences in each lane."""
        of_full = _TRAINING - length + 1
        return [full * of_full + _in_begun(begun, length) for full, begun in self._blocks()]

    def sample(self, batch: int, length: int, generator: Generator) -> Batch:
        """``batch`` sequences of ``length`` steps, drawn uniformly with replacement from training rows.

        Raises:
            ValueError: if the memory holds none of that length.
        """
        counts = self._sequences(length)
        if not sum(counts) > 0:
            raise ValueError(f"no sequence of {length} steps is stored yet ({len(self)} steps are stored)")
        lane, drawn = locate(torch.randint(sum(counts), (batch,), generator=generator), counts)
        # blocks are counted backwards, from the block being written
        of_full = _TRAINING - length + 1
        of_begun = torch.tensor([_in_begun(begun, length) for _, begun in self._blocks()])[lane]
        drawn = drawn - of_begun
        now = torch.tensor(self._written)[lane] // _BLOCK
        block = torch.where(drawn < 0, now, now - 1 - drawn.div(of_full, rounding_mode="floor"))
        starts = block * _BLOCK + torch.where(drawn < 0, drawn + of_begun, drawn % of_full)
        sequences = self._at(starts + torch.arange(length)[:, None], lane)
        sequences.first[0] = 1  # changes the copy only
        return sequences

    def held_out(self, length: int, most: int = 64) -> Batch:
        """The first ``length`` held-out steps of each of the ``most`` newest full blocks, newest first.

        Blocks in which an episode starts within these steps are left out.
        """
        found = []  # block and lane
        for lane, (written, (full, _)) in enumerate(zip(self._written, self._blocks())):
            block = written // _BLOCK - 1 - torch.arange(min(full, most))
            found.append(torch.stack([block, torch.full_like(block, lane)]))
        blocks = torch.cat(found, 1)
        block, lane = blocks[:, blocks[0].argsort(descending=True, stable=True)[:most]]
        segments = self._at(HELD_OUT.first(block) + torch.arange(length)[:, None], lane)
        whole = segments.first[1:].sum(0) == 0
        return Batch(*(field[:, whole] for field in segments))

    def _blocks(self) -> list[tuple[int, int]]:
        """Of each lane, number of full blocks stored, and of steps in the block being written."""
        blocks = []
        for written in self._written:
            begun = written % _BLOCK
            blocks.append((min(written // _BLOCK, self._ring // _BLOCK - (begun > 0)), begun))
        return blocks

    def _at(self, numbers: Tensor, lane: Tensor) -> Batch:
        """Steps by their numbers ``[L, B]`` in lanes ``[B]``, counted from 0."""
        rows = (numbers * len(self._written) + lane) % self.capacity
        return Batch(**{name: memory[rows] for name, memory in self.fields.items()})

    def snapshot(self) -> dict[str, Tensor]:
        """The filled part, the number of steps written, and the number of the running episode, by lane."""
        kept = {name: memory[: self._used()].clone() for name, memory in self.fields.items()}
        return kept | {"written": as_tensor(self._written), "episode": as_tensor(self._episode)}

    def _used(self) -> int:
        """The rows, from the first one on, that lanes have used."""
        return min(max(self._written), self._ring) * len(self._written)

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Continue from a `snapshot`."""
        self._written = from_tensor(snapshot["written"])
        for name, memory in self.fields.items():
            memory[: self._used()] = snapshot[name]
        self._episode = from_tensor(snapshot["episode"])


def _in_begun(begun: int, length: int) -> int:
    """Training sequences in a block of which ``begun`` steps are written."""
    return max(min(begun, _TRAINING) - length + 1, 0)


def _empty(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Zeros that allocate memory only as rows are filled (`torch.zeros` may write them at once)."""
    return torch.from_numpy(np.zeros(shape, str(dtype).removeprefix("torch.")))
