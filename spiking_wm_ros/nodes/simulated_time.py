"""Check that simulated time runs as real time does, which a robot's control period counts on."""

from collections import deque

_WINDOW = 1.0  # seconds of real time over which speed is measured
_STILL = 0.5  # seconds without a new time after which it stands still
_AHEAD = 0.5  # seconds that it may gain at once before it counts as a jump
_SLOWEST, _FASTEST = 0.8, 1.25  # seconds of simulated time in a second


class SimulatedTime:
    """Compares simulated time with the steady clock. It has no clock: callers pass both times, in seconds."""

    def __init__(self) -> None:
        self._restart("no simulated time: nothing is heard of /clock")
        self._time = self._changed_at = 0.0  # newest simulated time, and when it came

    def _restart(self, why: str) -> None:
        """Measure anew; ``why`` is the fault until there is enough to measure."""
        self._why = why
        self._heard: deque[tuple[float, float]] = deque()  # when times came, and these

    def fault(self, now: float, time: float) -> str:
        """The reason why simulated time cannot be counted on; empty if there is none.

        It is a fault until a second of good time has been heard, at the start and after each fault but speed.

        Args:
            now: steady time.
            time: simulated time; 0 before the first one was heard.
        """
        if time != self._time:
            self._take(now, time)
        elif self._heard and now - self._changed_at > _STILL:
            self._restart("simulated time stands still: it is paused, or /clock is not published any more")
        if not self._heard or self._changed_at - self._heard[0][0] < _WINDOW:
            return self._why
        came_at, first = self._heard[0]
        speed = (self._time - first) / (self._changed_at - came_at)
        if _SLOWEST <= speed <= _FASTEST:
            return ""
        return (
            f"simulated time runs at {speed:.2f} of real time, and the control period does not:"
            f" {_SLOWEST:g} to {_FASTEST:g} is needed"
        )

    def _take(self, now: float, time: float) -> None:
        gain = time - self._time
        if self._heard and gain < 0:
            self._restart(f"simulated time jumped {-gain:.3g} s back: it was reset, or two publish /clock")
        elif self._heard and gain - (now - self._changed_at) > _AHEAD:
            self._restart(f"simulated time jumped {gain:.3g} s ahead")
        self._time, self._changed_at = time, now
        self._heard.append((now, time))
        while len(self._heard) > 1 and now - self._heard[1][0] >= _WINDOW:
            self._heard.popleft()
