"""The safety gate: passes commands on while everything is right, else commands a safe action.

It has no clock of its own: every call says what time it is, in seconds of a steady clock.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from gymnasium.spaces import Box

from spiking_wm.core.errors import UserError
from spiking_wm.core.options import option

ZERO, HOLD, POSE = "zero", "hold", "pose"


@dataclass(frozen=True)
class GateOptions:
    """What the gate lets through."""

    max_age: float = option(0.04, "age of a command, in seconds, from which it is no longer followed", 1e-3)
    settle: float = option(0.1, "seconds of commands without a gap before the first is followed", 0, 60)
    max_rate: float = option(0.0, "largest change of an action value per second, in its ranges; 0: any", 0)
    tolerance: float = option(1e-6, "excess over a limit that is rounding, in ranges", 0, 0.1)
    safe: str = option(
        ZERO, "safe action: zero, hold what was good last, or a rest pose", choices=(ZERO, HOLD, POSE)
    )


class Output(NamedTuple):
    """What to command now, and why it is not what was asked for (empty if it is)."""

    action: np.ndarray
    reason: str


class Gate:
    """Checks every command; after the first one that fails, or none in time, only `resume` goes on.

    Args:
        options: what is let through.
        space: limits and shape of an action.
        pose: the rest pose, where ``safe`` is ``pose``.

    Raises:
        UserError: if the action space has no limits, or the safe action lies outside them.
    """

    def __init__(self, options: GateOptions, space: Box, pose: np.ndarray | None = None):
        if not isinstance(space, Box) or not space.is_bounded():
            raise UserError("the gate needs limits: give low and high of every action value")
        self.options, self.space = options, space
        self._range = space.high - space.low
        self._rest = np.zeros(space.shape, space.dtype)
        if options.safe == POSE:
            if pose is None or np.shape(pose) != space.shape:
                raise UserError(f"safe:=pose needs a pose of shape {space.shape}")
            self._rest = np.asarray(pose, space.dtype)
        if not space.contains(self._rest):
            raise UserError(f"the safe action {self._rest} is outside the limits: choose safe:=pose or hold")
        self._good = self._rest  # what was commanded last, by a policy in order
        self._emergency = False
        self._resting = ""  # why, if it rests
        self.tripped = False
        self._wait()

    def _wait(self) -> None:
        """Begin anew: commands are followed once they come steadily."""
        self._came_at: float | None = None  # the last command
        self._steady_since = 0.0
        self._follows, self.reason = False, "waiting for commands that come steadily"

    def command(self, action: np.ndarray, now: float) -> None:
        """A command has come; a bad one trips the gate at once.

        ``now`` may be earlier, when what it answers was sensed: its age counts from there.
        """
        if self.tripped or self._resting:
            return
        gap = None if self._came_at is None else now - self._came_at
        if fault := self._fault(np.asarray(action), self._good, gap if self._follows else None):
            self._trip(fault)
            return
        if not self._follows and (gap is None or gap > self.options.max_age):
            self._steady_since = now
        self._came_at = now
        if now - self._steady_since < self.options.resolve and not self._follows:
            return
        self._follows, self.reason = True, ""
        self._good = np.clip(action, self.space.low, self.space.high).astype(self.space.dtype)

    def _fault(self, action: np.ndarray, before: np.ndarray, seconds: float | None) -> str:
        """What is wrong with a command that comes some time after another; empty if nothing."""
        o, space = self.options, self.space
        if action.shape != space.shape:
            return f"command of shape {action.shape}, {space.shape} expected"
        if not np.isfinite(action).all():
            return f"command value {np.flatnonzero(~np.isfinite(action))[0]} is NaN or infinite"
        excess = np.maximum(space.low - action, action - space.high) / self._range
        if excess.max() > o.tolerance:
            worst = int(excess.argmax())
            return (
                f"command value {worst} is {action.flat[worst]:.4g}, outside"
                f" {space.low.flat[worst]:.4g}..{space.high.flat[worst]:.4g}"
            )
        if o.max_rate and seconds is not None:
            rate = np.abs(action - before) / self._range / max(seconds, 1e-9)
            if rate.max() > o.max_rate * (1 + 1e-3):
                return f"command value {int(rate.argmax())} changes by {rate.max():.3g} ranges per second"
        return ""

    def emergency_stop(self) -> None:
        """Safe from now on, until the stop is let go of and the gate is resumed."""
        self._emergency = True
        self._trip("emergency stop")

    def emergency_over(self) -> None:
        """The emergency stop is let go of; nothing moves before `resume`."""
        self._emergency = False

    def resume(self) -> str:
        """Follow commands again, once they come steadily; returns why not, if not."""
        if self._emergency:
            return "the emergency stop is still pressed"
        self.tripped = False
        self._good = self._rest if self.options.safe != HOLD else self._good
        self._wait()
        return ""

    def rest(self, why: str) -> None:
        """Command the safe action, without tripping, until `wake`."""
        self._resting = why

    def wake(self) -> None:
        """Follow commands again, once they come steadily, unless the gate is tripped."""
        if self._resting:
            self._resting = ""
            if not self.tripped:
                self.resume()

    def output(self, now: float) -> Output:
        """What to command now; call it once every control period."""
        if self._resting and not self.tripped:
            return Output(self._safe(), self._resting)
        if not self.tripped and self._follows and now - self._came_at > self.options.max_age:
            self._trip(f"no command for {(now - self._came_at) * 1e3:.0f} ms")
        if self.reason:
            return Output(self._safe(), self.reason)
        return Output(self._good, "")

    def _safe(self) -> np.ndarray:
        return self._good if self.options.safe == HOLD else self._rest

    def _trip(self, reason: str) -> None:
        if not self.tripped or self._emergency:
            self.tripped, self.reason = True, f"{reason}: resume when it is safe"
