"""Conversions between ROS messages and the types of agents and environments."""

import array
from collections.abc import Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import BatteryState
from spiking_wm_msgs import msg
from std_msgs.msg import Header

from spiking_wm.core.contract import Transition

PHASES = {
    msg.Phase.AWAKE: "awake",
    msg.Phase.IDLE: "idle",
    msg.Phase.DREAMING: "dreaming",
    msg.Phase.STOPPED: "stopped",
}


def to_array(values: np.ndarray) -> msg.Array:
    """A vector, an image, or a discrete action, as a message."""
    values = np.asarray(values)
    message = msg.Array(shape=array.array("I", values.shape))
    if values.dtype == np.uint8:
        message.pixels = array.array("B", values.tobytes())
    else:
        message.values = array.array("f", values.astype(np.float32).tobytes())
    return message


def from_array(message: msg.Array, dtype: np.dtype = np.float32) -> np.ndarray:
    """Convert a message of `to_array` back.

    Raises:
        ValueError: if the shape and the number of values disagree.
    """
    data = np.array(message.pixels, np.uint8) if message.pixels else np.array(message.values, np.float32)
    return data.reshape(tuple(message.shape)).astype(dtype, copy=False)


def to_decision(
    action: np.ndarray, trains: Sequence[np.ndarray], policy_version: int, header: Header
) -> msg.Decision:
    """An action, and spike trains ``[T, N]`` of layers, as a message."""
    return msg.Decision(
        header=header,
        policy_version=policy_version,
        action=to_array(action),
        ticks=array.array("I", [len(train) for train in trains]),
        neurons=array.array("I", [train.shape[1] for train in trains]),
        spikes=array.array("B", b"".join(train.tobytes() for train in trains)),
    )


def spike_trains(message: msg.Decision) -> list[np.ndarray]:
    """Spike trains ``[T, N]`` of every layer, from a message of `to_decision`."""
    spikes, trains = np.array(message.spikes, np.uint8), []
    for ticks, neurons in zip(message.ticks, message.neurons):
        trains.append(spikes[: ticks * neurons].reshape(ticks, neurons))
        spikes = spikes[ticks * neurons :]
    return trains


def to_segment(segment: Mapping[str, np.ndarray], header: Header) -> msg.Segment:
    """The arrays of `Agent.dream_against_reality` as a message."""
    return msg.Segment(header=header, **{name: to_array(values) for name, values in segment.items()})


def to_header(seconds: float) -> Header:
    """A header stamped with a time in seconds."""
    whole, nanoseconds = divmod(round(seconds * 1e9), 10**9)
    return Header(stamp=Time(sec=whole, nanosec=nanoseconds))


def to_battery_state(percentage: float, charging: bool, seconds: float) -> BatteryState:
    """A battery's charge, 0 to 1, as a message; unknown fields are NaN."""
    nan = float("nan")
    return BatteryState(
        header=to_header(seconds),
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


def to_transition(transition: Transition, header: Header) -> msg.Transition:
    """A transition as a message."""
    return msg.Transition(
        header=header,
        episode=transition.episode,
        step=transition.step,
        evaluation=transition.evaluation,
        policy_version=transition.policy_version,
        seed=transition.seed,
        observation=to_array(transition.observation),
        action=to_array(transition.action),
        reward=transition.reward,
        next_observation=to_array(transition.next_observation),
        terminated=transition.terminated,
        truncated=transition.truncated,
        life_lost=transition.life_lost,
    )


def from_transition(message: msg.Transition, action_dtype: np.dtype) -> Transition:
    """Convert a message of `to_transition` back."""
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


def _dtype(message: msg.Array) -> type:
    return np.uint8 if message.pixels else np.float32
