"""Experience of decision transformers: rows of steps (demonstrations and own), and segments of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn

from spiking_wm.agents.spiking_dt.network import Trajectory
from spiking_wm.core.actions import Actions
from spiking_wm.core.errors import UserError
from spiking_wm.datasets.demonstrations import Demonstration
from spiking_wm.memory.transitions import Replay


class Segments(NamedTuple):
    """``B`` segments of up to ``L`` steps; shorter ones are padded at the end."""

    trajectory: Trajectory  # of L steps, or L + 1 if the value after the segment is needed
    reward: Tensor  # [B, L]
    terminated: Tensor  # [B, L]
    valid: Tensor  # 1 for a step, 0 for padding, [B, L]
    learned: Tensor  # 1 for a step used in the loss; other valid steps are context, [B, L]
    linked: Tensor  # 1 if the next learned step (in row order) is also the next in time, [B, L]

    def attempted(self) -> float:
        """Number of valid steps, plus one for every segment that did not terminate."""
        goes_on = self.valid[:, :-1] * (1 - self.terminated[:, :-1])
        return len(self.valid) + float(goes_on.sum())

    def rows(self, chosen: Tensor) -> "Segments":
        """The segments with these indices."""
        trajectory = Trajectory(*(field[chosen] for field in self.trajectory))
        return Segments(trajectory, *(field[chosen] for field in self[1:]))


def make_replay(capacity: int, observation: int, code: int, lanes: int = 1, demonstrated: int = 0) -> Replay:
    """An empty replay of steps, for the widths of observations and of actions' codes.

    Args:
        capacity: number of own steps.
        observation, code: widths.
        lanes: as of `Replay`.
        demonstrated: number of demonstrated steps, which come first.
    """
    one = dict.fromkeys(("reward", "terminated", "truncated", "return_to_go", "step"), 1)
    states = dict.fromkeys(("observation", "next_observation"), observation)
    return Replay(capacity, states | {"action": code} | one, lanes, demonstrated)


def add_demonstrations(replay: Replay, demonstrations: list[Demonstration], actions: Actions) -> None:
    """Add episodes with their real returns-to-go.

    Raises:
        UserError: if their observations or actions do not fit the environment.
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
                "return_to_go": torch.from_numpy(d.reward[::-1].cumsum()[::-1].astype(np.float32)),
                "step": torch.arange(length, dtype=torch.float32),
            }
        )


def without_tails(replay: Replay, rows: int, tail: int) -> Tensor:
    """The rows, among the first ``rows`` (complete episodes), whose return-to-go is used for learning.

    Excludes the last ``tail`` steps of truncated episodes: their later rewards are unknown, so their
    return-to-go is too small.

    Raises:
        UserError: if there are none.
    """
    over, cut = (replay.fields[name][:rows, 0] > 0 for name in ("terminated", "truncated"))
    every = torch.arange(rows)
    ends = (over | cut).nonzero()[:, 0]
    end = ends[torch.searchsorted(ends, every)]
    kept = every[over[end] | (end - every >= tail)]
    if not len(kept):
        raise UserError(f"imitation.truncation_tail:={tail} leaves no demonstrated step: lower it")
    return kept


def draw_demonstrated(
    replay: Replay, rows: Tensor, batch: int, length: int, generator: Generator
) -> Segments:
    """Segments of demonstrations, up to ``length`` steps each, that end at steps drawn from ``rows``."""
    last = rows[torch.randint(len(rows), (batch,), generator=generator)]
    before = replay.fields["step"][last, 0].long().clamp_max(length - 1)
    return _segments(replay, last - before, before + 1, length)


def newest_of_all(replay: Replay, counts: Sequence[int], length: int) -> Segments:
    """As `newest`, of every lane that has new steps; ``counts`` are their numbers."""
    counts = [min(count, replay.holds(lane)) for lane, count in enumerate(counts)]
    found = [newest(replay, count, length, lane) for lane, count in enumerate(counts) if count]
    trajectory = Trajectory(*map(torch.cat, zip(*(segments.trajectory for segments in found))))
    return Segments(trajectory, *map(torch.cat, zip(*(segments[1:] for segments in found))))


def newest(replay: Replay, count: int, length: int, lane: int = 0) -> Segments:
    """The last ``count`` steps as segments. A new one starts with an episode, or at ``length`` steps.

    A segment that starts within an episode begins with up to ``length // 2`` steps of context, which are not
    used in the loss, because the policy had a context when it acted. Trajectories have one additional step,
    whose value is needed.
    """
    rows, remembered = replay.newest(count, lane)
    steps = replay.fields["step"][replay.row(rows, lane), 0].long().tolist()
    first, context, run = [], [], 0
    for k, step in enumerate(steps):
        if k == 0 or step == 0 or run == length:
            first.append(k)
            context.append(min(length // 2, step, remembered + k))
            run = context[-1]
        run += 1
    at, lead = torch.tensor(first), torch.tensor(context)
    lengths = torch.diff(at, append=torch.tensor([count])) + lead
    return _segments(replay, rows[at] - lead, lengths, length, lead, lane)


def _segments(
    replay: Replay, start: Tensor, lengths: Tensor, length: int, lead: Tensor | None = None, lane: int = 0
) -> Segments:
    """Segments from steps ``start [B]`` of a lane on, of ``lengths [B]`` steps, padded to ``length``.

    ``lead [B]``: number of first steps that are only context; if given, trajectories have one more step.
    """
    along = torch.arange(length)
    valid = along < lengths[:, None]
    steps = torch.where(valid, start[:, None] + along, (start + lengths - 1)[:, None])
    f = replay.at(replay.row(steps, lane))
    reward, return_to_go, step = f["reward"][..., 0], f["return_to_go"][..., 0], f["step"][..., 0].long()
    observation, code = f["observation"], f["action"]
    learned = linked = valid
    if lead is not None:
        learned = valid & (along >= lead[:, None])
        linked = (f["terminated"] + f["truncated"])[..., 0] == 0
        # last steps of segments whose episode continues in the next segment; false for the last segment
        goes_on = step.gather(1, lead[:, None])[1:, 0] > 0
        linked[torch.arange(len(lengths)), lengths - 1] &= nn.functional.pad(goes_on, (0, 1))
        # observations before each step, and one after the last step
        last = (lengths - 1)[:, None]
        here = torch.arange(length + 1) > last
        later = f["next_observation"].take_along_dim(last[..., None], 1)
        left = (return_to_go - reward).gather(1, last)
        observation = torch.where(here[..., None], later, _one_more(observation))
        return_to_go = torch.where(here, left, _one_more(return_to_go))
        step = torch.where(here, step.gather(1, last) + 1, _one_more(step))
        code = _one_more(code)
    masks = (mask.float() for mask in (valid, learned, linked))
    trajectory = Trajectory(return_to_go, observation, code, step)
    return Segments(trajectory, reward, f["terminated"][..., 0], *masks)


def _one_more(field: Tensor) -> Tensor:
    return torch.cat([field, field[:, -1:]], 1)
