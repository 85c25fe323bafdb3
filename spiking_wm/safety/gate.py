"""The safety gate: forwards commands while all checks pass, else commands a safe action.

It has no clock: callers pass the time, in seconds of a monotonic clock.
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
    """Limits of the gate, and its safe action."""

    max_age: float = option(0.04, "maximum age of a command, in seconds", 1e-3)
    settle: float = option(0.1, "seconds of uninterrupted commands before the gate forwards them", 0, 60)
    max_rate: float = option(
        0.0, "largest change of an action value per second, in ranges (high - low); 0: no limit", 0
    )
    tolerance: float = option(
        1e-6, "excess over a limit that is accepted as rounding, in ranges (high - low)", 0, 0.1
    )
    safe: str = option(
        ZERO,
        "safe action: zero, the last accepted command (hold), or a rest pose",
        choices=(ZERO, HOLD, POSE),
    )


class Output(NamedTuple):
    """The action to command now, and the reason if it is the safe action (empty if it is not)."""

    action: np.ndarray
    reason: str


class Gate:
    """Checks every command. If one fails a check or none arrives in time, the gate trips until `resume`.

    Args:
        options: limits.
        space: limits and shape of an action.
        pose: rest pose; needed if ``safe`` is ``pose``.

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
        self._good = self._rest  # the last accepted command
        self._emergency = False
        self._resting = ""  # reason for a rest; empty if there is none
        self.tripped = False
        self._wait()

    def _wait(self) -> None:
        """Start over: forward commands after ``settle`` seconds of uninterrupted commands."""
        self._came_at: float | None = None  # time of the last command
        self._steady_since = 0.0
        self._follows, self.reason = False, "waiting for commands that come steadily"

    def command(self, action: np.ndarray, now: float) -> None:
        """Check a command; one that fails trips the gate immediately.

        Args:
            action: the command.
            now: time from which its age is measured, for example the time of its observation.
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
        if now - self._steady_since < self.options.settle and not self._follows:
            return
        self._follows, self.reason = True, ""
        self._good = np.clip(action, self.space.low, self.space.high).astype(self.space.dtype)

    def _fault(self, action: np.ndarray, before: np.ndarray, seconds: float | None) -> str:
        """Fault of a command, given the previous one and the seconds in between; empty if there is none."""
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
        """Trip until the stop is released (`emergency_over`) and `resume` is called after that."""
        self._emergency = True
        self._trip("emergency stop")

    def emergency_over(self) -> None:
        """Report that the emergency stop is released; the gate stays tripped until `resume`."""
        self._emergency = False

    def fault(self, reason: str) -> None:
        """Trip for a reason that the caller has found; it replaces an earlier one, but no emergency stop."""
        if not self._resting and not self._emergency:
            self.tripped = False
            self._trip(reason)

    def resume(self) -> str:
        """Forward commands again after ``settle`` seconds. Returns the reason if refused, else ``""``."""
        if self._emergency:
            return "the emergency stop is still pressed"
        self.tripped = False
        self._good = self._rest if self.options.safe != HOLD else self._good
        self._wait()
        return ""

    def rest(self, why: str) -> None:
        """Command the safe action until `end_rest`, without tripping; ``why`` is the reported reason."""
        self._resting = why

    def end_rest(self) -> None:
        """End a rest: forward commands again after ``settle`` seconds, unless the gate is tripped."""
        if self._resting:
            self._resting = ""
            if not self.tripped:
                self.resume()

    def output(self, now: float) -> Output:
        """The action to command now. Call it every control period: it also detects missing commands."""
        if self._resting and not self.tripped:
            return Output(self._safe(), self._resting)
        age = 0.0 if self._came_at is None else now - self._came_at
        if not self.tripped and self._follows and age > self.options.max_age:
            self._trip(f"no command for {age * 1e3:.0f} ms")
        if self.reason:
            return Output(self._safe(), self.reason)
        return Output(self._good, "")

    def _safe(self) -> np.ndarray:
        return self._good if self.options.safe == HOLD else self._rest

    def _trip(self, reason: str) -> None:
        if not self.tripped or self._emergency:
            self.tripped, self.reason = True, f"{reason}: resume when it is safe"
