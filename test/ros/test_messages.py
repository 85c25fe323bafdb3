"""Transitions as messages, and back; messages in their wire format, beside rclpy's conversion."""

import array
import struct
import time

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PolygonStamped, Pose
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Imu
from spiking_wm_msgs.msg import Action, Decision, Observation, Phase, PolicyVersion, Segment
from spiking_wm_msgs.msg import Transition as TransitionMessage
from std_msgs.msg import Float64MultiArray, Header

from spiking_wm.core.contract import Transition
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.bad_messages import BadMessage
from spiking_wm_ros.nodes.messages import ACTION, TRANSITION, from_transition, to_transition
from spiking_wm_ros.nodes.node import Node
from spiking_wm_ros.nodes.wire_format import WireFormat

KINDS = (Action, Decision, Header, Observation, Phase, PolicyVersion, Segment, TransitionMessage)


@given(st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.integers(-1, 2**31 - 1))
def test_a_transition_comes_back_as_it_was(pixels, terminated, truncated, evaluation, life_lost, seed):
    dtype = np.uint8 if pixels else np.float32
    one, two = (np.arange(k, k + 24).reshape(2, 3, 4).astype(dtype) for k in (0, 5))
    action = np.asarray(3) if pixels else np.array([0.5, -1], np.float32)
    seen = Transition(one, action, 0.25, two, terminated, truncated, 7, 2**40, 9, evaluation, seed, life_lost)
    sent = TRANSITION.pack(to_transition(seen, Header()))
    for message in (TRANSITION.unpack(sent), deserialize_message(sent, TransitionMessage)):
        again = from_transition(message, action.dtype)
        for before, after in zip(seen, again, strict=True):
            np.testing.assert_array_equal(before, after)
        assert again.observation.dtype == dtype and again.action.shape == action.shape
        again.observation[...] = 0  # whoever gets it may write into it


def filled(kind: type, draw):
    """A message of a class, with any values."""
    message = kind()
    for name, type_ in kind.get_fields_and_field_types().items():
        now = getattr(message, name)
        if isinstance(now, array.array):
            bound = min(2 ** (8 * now.itemsize), 2**20)
            setattr(
                message,
                name,
                array.array(now.typecode, draw(st.lists(st.integers(0, bound - 1), max_size=9))),
            )
        elif isinstance(now, bool):
            setattr(message, name, draw(st.booleans()))
        elif isinstance(now, int):
            bits, signed = int(type_.removeprefix("u").removeprefix("int")), not type_.startswith("u")
            setattr(message, name, draw(st.integers(0, 2**bits - 1)) - signed * 2 ** (bits - 1))
        elif isinstance(now, float):
            setattr(message, name, draw(st.floats(allow_nan=False)))
        elif isinstance(now, str):
            setattr(
                message,
                name,
                draw(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9)),
            )
        else:
            setattr(message, name, filled(type(now), draw))
    return message


def same(message, view) -> bool:
    """True if a view has the values of a message."""
    for name in message.get_fields_and_field_types():
        one, other = getattr(message, name), getattr(view, name)
        if isinstance(one, array.array):
            equal = one.tobytes() == other
        elif hasattr(one, "get_fields_and_field_types"):
            equal = same(one, other)
        else:
            equal = type(one) is type(other) and one == other
        if not equal:
            return False
    return True


@settings(max_examples=50)
@given(st.sampled_from(KINDS), st.data())
def test_packed_messages_are_those_of_rclpy(kind, data):
    wire, message = WireFormat(kind), filled(kind, data.draw)
    sent, view = wire.pack(message), wire.unpack(serialize_message(message))
    assert deserialize_message(sent, kind) == message
    assert len(sent) == len(serialize_message(message))
    assert same(message, view)
    assert wire.pack(view) == sent


@given(st.data())
def test_bytes_that_are_no_message_are_refused(data):
    action = filled(Action, data.draw)
    sent = ACTION.pack(action)
    for length in range(len(sent)):
        with pytest.raises(BadMessage):
            ACTION.unpack(sent[:length])
    with pytest.raises(BadMessage):
        ACTION.unpack(b"\0\1\0\0" + b"\xff" * len(sent))  # longer strings than bytes


def test_a_message_of_a_machine_with_another_byte_order_is_read():
    header = WireFormat(Header).unpack(b"\0\0\0\0" + struct.pack(">iII4s", -7, 8, 4, b"map\0"))
    assert (header.stamp.sec, header.stamp.nanosec, header.frame_id) == (-7, 8, "map")


@pytest.mark.parametrize("kind", [Float64MultiArray, Imu, PolygonStamped])
def test_fields_that_cannot_be_packed_are_refused(kind):
    WireFormat(Pose)
    with pytest.raises(TypeError, match="no fast conversion of "):
        WireFormat(kind)


def test_a_node_drops_bytes_that_are_no_message():
    rclpy.init()
    node = Node("hears")
    try:
        heard: list = []
        node.create_subscription(Action, "action", ACTION.unpacking(heard.append), qos.NEWEST, raw=True)
        publisher = node.create_publisher(Action, "action", qos.OFFERED_NEWEST)

        def publish(what, done) -> None:
            until = time.monotonic() + 10
            while not done() and time.monotonic() < until:
                publisher.publish(what)
                rclpy.spin_once(node, timeout_sec=0.1)
            assert done()

        publish(ACTION.pack(Action(step=4))[:-1], lambda: node.dropped.figures())
        assert not heard and not node.raised
        publish(Action(step=5), lambda: heard)
        assert heard[-1].step == 5
    finally:
        node.destroy_node()
        rclpy.shutdown()
