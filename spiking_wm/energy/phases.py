"""Phases of a robot: a scheduler decides when it acts, rests and dreams.

It has no clock of its own: callers give the time, in seconds of a monotonic clock.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import NamedTuple

from spiking_wm.core.errors import UserError
from spiking_wm.core.options import option

_MEASUREMENTS = 5  # of the charge, of which the median counts


class Phase(StrEnum):
    """What a robot does; in all phases but `AWAKE` it rests in its safe pose."""

    AWAKE = "awake"
    IDLE = "idle"
    DREAMING = "dreaming"
    STOPPED = "stopped"


class Decision(NamedTuple):
    """A phase and why."""

    phase: Phase
    reason: str


@dataclass(frozen=True)
class PhaseOptions:
    """Thresholds and times of the scheduler."""

    sleep_below: float = option(0.25, "charge below which the robot falls asleep, 0 to 1", 0, 1)
    wake_above: float = option(0.9, "charge from which it wakes up again, 0 to 1", 0, 1)
    hold: float = option(60.0, "shortest time between two changes by battery or idleness, in seconds", 0)
    fresh_for: float = option(10.0, "seconds after which a measured charge is forgotten", 0)
    idle_after: float = option(0.0, "seconds without work before the robot falls asleep; 0: never", 0)

    def __post_init__(self) -> None:
        if self.sleep_below >= self.wake_above:
            raise UserError(
                f"sleep_below:={self.sleep_below} must be less than wake_above:={self.wake_above}"
            )


@dataclass(frozen=True)
class DreamBounds:
    """Bounds of a dream phase; it ends at the first one, or when the robot wakes."""

    rollouts: int = option(0, "imagined rollouts of a dream phase at most; 0: no bound", 0)
    updates: int = option(0, "policy updates of a dream phase at most; 0: no bound", 0)
    seconds: float = option(3600.0, "seconds of a dream phase at most; 0: no bound", 0)
    joules: float = option(0.0, "energy of computing in a dream phase at most; 0: no bound", 0)


class Scheduler:
    """Decides the phase from battery, idleness, requests and the emergency stop.

    Battery and idleness change the phase at most once every ``hold`` seconds; requests and the
    emergency stop do at once. `decision` is the present phase and its reason.

    Args:
        options: thresholds and times.
        now: the time.
    """

    def __init__(self, options: PhaseOptions, now: float):
        self.options = options
        self.can_dream = False
        self.decision = Decision(Phase.AWAKE, "started")
        self._charges: deque[float] = deque(maxlen=_MEASUREMENTS)
        self._measured_at = now
        self._low = False  # the robot sleeps until its battery is charged
        self._changed_at = now - options.hold  # by battery or idleness
        self._worked_at = now
        self._idle = False

    @property
    def phase(self) -> Phase:
        """The present phase."""
        return self.decision.phase

    # --- what happens ---

    def battery(self, percentage: float, now: float) -> None:
        """Take in a measured charge; values outside 0 to 1 and NaN are ignored."""
        if 0 <= percentage <= 1:
            if now - self._measured_at > self.options.fresh_for:
                self._charges.clear()
            self._charges.append(percentage)
            self._measured_at = now

    def worked(self, now: float) -> None:
        """There is work for the robot: it wakes if it sleeps because it was idle."""
        self._worked_at = now
        if self._idle:
            self._idle = False
            if not self._low and self.phase is not Phase.STOPPED:
                self.decision = Decision(Phase.AWAKE, "there is work")

    def stop(self) -> None:
        """Emergency stop: at once, from any phase, until `resume`."""
        self.decision = Decision(Phase.STOPPED, "emergency stop: call ~/resume when it is safe")

    def resume(self, now: float) -> str:
        """End an emergency stop; returns the reason for a refusal, else an empty text."""
        if self.phase is not Phase.STOPPED:
            return "nothing to resume: the robot is not stopped"
        self._worked_at = now
        self._act_or_rest("resumed after an emergency stop")
        return ""

    def sleep(self, now: float) -> str:
        """Dream on request; returns the reason for a refusal, else an empty text."""
        if self.phase is Phase.STOPPED:
            return "stopped: call ~/resume first"
        if self.phase is Phase.DREAMING:
            return "dreams already"
        if not self.can_dream:
            return (
                "nothing to dream of: no world model (algorithm:=…_dream has one), or too little experience"
            )
        self.decision = Decision(Phase.DREAMING, "asked to dream")
        return ""

    def wake(self, now: float) -> str:
        """Wake up on request; returns the reason for a refusal, else an empty text."""
        if self.phase is Phase.STOPPED:
            return "stopped: call ~/resume first"
        if self.phase is Phase.AWAKE:
            return "is awake already"
        charge = self._charge(now)
        if charge is not None and charge < self.options.sleep_below:
            return f"the battery is at {charge:.0%}: charge it above {self.options.sleep_below:.0%} first"
        self._low = self._idle = False
        self._worked_at = now
        self.decision = Decision(Phase.AWAKE, "asked to wake")
        return ""

    def dream_ended(self, why: str, now: float) -> None:
        """The dream phase has reached a bound, or failed."""
        if self.phase is Phase.DREAMING:
            self._act_or_rest(why)

    def _act_or_rest(self, why: str) -> None:
        """Act, unless the battery is low or the robot idle; then rest."""
        rests = self._low or self._idle
        self.decision = Decision(Phase.IDLE if rests else Phase.AWAKE, why)

    # --- what follows ---

    def tick(self, now: float) -> Decision:
        """Update the phase by battery and idleness; call it several times a second."""
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
        """Median of the last measured charges, so that one wild value does nothing; None if unknown."""
        known = len(self._charges) > _MEASUREMENTS / 2 and now - self._measured_at <= self.options.fresh_for
        return median(self._charges) if known else None
