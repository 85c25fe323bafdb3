"""Conversions between ROS messages and the types of agents and environments."""

import array
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import BatteryState
from spiking_wm_msgs import msg
from std_msgs.msg import Header

from spiking_wm.core.contract import Transition
from spiking_wm.core.spaces import Spaces
from spiking_wm_ros.nodes.bad_messages import BadMessage
from spiking_wm_ros.nodes.wire_format import WireFormat

_SKIPPED = 10  # policy versions that a subscriber may not have got, as only the newest one is latched
PHASES = {
    msg.Phase.AWAKE: "awake",
    msg.Phase.IDLE: "idle",
    msg.Phase.DREAMING: "dreaming",
    msg.Phase.STOPPED: "stopped",
}
OBSERVATION, ACTION, TRANSITION = map(WireFormat, (msg.Observation, msg.Action, msg.Transition))


class Packed(NamedTuple):
    """What `msg.Array` holds, as bytes: for messages in their `WireFormat`."""

    shape: bytes
    values: bytes = b""
    pixels: bytes = b""


class Stamp(NamedTuple):
    """What `Time` holds."""

    sec: int
    nanosec: int


class Stamped(NamedTuple):
    """What `Header` holds."""

    stamp: Stamp
    frame_id: str = ""


def phase_name(message: msg.Phase) -> str:
    """The name of a phase, as "awake".

    Raises:
        BadMessage: if it is unknown.
    """
    if message.phase not in PHASES:
        raise BadMessage(f"unknown phase {message.phase}")
    return PHASES[message.phase]


def pack(values: np.ndarray) -> Packed:
    """A vector, an image, or a discrete action."""
    values = np.asarray(values)
    shape = struct.pack(f"{values.ndim}I", *values.shape)
    if values.dtype == np.uint8:
        return Packed(shape, pixels=values.tobytes())
    return Packed(shape, np.asarray(values, np.float32).tobytes())


def to_array(values: np.ndarray) -> msg.Array:
    """A vector, an image, or a discrete action, as a message."""
    shape, floats, pixels = pack(values)
    return msg.Array(
        shape=array.array("I", shape), values=array.array("f", floats), pixels=array.array("B", pixels)
    )


