"""Replay memory of transitions as rings of tensors."""

from collections.abc import Mapping
from itertools import accumulate

import torch
from torch import Generator, Tensor

from spiking_wm.core.contract import Transition
from spiking_wm.memory.held_out import HeldOut
from spiking_wm.memory.lanes import as_tensor, from_tensor, locate

HELD_OUT = HeldOut(block=400, count=20)


class Replay:
    """Ring buffers of transitions with vector observations and vector actions, one after the other.

    Args:
        capacity: number of transitions, rounded up to whole blocks of `HELD_OUT` in every lane. The oldest
            are overwritten first.
        sizes: number of values of each stored field, by name.
        lanes: number of ring buffers; each holds the transitions of one copy of the environment.
        first: additional transitions in the first lane.
    """

    def __init__(self, capacity: int, sizes: Mapping[str, int], lanes: int = 1, first: int = 0):
        of_each = -(-capacity // lanes)
        self._rings = [HELD_OUT.whole_blocks(of_each + first * (lane == 0)) for lane in range(lanes)]
        self._starts = [0, *accumulate(self._rings)][:-1]
        self._written = [0] * lanes
        self.capacity = sum(self._rings)
        # zeros of this size are mapped, not written: pages are allocated as rows are filled
        self.fields = {name: torch.zeros(self.capacity, size) for name, size in sizes.items()}

    @classmethod
    def of_transitions(
        cls, capacity: int, observation_size: int, action_size: int, lanes: int = 1
    ) -> "Replay":
        """A memory with fields for observations, actions, rewards and ends of a `Transition`."""
        one = dict.fromkeys(("reward", "terminated", "truncated"), 1)
        states = dict.fromkeys(("observation", "next_observation"), observation_size)
        return cls(capacity, states | {"action": action_size} | one, lanes)

    @property
    def written(self) -> int:
        """Transitions stored so far, those included that are overwritten."""
        return sum(self._written)

    def __len__(self) -> int:
        return sum(self._filled())

    def _filled(self) -> list[int]:
        return [min(written, ring) for written, ring in zip(self._written, self._rings)]

    def add(self, transition: Transition, lane: int = 0) -> None:
        """Store one transition."""
        row = self._starts[lane] + self._written[lane] % self._rings[lane]
        for name, memory in self.fields.items():
            memory[row] = torch.as_tensor(getattr(transition, name), dtype=torch.float32)
        self._written[lane] += 1

    def extend(self, batch: Mapping[str, Tensor], lane: int = 0) -> Tensor:
        """Store a batch of ``B`` consecutive transitions, at most what a lane holds; returns their rows."""
        count = len(next(iter(batch.values())))
        rows = self.row(torch.arange(count) + self._written[lane], lane)
        for name, memory in self.fields.items():
            memory[rows] = batch[name].reshape(count, memory.shape[1])
        self._written[lane] += count
        return rows

    def newest(self, count: int, lane: int = 0) -> tuple[Tensor, int]:
        """Numbers ``[count]`` of the newest transitions in a lane, and how many older ones it holds."""
        written, filled = self._written[lane], self._filled()[lane]
        return torch.arange(written - count, written), filled - count

    def holds(self, lane: int) -> int:
        """Transitions in a lane."""
        return self._filled()[lane]

    def row(self, number: Tensor, lane: int = 0) -> Tensor:
        """Rows of transitions, by their numbers in a lane, counted from 0."""
        return number % self._rings[lane] + self._starts[lane]

    def at(self, rows: Tensor) -> dict[str, Tensor]:
        """Fields at ``rows`` (any shape), with a last dimension for values."""
        return {
            name: memory.index_select(0, rows.flatten()).view(*rows.shape, -1)
            for name, memory in self.fields.items()
        }

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Draw rows uniformly with replacement from all filled rows."""
        return self._rows(torch.randint(len(self), shape, generator=generator), self._filled())

    def _rows(self, numbers: Tensor, counts: list[int], held_out: HeldOut | None = None) -> Tensor:
        """Rows of ``numbers`` drawn from all lanes; with ``held_out``, of training rows only."""
        lane, number = locate(numbers, counts)
        if held_out:
            number = held_out.training_rows(number)
        return number + torch.tensor(self._starts)[lane]

    def sample_training(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Draw rows uniformly with replacement from the filled training rows."""
        counts = [HELD_OUT.training_count(filled) for filled in self._filled()]
        return self._rows(torch.randint(sum(counts), shape, generator=generator), counts, HELD_OUT)

    def held_out(self, horizon: int) -> Tensor:
        """Rows ``[W, horizon]`` of held-out segments that lie within one episode each.

        They are in order of rows; those of several lanes take turns.
        """
        found = []
        for start, ring, written, filled in zip(self._starts, self._rings, self._written, self._filled()):
            segments = HELD_OUT.segments(0, filled, horizon)
            rows = segments + start
            ended = self.fields["terminated"][rows] + self.fields["truncated"][rows]
            whole = (ended[:, :-1] == 0).flatten(1).all(-1)
            # in the ring buffer, the newest row is followed by the oldest
            seam = (segments[:, :-1] == (written - 1) % ring).any(-1)
            found.append(segments[whole & ~seam])
        order = torch.cat([segments[:, 0] for segments in found]).argsort(stable=True)
        return torch.cat([segments + start for segments, start in zip(found, self._starts)])[order]

    def snapshot(self) -> dict[str, Tensor]:
        """The filled parts, and the number of rows written to each lane."""
        parts = [slice(start, start + filled) for start, filled in zip(self._starts, self._filled())]
        kept = {name: torch.cat([memory[part] for part in parts]) for name, memory in self.fields.items()}
        return kept | {"written": as_tensor(self._written)}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Continue from a `snapshot`."""
        self._written = from_tensor(snapshot["written"])
        filled = self._filled()
        for name, memory in self.fields.items():
            for start, part in zip(self._starts, snapshot[name].split(filled)):
                memory[start : start + len(part)] = part
