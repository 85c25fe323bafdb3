"""What decision transformers learn from: rows of steps, demonstrated and own, and stretches of them."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn

from spiking_wm.agents.spiking_dt.network import Trajectory
from spiking_wm.core.actions import Actions
from spiking_wm.core.errors import UserError
from spiking_wm.datasets.demonstrations import Demonstration
from spiking_wm.memory.transitions import Replay


class Stretches(NamedTuple):
    """``B`` stretches of at most ``L`` steps, begun where they are long, then nothing."""

    trajectory: Trajectory  # of L steps, or of one more where what follows counts
    reward: Tensor  # [B, L]
    terminated: Tensor  # [B, L]
    valid: Tensor  # whether there is such a step, [B, L]
    learned: Tensor  # whether it is learned from; other valid ones are context, [B, L]
    linked: Tensor  # whether the next step learned from, row by row, is the one after it in time, [B, L]

    def begun(self) -> float:
        """How many steps there are, with those that a stretch was cut off at: all but what comes after."""
        goes_on = self.valid[:, :-1] * (1 - self.terminated[:, :-1])
        return len(self.valid) + float(goes_on.sum())

    def rows(self, chosen: Tensor) -> "Stretches":
        """Some of them."""
        trajectory = Trajectory(*(field[chosen] for field in self.trajectory))
        return Stretches(trajectory, *(field[chosen] for field in self[1:]))


def memory(capacity: int, observation: int, code: int) -> Replay:
    """Room for steps."""
    one = dict.fromkeys(("reward", "terminated", "truncated", "asked", "step"), 1)
    states = dict.fromkeys(("observation", "next_observation"), observation)
    return Replay(capacity, states | {"action": code} | one)


def remember(replay: Replay, demonstrations: list[Demonstration], actions: Actions) -> None:
    """Add demonstrations, as asked to do what they did.

    Raises:
        UserError: if they are of another environment.
    """
    width = replay.fields["observation"].shape[1]
    for d in demonstrations:
        code, length = actions.code(d.action), len(d.reward)
        if d.observation.shape[1] != width or code.shape != (length, actions.width):
            raise UserError(
                f"the data set has observations of {d.observation.shape[1]} values and actions of"
                f" {d.action.shape[1:]}, the environment {width} and {actions.width}: give another dataset:="
            )
        ends = np.arange(length) == length - 1
        replay.extend(
            {
                "observation": torch.from_numpy(d.observation),
                "next_observation": torch.from_numpy(d.next_observation),
                "action": torch.from_numpy(code),
                "reward": torch.from_numpy(d.reward),
                "terminated": torch.from_numpy(d.terminated.astype(np.float32)),
                "truncated": torch.from_numpy((ends & ~d.terminated).astype(np.float32)),
                "asked": torch.from_numpy(d.reward[::-1].cumsum()[::-1].astype(np.float32)),
                "step": torch.arange(length, dtype=torch.float32),
            }
        )


def settled(replay: Replay, rows: int, unsettled: int) -> Tensor:
    """Which of the first ``rows``, whole episodes, tell what came of them.

    Not the last ``unsettled`` ones where an episode was cut: the return that is left there is small however
    bad the state is.

    Raises:
        UserError: if none do.
    """
    over, cut = (replay.fields[name][:rows, 0] > 0 for name in ("terminated", "truncated"))
    every = torch.arange(rows)
    ends = (over | cut).nonzero()[:, 0]
    end = ends[torch.searchsorted(ends, every)]
    kept = every[over[end] | (end - every >= unsettled)]
    if not len(kept):
        raise UserError(f"unsettled:={unsettled} leaves nothing of the demonstrations: lower it")
    return kept


def demonstrated(replay: Replay, rows: Tensor, batch: int, length: int, generator: Generator) -> Stretches:
    """Stretches of demonstrations, each ended by a step drawn from ``rows``."""
    last = rows[torch.randint(len(rows), (batch,), generator=generator)]
    before = replay.fields["step"][last, 0].long().clamp_max(length - 1)
    return _stretches(replay, last - before, before + 1, length)


def newest(replay: Replay, count: int, length: int) -> Stretches:
    """The last ``count`` steps, cut at episodes' starts and where they get too long; what follows counts.

    Of a stretch within an episode the first half has been in one before: it is context alone, for the policy
    went by as much.
    """
    rows = torch.arange(replay.written - count, replay.written)
    steps = replay.fields["step"][rows % replay.capacity, 0].long().tolist()
    remembered = len(replay) - count  # steps before these
    first, context, run = [], [], 0
    for k, step in enumerate(steps):
        if k == 0 or step == 0 or run == length:
            first.append(k)
            context.append(min(length // 2, step, remembered + k))
            run = context[-1]
        run += 1
    at, lead = torch.tensor(first), torch.tensor(context)
    lengths = torch.diff(at, append=torch.tensor([count])) + lead
    return _stretches(replay, rows[at] - lead, lengths, length, lead)


def _stretches(
    replay: Replay, start: Tensor, lengths: Tensor, length: int, lead: Tensor | None = None
) -> Stretches:
    """Stretches of so many rows; with ``lead``, steps of each that are context, what follows counts."""
    along = torch.arange(length)
    valid = along < lengths[:, None]
    rows = torch.where(valid, start[:, None] + along, (start + lengths - 1)[:, None]) % replay.capacity
    f = replay.at(rows)
    reward, asked, step = f["reward"][..., 0], f["asked"][..., 0], f["step"][..., 0].long()
    observation, code = f["observation"], f["action"]
    learned = linked = valid
    if lead is not None:
        learned = valid & (along >= lead[:, None])
        linked = (f["terminated"] + f["truncated"])[..., 0] == 0
        # a stretch's last step, if the next one goes on in its episode; nothing comes after the last stretch
        goes_on = step.gather(1, lead[:, None])[1:, 0] > 0
        linked[torch.arange(len(lengths)), lengths - 1] &= nn.functional.pad(goes_on, (0, 1))
        # what was seen after each step is what is seen before the next one: one more, after the last
        last = (lengths - 1)[:, None]
        here = torch.arange(length + 1) > last
        later = f["next_observation"].take_along_dim(last[..., None], 1)
        left = (asked - reward).gather(1, last)
        observation = torch.where(here[..., None], later, _one_more(observation))
        asked = torch.where(here, left, _one_more(asked))
        step = torch.where(here, step.gather(1, last) + 1, _one_more(step))
        code = _one_more(code)
    masks = (mask.float() for mask in (valid, learned, linked))
    return Stretches(Trajectory(asked, observation, code, step), reward, f["terminated"][..., 0], *masks)


def _one_more(field: Tensor) -> Tensor:
    return torch.cat([field, field[:, -1:]], 1)