def from_array(
    message: msg.Array | Packed, dtype: np.dtype = np.float32, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """Convert a message of `pack` or `to_array` back.

    Args:
        message: the message.
        dtype: type of the returned array.
        shape: shape that is expected, if it is known.

    Raises:
        BadMessage: if the shape and the number of values disagree, or another shape is expected.
    """
    if message.pixels:
        data = np.frombuffer(message.pixels, np.uint8)
    else:
        data = np.frombuffer(message.values, np.float32)
    given = tuple(memoryview(message.shape).cast("B").cast("I"))
    if shape is not None and given != shape:
        raise BadMessage(f"an array of shape {given}, {shape} expected")
    if math.prod(given) != data.size:
        raise BadMessage(f"an array of shape {given} with {data.size} values")
    try:
        return data.reshape(given).astype(dtype)  # a copy, as the message's data cannot be changed
    except ValueError as error:  # too many dimensions, or too large ones beside one of 0
        raise BadMessage(f"an array of shape {given}: {error}") from None


def to_decision(
    action: np.ndarray, trains: Sequence[np.ndarray], policy_version: int, header: Stamped
) -> msg.Decision:
    """An action, and spike trains ``[T, N]`` of layers, as a message."""
    return msg.Decision(
        header=to_header(header),
        policy_version=policy_version,
        action=to_array(action),
        ticks=array.array("I", [len(train) for train in trains]),
        neurons=array.array("I", [train.shape[1] for train in trains]),
        spikes=array.array("B", b"".join(train.tobytes() for train in trains)),
    )


def spike_trains(message: msg.Decision) -> list[np.ndarray]:
    """Spike trains ``[T, N]`` of every layer, from a message of `to_decision`.

    Raises:
        BadMessage: if there are more or fewer spikes than its layers have.
    """
    spikes, trains = np.array(message.spikes, np.uint8), []
    sizes = [ticks * neurons for ticks, neurons in zip(message.ticks, message.neurons)]
    if len(message.ticks) != len(message.neurons) or sum(sizes) != spikes.size:
        raise BadMessage(f"{spikes.size} spikes of layers with {sizes}")
    for ticks, neurons in zip(message.ticks, message.neurons):
        trains.append(spikes[: ticks * neurons].reshape(ticks, neurons))
        spikes = spikes[ticks * neurons :]
    return trains


def to_segment(segment: Mapping[str, np.ndarray], header: Header) -> msg.Segment:
    """The arrays of `Agent.dream_against_reality` as a message."""
    return msg.Segment(header=header, **{name: to_array(values) for name, values in segment.items()})


def stamped(seconds: float) -> Stamped:
    """A header with a time in seconds, for views."""
    return Stamped(Stamp(*divmod(round(seconds * 1e9), 10**9)))


def to_header(header: Stamped) -> Header:
    """A header of a view as a message."""
    return Header(stamp=Time(sec=header.stamp.sec, nanosec=header.stamp.nanosec), frame_id=header.frame_id)


def to_battery_state(percentage: float, charging: bool, seconds: float) -> BatteryState:
    """A battery's charge, 0 to 1, as a message; unknown fields are NaN."""
    nan = float("nan")
    return BatteryState(
        header=to_header(stamped(seconds)),
        voltage=nan,
        temperature=nan,
        current=nan,
        charge=nan,
        capacity=nan,
        design_capacity=nan,
        percentage=percentage,
        power_supply_status=BatteryState.POWER_SUPPLY_STATUS_CHARGING
        if charging
        else BatteryState.POWER_SUPPLY_STATUS_DISCHARGING,
        present=True,
    )


def to_transition(transition: Transition, header: Stamped) -> Any:
    """A transition as a view of `TRANSITION`."""
    return TRANSITION.view(
        header=header,
        episode=transition.episode,
        step=transition.step,
        evaluation=transition.evaluation,
        policy_version=transition.policy_version,
        seed=transition.seed,
        observation=pack(transition.observation),
        action=pack(transition.action),
        reward=transition.reward,
        next_observation=pack(transition.next_observation),
        terminated=transition.terminated,
        truncated=transition.truncated,
        life_lost=transition.life_lost,
    )


def from_transition(message: Any, action_dtype: np.dtype) -> Transition:
    """Convert a message, or a view of `to_transition`, back.

    Raises:
        BadMessage: as `from_array`.
    """
    return Transition(
        from_array(message.observation, _dtype(message.observation)),
        from_array(message.action, action_dtype),
        message.reward,
        from_array(message.next_observation, _dtype(message.next_observation)),
        message.terminated,
        message.truncated,
        message.episode,
        message.step,
        message.policy_version,
        message.evaluation,
        message.seed,
        message.life_lost,
    )


def check_transition(transition: Transition, spaces: Spaces) -> None:
    """Check that a transition can be learned from.

    Raises:
        BadMessage: if its arrays do not fit the spaces, or a value or the reward is not finite.
    """
    for name, space in (("observation", spaces.observation), ("action", spaces.action)):
        if getattr(transition, name).shape != space.shape:
            raise BadMessage(f"{name} of shape {getattr(transition, name).shape}, {space.shape} expected")
    if transition.next_observation.shape != spaces.observation.shape:
        raise BadMessage(f"next observation of shape {transition.next_observation.shape}")
    for array_ in (transition.observation, transition.action, transition.next_observation):
        if not np.isfinite(array_).all():
            raise BadMessage("a value that is not finite")
    if not math.isfinite(transition.reward):
        raise BadMessage(f"a reward of {transition.reward}")


def parse_spaces(text: str) -> Spaces:
    """Convert the text of `Spaces.to_json` back.

    Raises:
        BadMessage: if it is no such text.
    """
    try:
        return Spaces.from_json(text)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadMessage(f"no description of spaces ({type(error).__name__}: {error})") from None


def check_version(message: msg.PolicyVersion) -> None:
    """Check a policy version as far as possible without reading its bundle.

    Raises:
        BadMessage: if it covers no steps, or its path is no regular file. The learner publishes a version of
            its own again if somebody has deleted the file.
    """
    if not message.version or message.first_step >= message.until_step:
        steps = f"steps {message.first_step} to {message.until_step}"
        raise BadMessage(f"policy version {message.version} for {steps}")
    path = Path(message.path)
    try:
        usable = path.is_file()
    except OSError:  # too long, for example
        usable = False
    if not usable:
        raise BadMessage(f"policy version {message.version} in {path}, which is no file of this machine")


def check_not_ahead(version: int, before: int) -> None:
    """Check that a policy version is not far ahead of the one before it (0: none).

    Raises:
        BadMessage: if it is.
    """
    if before and version > before + 1 + _SKIPPED:
        raise BadMessage(f"policy version {version} after version {before}")


def check_follows(message: msg.PolicyVersion, before: msg.PolicyVersion) -> None:
    """Check that a policy version follows another one (version 0: none), in training.

    Raises:
        BadMessage: if it does not.
    """
    check_not_ahead(message.version, before.version)
    if (message.version, message.first_step) < (before.version, before.first_step):
        raise BadMessage(f"policy version {message.version} after version {before.version}")


def _dtype(message: msg.Array) -> type:
    return np.uint8 if message.pixels else np.float32
