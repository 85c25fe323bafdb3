"""Build a policy's observation from a robot's messages. Reads messages by attribute; imports no ROS."""

import math
from operator import attrgetter
from typing import Any

import numpy as np

from spiking_wm.robots.description import Reading, Robot

_CHARGING = 1  # sensor_msgs/BatteryState.POWER_SUPPLY_STATUS_CHARGING
_CHANNELS = {"mono8": 1, "rgb8": 3}


class ReadingError(ValueError):
    """A reading cannot be used; the message names it and the reason."""


def values_of(reading: Reading, message: Any) -> np.ndarray:
    """The values of a reading: float32, or an image ``[height, width, channels]`` in uint8.

    Raises:
        ReadingError: for a missing joint or field, a wrong size, or NaN.
    """
    if reading.type == "sensor_msgs/Image":
        return _image(reading, message)
    found = np.asarray(_picked(reading, message), np.float64)
    if np.isnan(found).any():
        raise ReadingError(
            f"{reading.topic}: value {int(np.isnan(found).argmax())} of {reading.field} is NaN"
        )
    found = np.clip(reading.offset + reading.scale * found, reading.low, reading.high)
    if not np.isfinite(found).all():
        raise ReadingError(
            f"{reading.topic}: {reading.field} is infinite: give 'high' (and 'low') in its reading"
        )
    return found.astype(np.float32)


def _picked(reading: Reading, message: Any) -> list[float]:
    if reading.field == "polar":
        x, y = message.point.x, message.point.y
        bearing = math.atan2(y, x)
        return [math.hypot(x, y), math.sin(bearing), math.cos(bearing)]
    if reading.field == "charging":
        return [float(message.power_supply_status == _CHARGING)]
    found = attrgetter(reading.field)(message)
    if reading.joints:
        return [_joint(reading, joint, message.name, found) for joint in reading.joints]
    if not reading.index:
        return [found]
    if max(reading.index) >= len(found):
        raise ReadingError(
            f"{reading.topic}: {reading.field} has {len(found)} values, index {max(reading.index)} is needed"
        )
    return [found[i] for i in reading.index]


def _joint(reading: Reading, joint: str, names: list[str], found: list[float]) -> float:
    if joint not in names:
        raise ReadingError(
            f"{reading.topic}: joint '{joint}' is missing; it has {', '.join(names) or 'none'}"
        )
    if len(found) != len(names):
        raise ReadingError(f"{reading.topic}: {len(names)} joints but {len(found)} values of {reading.field}")
    return found[names.index(joint)]


def _image(reading: Reading, message: Any) -> np.ndarray:
    if message.encoding not in _CHANNELS:
        raise ReadingError(
            f"{reading.topic}: encoding {message.encoding!r}, expected {' or '.join(_CHANNELS)}"
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    channels = _CHANNELS[message.encoding]
    return rows[:, : message.width * channels].reshape(message.height, message.width, channels)


class Senses:
    """Stores the newest values of every reading, and concatenates them to the observation.

    Args:
        robot: the robot with the readings.
    """

    def __init__(self, robot: Robot):
        self._readings = robot.observation
        self._values: list[np.ndarray | None] = [None] * len(self._readings)
        self._came_at = [math.nan] * len(self._readings)
        self._faults: list[str | None] = [None] * len(self._readings)  # None: no message yet

    def take(self, index: int, message: Any, now: float, wall_time: float) -> None:
        """Process a message of a reading.

        Args:
            index: number of the reading.
            message: the message.
            now: monotonic time in seconds.
            wall_time: time in seconds, of the clock used for message stamps.
        """
        reading = self._readings[index]
        try:
            self._check_stamp(reading, message, wall_time)
            self._values[index] = values_of(reading, message)
        except ReadingError as error:
            self._faults[index] = str(error)
            return
        except (TypeError, ValueError) as error:  # values that are not numbers, or too few of them
            self._faults[index] = f"{reading.topic}: {reading.field} cannot be read ({error})"
            return
        self._came_at[index], self._faults[index] = now, ""

    def _check_stamp(self, reading: Reading, message: Any, wall_time: float) -> None:
        stamp = getattr(getattr(message, "header", None), "stamp", None)
        if stamp is None or (stamp.sec, stamp.nanosec) == (0, 0):
            return
        age = wall_time - (stamp.sec + stamp.nanosec * 1e-9)
        if abs(age) > reading.fresh_for:
            when = "old" if age > 0 else "in the future"
            raise ReadingError(
                f"{reading.topic}: its stamp is {abs(age):.3g} s {when}: synchronise the clocks"
            )

    def unheard(self) -> list[Reading]:
        """Readings from which no message has come yet."""
        return [reading for reading, fault in zip(self._readings, self._faults) if fault is None]

    def fault(self, now: float) -> str:
        """The reason why there is no valid observation; empty if there is one.

        Args:
            now: monotonic time in seconds.
        """
        if unheard := sorted({f"{r.topic} ({r.type})" for r in self.unheard()}):
            return f"no message yet from {', '.join(unheard)}"
        for reading, fault, came_at in zip(self._readings, self._faults, self._came_at):
            if fault:
                return fault
            if now - came_at > reading.fresh_for:
                return f"{reading.topic} has sent nothing for more than {reading.fresh_for:g} s"
        return ""

    def observation(self) -> np.ndarray:
        """All values in the order of the readings, or the image.

        Raises:
            ReadingError: if a reading has no message yet; call it only while `fault` is empty.
        """
        values = [value for value in self._values if value is not None]
        if len(values) < len(self._values):
            raise ReadingError("a reading has no message yet")
        return values[0] if values[0].ndim == 3 else np.concatenate(values)
