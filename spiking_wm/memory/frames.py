"""Replay memory that keeps every picture once, though observations are stacks of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from spiking_wm.core.contract import Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import lock

# the last _HELD_OUT of every _BLOCK rows are never learned from by a world model, for it to be judged by
_BLOCK, _HELD_OUT = 400, 20
_CPU = torch.device("cpu")


class Batch(NamedTuple):
    """``B`` transitions, of a step or of several."""

    observation: Tensor  # [B, ...]
    action: Tensor  # [B], int64
    reward: Tensor  # of all steps, [B]
    next_observation: Tensor  # after them, [B, ...]
    final: Tensor  # 1 where nothing counts that comes after the first of them, [B]
    weight: Tensor  # of what comes after all of them, [B]


class Frames:
    """The last transitions, the oldest overwritten first; a row holds one picture, or one vector.

    An observation is ``stacked`` pictures one behind the other in its last dimension, the newest last. Of
    each step only the newest one is kept. Where pictures do not follow on those before, as at the start of
    an episode, the whole stack is written, in rows of its own.

    Args:
        capacity: rows kept.
        shape: of an observation.
        dtype: its type, float32 or uint8.
        stacked: pictures in an observation.
        file: to be mapped for the pictures; in memory without one.
        device: where batches are put.
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
            raise UserError(f"observations of shape {shape} are no {stacked} pictures: set stacked:=1")
        self.capacity, self.stacked, self.written, self._device = capacity, stacked, 0, device
        one = (capacity, *shape[:-1], shape[-1] // stacked)
        kind = str(dtype).removeprefix("torch.")
        # zeros are mapped, not written: memory is taken as it fills
        path = Path(file).expanduser()
        self._lock = _locked(path, one, kind) if file else None
        pictures = np.memmap(path, kind, "w+", shape=one) if file else np.zeros(one, kind)
        fields = {
            "picture": pictures,
            "action": np.zeros(capacity, np.int64),
            "reward": np.zeros(capacity, np.float32),
            "final": np.zeros(capacity, np.float32),
            "leap": np.zeros(capacity, np.uint8),  # rows on to the next state; 0: none, or no state
        }
        self.fields = {name: torch.from_numpy(memory) for name, memory in fields.items()}
        self._next: Tensor | None = (
            None  # the observation that the last row is of, in an episode that goes on
        )

    def __len__(self) -> int:
        return min(self.written, self.capacity)

    def add(self, transition: Transition, reward: float) -> None:
        """Take in a transition, with its reward as it is to be learned from."""
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
            count: how many.
            generator: of random numbers.
            held_out: only from what is held out, or only from the rest; None: from all.

        Raises:
            ValueError: if there is none.
        """
        found, drawn = torch.empty(0, dtype=torch.int64), 0
        # the oldest rows may belong to a stack that is overwritten already
        first = self.written - len(self) + self.stacked - 1
        while len(found) < count:
            if self.written - first < 2 or drawn > 1000 * (count + 10):
                raise ValueError("nothing of that kind is kept yet")
            rows = torch.randint(first, self.written - 1, (2 * count,), generator=generator)
            kept = self.fields["leap"][rows % self.capacity] > 0
            if held_out is not None:
                kept &= (rows % _BLOCK >= _BLOCK - _HELD_OUT) == held_out
            found, drawn = torch.cat([found, rows[kept]]), drawn + len(rows)
        return found[:count]

    def held_out(self, length: int, most: int) -> Tensor:
        """The newest stretches of held-out rows ``[length, W]`` that lie within an episode."""
        first = self.written - len(self) + self.stacked - 1
        first, end = max(first, self.written - 100 * _BLOCK), self.written - length
        rows = torch.arange(first, max(first, end))
        rows = rows[rows % _BLOCK >= _BLOCK - _HELD_OUT] + torch.arange(length)[:, None]
        leaps = self.fields["leap"][rows % self.capacity]
        followed = (leaps == 1).all(0) & (rows[-1] % _BLOCK >= _BLOCK - _HELD_OUT)
        return rows[:, followed][:, -most:]

    def at(self, rows: Tensor, steps: int = 1, discount: float = 1.0) -> Batch:
        """Transitions of rows ``[B]``.

        Args:
            rows: as `sample` draws them.
            steps: that each is of; fewer where an episode ends before.
            discount: of rewards, and of what comes after them, per step.
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
        """Observations ``[B, ...]`` whose newest pictures are in rows."""
        rows = (rows[:, None] + torch.arange(1 - self.stacked, 1)) % self.capacity
        pictures = self.fields["picture"][rows]  # [B, stacked, ..., C]
        return pictures.movedim(1, -2).flatten(-2)

    def snapshot(self) -> dict[str, Tensor]:
        """The filled part, the count of all ever written, and what the last row is of."""
        kept = {name: memory[: len(self)].clone() for name, memory in self.fields.items()}
        going_on = {} if self._next is None else {"next": self._next.clone()}
        return kept | {"written": torch.tensor(self.written)} | going_on

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Go on from a `snapshot`."""
        self.written = int(snapshot["written"])
        for name, memory in self.fields.items():
            memory[: len(self)] = snapshot[name]
        self._next = snapshot["next"].clone() if "next" in snapshot else None


def _locked(path: Path, shape: tuple[int, ...], kind: str) -> IO:
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    if path.is_file() and path.stat().st_size not in (0, size):
        raise UserError(f"replay_file:={path} is something else, of another size: choose another one")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return lock(path)
    except BlockingIOError:
        raise UserError(f"replay_file:={path} is another run's, which goes on: choose another one") from None
    except OSError as error:
        raise UserError(
            f"replay_file:={path} cannot be written ({error.strerror}): choose another one"
        ) from None
