"""Replay memory as a ring of tensors, with a part held out to judge world models by."""

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from spiking_wm.core.contract import Transition

# The last _HELD_OUT of every _BLOCK transitions are never trained on by a world model; they are
# consecutive, so that open-loop rollouts can be compared with them.
_BLOCK, _HELD_OUT = 400, 20


class Replay:
    """Transitions of vector observations and continuous actions, oldest overwritten first.

    Args:
        capacity: transitions kept, rounded up to whole blocks of 400.
        sizes: number of values of each stored field, by name.
    """

    def __init__(self, capacity: int, sizes: Mapping[str, int]):
        self.capacity = -(-capacity // _BLOCK) * _BLOCK
        # zeros of this size are mapped, not written: memory is taken as it fills
        self.fields = {name: torch.zeros(self.capacity, size) for name, size in sizes.items()}
        self.written = 0

    @classmethod
    def of_transitions(cls, capacity: int, observation_size: int, action_size: int) -> "Replay":
        """Memory for everything in a `Transition`."""
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
        """Rows drawn uniformly with replacement."""
        return torch.randint(len(self), shape, generator=generator)

    def sample_training(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Rows drawn uniformly from those not held out."""
        kept = _BLOCK - _HELD_OUT
        blocks, rest = divmod(len(self), _BLOCK)
        drawn = torch.randint(blocks * kept + min(rest, kept), shape, generator=generator)
        return drawn // kept * _BLOCK + drawn % kept

    def held_out(self, horizon: int) -> Tensor:
        """Rows ``[W, horizon]`` of held-out stretches that lie within one episode each."""
        rows = torch.arange(len(self))
        rows = rows[rows % _BLOCK >= _BLOCK - _HELD_OUT]
        if not len(rows):
            return rows.view(0, horizon)
        starts = rows[(rows % _BLOCK <= _BLOCK - horizon) & (rows <= len(self) - horizon)]
        windows = starts[:, None] + torch.arange(horizon)
        ended = self.fields["terminated"][windows] + self.fields["truncated"][windows]
        whole = (ended[:, :-1] == 0).flatten(1).all(-1)
        # the ring's seam: the newest row is followed by the oldest
        seam = (windows[:, :-1] == (self.written - 1) % self.capacity).any(-1)
        return windows[whole & ~seam]

    def snapshot(self) -> dict[str, Tensor]:
        """The filled part, and the count of all ever written."""
        kept = {name: memory[: len(self)].clone() for name, memory in self.fields.items()}
        return kept | {"written": torch.tensor(self.written)}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Go on from a `snapshot`."""
        self.written = int(snapshot["written"])
        for name, memory in self.fields.items():
            memory[: len(self)] = snapshot[name]
