"""Phases of a robot: a scheduler decides when the robot acts, rests and dreams.

The scheduler has no clock: callers pass the time, in seconds of a monotonic clock.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import NamedTuple

from spiking_wm.core.errors import UserError
from spiking_wm.core.options import option

_MEASUREMENTS = 5  # of the charge; their median is used


class Phase(StrEnum):
    """Phase of a robot. In all phases except `AWAKE` it rests in its safe pose."""

    AWAKE = "awake"
    IDLE = "idle"
    DREAMING = "dreaming"
    STOPPED = "stopped"


class Decision(NamedTuple):
    """A phase and the reason for it."""

    phase: Phase
    reason: str


@dataclass(frozen=True)
class PhaseOptions:
    """Thresholds and times of the scheduler."""

    sleep_below: float = option(0.25, "battery charge below which the robot falls asleep, 0 to 1", 0, 1)
    wake_above: float = option(0.9, "battery charge at which the robot wakes up, 0 to 1", 0, 1)
    hold: float = option(60.0, "minimum time between changes by battery or idleness, in seconds", 0)
    fresh_for: float = option(10.0, "maximum age of a measured battery charge, in seconds", 0)
    idle_after: float = option(0.0, "seconds without work before the robot falls asleep; 0: never", 0)

    def __post_init__(self) -> None:
        if self.sleep_below >= self.wake_above:
            raise UserError(
                f"sleep_below:={self.sleep_below} must be less than wake_above:={self.wake_above}"
            )


@dataclass(frozen=True)
class DreamBounds:
    """Limits of a dream phase. It ends at the first one reached, or when the robot wakes."""

    rollouts: int = option(0, "largest number of imagined rollouts per dream phase; 0: no limit", 0)
    updates: int = option(0, "largest number of policy updates per dream phase; 0: no limit", 0)
    seconds: float = option(3600.0, "longest duration of a dream phase, in seconds; 0: no limit", 0)
    joules: float = option(0.0, "largest computing energy of a dream phase, in joules; 0: no limit", 0)


class Scheduler:
    """Decides the phase from battery, idleness, requests and the emergency stop.

    Battery and idleness change the phase at most once every ``hold`` seconds. Requests and the emergency
    stop change it immediately. `decision` is the current phase and its reason.

    Args:
        options: thresholds and times.
        now: current time.
    """

    def __init__(self, options: PhaseOptions, now: float):
        self.options = options
        self.can_dream = False
        self.decision = Decision(Phase.AWAKE, "started")
        self._charges: deque[float] = deque(maxlen=_MEASUREMENTS)
        self._measured_at = now
        self._low = False  # the robot sleeps until its battery is charged
        self._changed_at = now - options.hold  # time of the last change by battery or idleness
        self._worked_at = now
        self._idle = False
        self._pressed = False  # the button of the emergency stop

    @property
    def phase(self) -> Phase:
        """The current phase."""
        return self.decision.phase

    # --- events ---

    def battery(self, percentage: float, now: float) -> None:
        """Report a measured battery charge; values outside 0 to 1 and NaN are ignored."""
        if 0 <= percentage <= 1:
            if now - self._measured_at > self.options.fresh_for:
                self._charges.clear()
            self._charges.append(percentage)
            self._measured_at = now

    def worked(self, now: float) -> None:
        """Report that there is work. A robot that sleeps because it was idle wakes up."""
        self._worked_at = now
        if self._idle:
            self._idle = False
            if not self._low and self.phase is not Phase.STOPPED:
                self.decision = Decision(Phase.AWAKE, "there is work")

    def stop(self) -> None:
        """Emergency stop: change to `Phase.STOPPED` immediately, until `resume`."""
        self.decision = Decision(Phase.STOPPED, "emergency stop: call ~/resume when it is safe")

    def button(self, pressed: bool) -> None:
        """Report the button of the emergency stop: pressing it stops, to let go of it does not resume."""
        self._pressed = pressed
        if pressed:
            self.stop()

    def resume(self, now: float) -> str:
        """End an emergency stop. Returns the reason if that is refused, else ``""``."""
        if self.phase is not Phase.STOPPED:
            return "nothing to resume: the robot is not stopped"
        if self._pressed:
            return "the emergency stop is still pressed"
        self._worked_at = now
        self._act_or_rest("resumed after an emergency stop")
        return ""

    def sleep(self, now: float) -> str:
        """Dream on request. Returns the reason if that is refused, else ``""``."""
        if self.phase is Phase.STOPPED:
            return "stopped: call ~/resume first"
        if self.phase is Phase.DREAMING:
            return "dreams already"
        if not self.can_dream:
            return (
                "nothing to dream of: no world model (algorithm:=…_dream has one), or too little experience"
            )
        self.decision = Decision(Phase.DREAMING, "dream requested")
        return ""

    def wake(self, now: float) -> str:
        """Wake up on request. Returns the reason if that is refused, else ``""``."""
        if self.phase is Phase.STOPPED:
            return "stopped: call ~/resume first"
        if self.phase is Phase.AWAKE:
            return "is awake already"
        charge = self._charge(now)
        if charge is not None and charge < self.options.sleep_below:
            return f"the battery is at {charge:.0%}: charge it above {self.options.sleep_below:.0%} first"
        self._low = self._idle = False
        self._worked_at = now
        self.decision = Decision(Phase.AWAKE, "wake-up requested")
        return ""

    def dream_ended(self, why: str, now: float) -> None:
        """Report that the dream phase reached a limit or failed; ``why`` is the reason."""
        if self.phase is Phase.DREAMING:
            self._act_or_rest(why)

    def _act_or_rest(self, why: str) -> None:
        """Change to `IDLE` if the battery is low or the robot is idle, else to `AWAKE`."""
        rests = self._low or self._idle
        self.decision = Decision(Phase.IDLE if rests else Phase.AWAKE, why)

    # --- periodic update ---

    def tick(self, now: float) -> Decision:
        """Update the phase from battery and idleness. Call it several times per second."""
        if self.phase is Phase.STOPPED or now - self._changed_at < self.options.hold:
            return self.decision
        o, charge, was = self.options, self._charge(now), (self._low, self._idle)
        if charge is not None:
            if not self._low and charge < o.sleep_below:
                self._low = True
            elif self._low and charge >= o.wake_above:
                self._low = False
        if o.idle_after and now - self._worked_at >= o.idle_after:
            self._idle = True
        if (self._low, self._idle) == was:
            return self.decision
        self._changed_at = now
        if self._low or self._idle:
            reason = f"battery at {charge:.0%}" if self._low else f"idle for {o.idle_after:.0f} s"
            rest = Phase.DREAMING if self.can_dream else Phase.IDLE
            self.decision = Decision(rest, reason)
        else:
            self.decision = Decision(Phase.AWAKE, "battery charged")
        return self.decision

    def _charge(self, now: float) -> float | None:
        """Median of the last measured charges, which ignores single outliers; None if unknown."""
        known = len(self._charges) > _MEASUREMENTS / 2 and now - self._measured_at <= self.options.fresh_for
        return median(self._charges) if known else None
