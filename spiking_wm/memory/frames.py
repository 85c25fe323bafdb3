"""Replay memory of stacked pictures that stores every picture once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from spiking_wm.core.contract import Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import lock
from spiking_wm.memory.held_out import HeldOut
from spiking_wm.memory.lanes import as_tensor, from_tensor, locate

HELD_OUT = HeldOut(block=400, count=20)
_SEARCHED = 100  # number of newest blocks searched for held-out segments
_CPU = torch.device("cpu")


class Batch(NamedTuple):
    """``B`` transitions of one or several steps each."""

    observation: Tensor  # [B, ...]
    action: Tensor  # the first step's, [B], int64
    reward: Tensor  # discounted sum over the steps, [B]
    next_observation: Tensor  # after the last step, [B, ...]
    final: Tensor  # 1 where the value after the first step is zero (terminated, or a life was lost), [B]
    weight: Tensor  # factor on the value of the next observation, [B]


class Frames:
    """Ring buffer of transitions with discrete actions, one picture (or vector) per row.

    An observation is a stack of ``stacked`` pictures along its last dimension, the newest last. For each step
    only the newest picture is stored. The whole stack is stored, one picture per row, if it does not continue
    the previous one (at the start of an episode, for example).

    With ``lanes``, the ring buffers of several copies of the environment are interleaved: row ``r`` is row
    ``r // lanes`` of lane ``r % lanes``.

    Args:
        capacity: number of rows, rounded up to whole ``lanes``; the oldest are overwritten first.
        shape: shape of an observation.
        dtype: type of an observation, float32 or uint8.
        stacked: pictures in an observation.
        file: file in which pictures are stored (memory-mapped); empty for main memory.
        device: device of the batches that `at` returns.
        lanes: number of ring buffers; each holds the transitions of one copy of the environment.

    Raises:
        UserError: if the last dimension is no multiple of ``stacked``, or the file cannot be used.
    """

    def __init__(
        self,
        capacity: int,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        stacked: int = 1,
        file: str = "",
        device: torch.device = _CPU,
        lanes: int = 1,
    ):
        if shape[-1] % stacked:
            raise UserError(f"observations {shape} are not a stack of {stacked} pictures: set stacked:=1")
        self._ring = -(-capacity // lanes)
        capacity = self._ring * lanes
        self.capacity, self.stacked, self._device = capacity, stacked, device
        self._written = [0] * lanes
        stored = (capacity, *shape[:-1], shape[-1] // stacked)
        kind = str(dtype).removeprefix("torch.")
        # np.zeros maps memory without writing it: pages are allocated as rows are filled
        path = Path(file).expanduser()
        self._lock = _locked(path, stored, kind) if file else None
        pictures = _mapped(path, stored, kind) if file else np.zeros(stored, kind)
        # written by NumPy, which takes a tenth of torch's time for single rows, and read by torch
        self._memory = {
            "picture": pictures,
            "action": np.zeros(capacity, np.int64),
            "reward": np.zeros(capacity, np.float32),
            "final": np.zeros(capacity, np.float32),
            "leap": np.zeros(capacity, np.uint8),  # rows to the next observation; 0: no transition
        }
        self.fields = {name: torch.from_numpy(memory) for name, memory in self._memory.items()}
        # observation after the last row of each lane, while its episode continues
        self._next: list[np.ndarray | None] = [None] * lanes

    @property
    def written(self) -> int:
        """Rows written so far, those included that are overwritten."""
        return sum(self._written)

    def __len__(self) -> int:
        return sum(self._filled())

    def _filled(self) -> list[int]:
        return [min(written, self._ring) for written in self._written]

    def add(self, transition: Transition, reward: float, lane: int = 0) -> None:
        """Store a transition, with the reward as the agent scales or clips it."""
        seen, later = np.asarray(transition.observation), np.asarray(transition.next_observation)
        before, memory = self._next[lane], self._memory
        if before is None or not np.array_equal(before, seen):
            self._write_stack(seen, lane)
        row = self._row(self._written[lane] - 1, lane)
        memory["action"][row] = int(transition.action)
        memory["reward"][row] = reward
        memory["final"][row] = float(transition.final)
        kept = later.shape[-1] // self.stacked
        if np.array_equal(later[..., :-kept], seen[..., kept:]):
            self._write(later[..., -kept:], lane)
            leap = 1
        else:
            self._write_stack(later, lane)
            leap = self.stacked
        memory["leap"][row] = leap
        self._next[lane] = None if transition.done else later

    def _row(self, number: int, lane: int) -> int:
        """Row, in memory, of a row of a lane."""
        return (number * len(self._written) + lane) % self.capacity

    def _write_stack(self, observation: np.ndarray, lane: int) -> None:
        for picture in np.split(observation, self.stacked, -1):
            self._write(picture, lane)

    def _write(self, picture: np.ndarray, lane: int) -> None:
        row = self._row(self._written[lane], lane)
        self._memory["picture"][row] = picture
        self._memory["leap"][row] = 0
        self._written[lane] += 1

    def sample(self, count: int, generator: Generator, held_out: bool | None = None) -> Tensor:
        """Rows ``[count]`` of transitions, drawn uniformly with replacement.

        Args:
            count: number of rows.
            generator: source of random numbers.
            held_out: True: held-out rows only; False: training rows only; None: all rows.

        Raises:
            ValueError: if the memory holds no such transition.
        """
        found, drawn = torch.empty(0, dtype=torch.int64), 0
        first, lanes = self._first(), len(self._written)
        counts = [max(written - 1 - oldest, 0) for written, oldest in zip(self._written, first)]
        while len(found) < count:
            if not sum(counts) or drawn > 1000 * (count + 10):
                raise ValueError("the memory holds no such transition yet")
            lane, numbers = locate(torch.randint(sum(counts), (2 * count,), generator=generator), counts)
            numbers = numbers + torch.tensor(first)[lane]
            rows = numbers * lanes + lane
            kept = self.fields["leap"][rows % self.capacity] > 0
            if held_out is not None:
                kept &= HELD_OUT.contains(numbers) == held_out
            found, drawn = torch.cat([found, rows[kept]]), drawn + len(rows)
        return found[:count]

    def held_out(self, length: int, most: int) -> Tensor:
        """Rows ``[length, W]`` of the ``most`` newest held-out segments that lie within an episode."""
        found, lanes = [], len(self._written)
        for lane, (written, first) in enumerate(zip(self._written, self._first())):
            first = max(first, written - _SEARCHED * HELD_OUT.block)
            found.append(HELD_OUT.segments(first, written - 1, length) * lanes + lane)
        segments = torch.cat(found)
        segments = segments[segments[:, 0].argsort()]
        whole = (self.fields["leap"][segments % self.capacity] == 1).all(-1)
        return segments[whole][-most:].t()

    def _first(self) -> list[int]:
        """The oldest row of each lane; rows before it may belong to a partly overwritten stack."""
        stacked = self.stacked - 1
        return [written - filled + stacked for written, filled in zip(self._written, self._filled())]

    def at(self, rows: Tensor, steps: int = 1, discount: float = 1.0) -> Batch:
        """Transitions that start at rows ``[B]``.

        Args:
            rows: returned by `sample`.
            steps: environment steps per transition; fewer if the episode ends earlier.
            discount: discount factor per step.
        """
        later, reward, weight = rows, torch.zeros(len(rows)), torch.ones(len(rows))
        for _ in range(steps):
            leap, of_step, final = (self._of(later, name) for name in ("leap", "reward", "final"))
            goes_on = leap > 0
            reward += torch.where(goes_on, weight * of_step, 0.0)
            weight *= torch.where(goes_on, discount * (1 - final), 1.0)
            later = later + leap * len(self._written)
        action, final = self._of(rows, "action"), self._of(rows, "final")
        batch = (self._stack(rows), action, reward, self._stack(later), final, weight)
        return Batch(*(field.to(self._device) for field in batch))

    def _of(self, rows: Tensor, name: str) -> Tensor:
        return self.fields[name][rows % self.capacity]

    def _stack(self, rows: Tensor) -> Tensor:
        """Observations ``[B, ...]`` whose newest pictures are in these rows."""
        before = torch.arange(1 - self.stacked, 1) * len(self._written)
        rows = (rows[:, None] + before) % self.capacity
        pictures = self.fields["picture"][rows]  # [B, stacked, ..., C]
        return pictures.movedim(1, -2).flatten(-2)

    def snapshot(self) -> dict[str, Tensor]:
        """The filled part, the number of rows ever written, and the last row's observation, by lane."""
        kept = {name: memory[: self._used()].clone() for name, memory in self.fields.items()}
        going_on = {
            _of("next", lane): torch.from_numpy(x.copy())
            for lane, x in enumerate(self._next)
            if x is not None
        }
        return kept | {"written": as_tensor(self._written)} | going_on

    def _used(self) -> int:
        """The rows, from the first one on, that lanes have used."""
        return max(self._filled()) * len(self._written)

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Continue from a `snapshot`."""
        self._written = from_tensor(snapshot["written"])
        for name, memory in self.fields.items():
            memory[: self._used()] = snapshot[name]
        kept = [snapshot.get(_of("next", lane)) for lane in range(len(self._written))]
        self._next = [None if x is None else x.numpy().copy() for x in kept]


def _of(name: str, lane: int) -> str:
    return f"{name}_{lane}" if lane else name


def _mapped(path: Path, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """A new memory-mapped file with room on the disk: to write where there is none would kill the process."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        path.unlink()
        raise UserError(
            f"replay_file:={path} has no room for {size / 1e6:.0f} MB ({error.strerror}): free some disk"
            " space, or choose a smaller replay"
        ) from None
    return np.memmap(path, kind, "r+", shape=shape)


def _locked(path: Path, shape: tuple[int, ...], kind: str) -> IO:
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    if path.is_file() and path.stat().st_size not in (0, size):
        raise UserError(f"replay_file:={path} is something else, of another size: choose another one")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return lock(path)
    except BlockingIOError:
        raise UserError(f"replay_file:={path} is in use by another run: choose another one") from None
    except OSError as error:
        raise UserError(
            f"replay_file:={path} cannot be written ({error.strerror}): choose another one"
        ) from None
