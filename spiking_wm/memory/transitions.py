"""Replay memory of transitions as a ring of tensors."""

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from spiking_wm.core.contract import Transition
from spiking_wm.memory.held_out import HeldOut

HELD_OUT = HeldOut(block=400, count=20)


class Replay:
    """Ring buffer of transitions with vector observations and vector actions.

    Args:
        capacity: number of transitions, rounded up to whole blocks of `HELD_OUT`. The oldest are overwritten
            first.
        sizes: number of values of each stored field, by name.
    """

    def __init__(self, capacity: int, sizes: Mapping[str, int]):
        self.capacity = HELD_OUT.whole_blocks(capacity)
        # zeros of this size are mapped, not written: pages are allocated as rows are filled
        self.fields = {name: torch.zeros(self.capacity, size) for name, size in sizes.items()}
        self.written = 0

    @classmethod
    def of_transitions(cls, capacity: int, observation_size: int, action_size: int) -> "Replay":
        """A memory with fields for observations, actions, rewards and ends of a `Transition`."""
        one = dict.fromkeys(("reward", "terminated", "truncated"), 1)
        states = dict.fromkeys(("observation", "next_observation"), observation_size)
        return cls(capacity, states | {"action": action_size} | one)

    def __len__(self) -> int:
        return min(self.written, self.capacity)

    def add(self, transition: Transition) -> None:
        """Store one transition."""
        row = self.written % self.capacity
        for name, memory in self.fields.items():
            memory[row] = torch.as_tensor(getattr(transition, name), dtype=torch.float32)
        self.written += 1

    def extend(self, batch: Mapping[str, Tensor]) -> None:
        """Store a batch of rows, at most ``capacity`` of them."""
        count = len(next(iter(batch.values())))
        rows = (torch.arange(count) + self.written) % self.capacity
        for name, memory in self.fields.items():
            memory[rows] = batch[name].reshape(count, memory.shape[1])
        self.written += count

    def at(self, rows: Tensor) -> dict[str, Tensor]:
        """Fields at ``rows`` (any shape), with a last dimension for values."""
        return {
            name: memory.index_select(0, rows.flatten()).view(*rows.shape, -1)
            for name, memory in self.fields.items()
        }

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Draw rows uniformly with replacement from all filled rows."""
        return torch.randint(len(self), shape, generator=generator)

    def sample_training(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Draw rows uniformly with replacement from the filled training rows."""
        numbers = torch.randint(HELD_OUT.training_count(len(self)), shape, generator=generator)
        return HELD_OUT.training_rows(numbers)

    def held_out(self, horizon: int) -> Tensor:
        """Rows ``[W, horizon]`` of held-out segments that lie within one episode each, in order of rows."""
        segments = HELD_OUT.segments(0, len(self), horizon)
        ended = self.fields["terminated"][segments] + self.fields["truncated"][segments]
        whole = (ended[:, :-1] == 0).flatten(1).all(-1)
        # in the ring buffer, the newest row is followed by the oldest
        seam = (segments[:, :-1] == (self.written - 1) % self.capacity).any(-1)
        return segments[whole & ~seam]

    def snapshot(self) -> dict[str, Tensor]:
        """The filled part, and the total number of rows written."""
        kept = {name: memory[: len(self)].clone() for name, memory in self.fields.items()}
        return kept | {"written": torch.tensor(self.written)}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Continue from a `snapshot`."""
        self.written = int(snapshot["written"])
        for name, memory in self.fields.items():
            memory[: len(self)] = snapshot[name]
