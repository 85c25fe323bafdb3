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

    Args:
        capacity: number of rows; the oldest are overwritten first.
        shape: shape of an observation.
        dtype: type of an observation, float32 or uint8.
        stacked: pictures in an observation.
        file: file in which pictures are stored (memory-mapped); empty for main memory.
        device: device of the batches that `at` returns.

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
    ):
        if shape[-1] % stacked:
            raise UserError(f"observations {shape} are not a stack of {stacked} pictures: set stacked:=1")
        self.capacity, self.stacked, self.written, self._device = capacity, stacked, 0, device
        stored = (capacity, *shape[:-1], shape[-1] // stacked)
        kind = str(dtype).removeprefix("torch.")
        # np.zeros maps memory without writing it: pages are allocated as rows are filled
        path = Path(file).expanduser()
        self._lock = _locked(path, stored, kind) if file else None
        pictures = _mapped(path, stored, kind) if file else np.zeros(stored, kind)
        fields = {
            "picture": pictures,
            "action": np.zeros(capacity, np.int64),
            "reward": np.zeros(capacity, np.float32),
            "final": np.zeros(capacity, np.float32),
            "leap": np.zeros(capacity, np.uint8),  # rows to the next observation; 0: no transition
        }
        self.fields = {name: torch.from_numpy(memory) for name, memory in fields.items()}
        self._next: Tensor | None = None  # observation after the last row, while its episode continues

    def __len__(self) -> int:
        return min(self.written, self.capacity)

    def add(self, transition: Transition, reward: float) -> None:
        """Store a transition, with the reward as the agent scales or clips it."""
        seen, later = (torch.as_tensor(x) for x in (transition.observation, transition.next_observation))
        if self._next is None or not torch.equal(self._next, seen):
            self._write_stack(seen)
        row = (self.written - 1) % self.capacity
        self.fields["action"][row] = int(transition.action)
        self.fields["reward"][row] = reward
        self.fields["final"][row] = float(transition.final)
        kept = later.shape[-1] // self.stacked
        if torch.equal(later[..., :-kept], seen[..., kept:]):
            self._write(later[..., -kept:])
            leap = 1
        else:
            self._write_stack(later)
            leap = self.stacked
        self.fields["leap"][row] = leap
        self._next = None if transition.done else later

    def _write_stack(self, observation: Tensor) -> None:
        for picture in observation.chunk(self.stacked, -1):
            self._write(picture)

    def _write(self, picture: Tensor) -> None:
        row = self.written % self.capacity
        self.fields["picture"][row] = picture
        self.fields["leap"][row] = 0
        self.written += 1

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
        # the oldest rows may belong to a partly overwritten stack
        first = self.written - len(self) + self.stacked - 1
        while len(found) < count:
            if self.written - first < 2 or drawn > 1000 * (count + 10):
                raise ValueError("the memory holds no such transition yet")
            rows = torch.randint(first, self.written - 1, (2 * count,), generator=generator)
            kept = self.fields["leap"][rows % self.capacity] > 0
            if held_out is not None:
                kept &= HELD_OUT.contains(rows) == held_out
            found, drawn = torch.cat([found, rows[kept]]), drawn + len(rows)
        return found[:count]

    def held_out(self, length: int, most: int) -> Tensor:
        """Rows ``[length, W]`` of the ``most`` newest held-out segments that lie within an episode."""
        first = self.written - len(self) + self.stacked - 1
        first = max(first, self.written - _SEARCHED * HELD_OUT.block)
        segments = HELD_OUT.segments(first, self.written - 1, length)
        whole = (self.fields["leap"][segments % self.capacity] == 1).all(-1)
        return segments[whole][-most:].t()

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
            later = later + leap
        action, final = self._of(rows, "action"), self._of(rows, "final")
        batch = (self._stack(rows), action, reward, self._stack(later), final, weight)
        return Batch(*(field.to(self._device) for field in batch))

    def _of(self, rows: Tensor, name: str) -> Tensor:
        return self.fields[name][rows % self.capacity]

    def _stack(self, rows: Tensor) -> Tensor:
        """Observations ``[B, ...]`` whose newest pictures are in these rows."""
        rows = (rows[:, None] + torch.arange(1 - self.stacked, 1)) % self.capacity
        pictures = self.fields["picture"][rows]  # [B, stacked, ..., C]
        return pictures.movedim(1, -2).flatten(-2)

    def snapshot(self) -> dict[str, Tensor]:
        """The filled part, the number of rows ever written, and the last row's observation."""
        kept = {name: memory[: len(self)].clone() for name, memory in self.fields.items()}
        going_on = {} if self._next is None else {"next": self._next.clone()}
        return kept | {"written": torch.tensor(self.written)} | going_on

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Continue from a `snapshot`."""
        self.written = int(snapshot["written"])
        for name, memory in self.fields.items():
            memory[: len(self)] = snapshot[name]
        self._next = snapshot["next"].clone() if "next" in snapshot else None


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
