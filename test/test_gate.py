"""The safety gate, with no ROS and no clock."""

import math

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from spiking_wm.core.errors import UserError
from spiking_wm.safety.gate import Gate, GateOptions

SPACE = Box(np.array([-1, -2], np.float32), np.array([1, 2], np.float32))
T = 0.02


def gate(**options) -> Gate:
    return Gate(GateOptions(**{"settle": 0.0} | options), SPACE)


def test_it_passes_good_commands_on():
    made = gate()
    assert made.output(0.0).action.tolist() == [0, 0] and "waiting" in made.output(0.0).reason
    for step in range(100):
        made.command(np.array([0.5, step / 50]), step * T)
        action, reason = made.output(step * T + 0.001)
        assert reason == "" and action.tolist() == pytest.approx([0.5, step / 50])


def test_it_follows_once_commands_come_steadily():
    made, moved = gate(settle=0.09), []
    times = [0.0, 0.02, 0.04, 0.2, *(0.22 + T * step for step in range(10))]  # a gap after the third
    for now in times:
        made.command(np.ones(2), now)
        moved.append(made.output(now).reason == "")
    assert not made.tripped  # a gap before it follows is no fault
    assert [now for now, follows in zip(times, moved) if follows][0] == pytest.approx(0.3)
    assert made.output(times[-1] + 0.05).reason.startswith("no command")
    made.resume()
    made.command(np.ones(2), 1.0)
    assert "steadily" in made.output(1.0).reason  # anew after a resume


def test_rest_is_no_fault_and_a_trip_outlasts_it():
    made = gate()
    made.command(np.ones(2), 0.0)
    made.rest("dreaming")
    assert made.output(5.0) == (pytest.approx([0, 0]), "dreaming") and not made.tripped
    made.command(np.ones(2), 5.0)  # nobody listens
    made.end_rest()
    assert "waiting" in made.output(5.0).reason
    made.emergency_stop()
    made.emergency_over()
    made.rest("dreaming")
    made.end_rest()
    assert "emergency stop" in made.output(5.1).reason


def test_silence_trips_it_within_three_periods_and_for_good():
    made = gate()
    made.command(np.ones(2), 0.0)
    outputs = [made.output(step * T) for step in range(4)]
    assert outputs[1].reason == "" and outputs[3].action.tolist() == [0, 0]
    assert "no command for" in outputs[3].reason
    made.command(np.ones(2), 4 * T)  # it is back, but was not asked for
    assert made.output(4 * T).action.tolist() == [0, 0]
    assert made.resume() == ""
    assert made.output(5 * T).action.tolist() == [0, 0]
    made.command(np.ones(2), 6 * T)
    assert made.output(6 * T).action.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ([0.0], "command of shape (1,), (2,) expected"),
        ([[0.0, 0.0]], "command of shape (1, 2)"),
        ([0.0, math.nan], "command value 1 is NaN"),
        ([math.inf, 0.0], "command value 0 is NaN or infinite"),
        ([0.0, 2.1], "command value 1 is 2.1, outside -2..2"),
        ([-1.5, 0.0], "command value 0 is -1.5, outside -1..1"),
    ],
)
def test_a_bad_command_trips_it_at_once(command, reason):
    made = gate()
    made.command(np.ones(2), 0.0)
    made.command(np.array(command), T)
    action, why = made.output(T)
    assert action.tolist() == [0, 0] and reason in why and why.endswith("resume when it is safe")


def test_rounding_is_no_fault():
    made = gate()
    made.command(np.array([1 + 1e-7, 0]), 0.0)
    action, reason = made.output(0.0)
    assert reason == "" and action[0] == 1


def test_too_fast_a_change_trips_it():
    made = gate(max_rate=5.0)  # a tenth of a range in 20 ms
    made.command(np.array([0.0, 0.0]), 0.0)
    made.command(np.array([0.2, 0.4]), T)
    assert made.output(T).reason == ""
    made.command(np.array([0.2, 0.9]), 2 * T)
    assert "changes by 6.25 ranges per second" in made.output(2 * T).reason


def test_hold_keeps_the_last_good_command_and_pose_takes_the_rest_pose():
    made = gate(safe="hold")
    made.command(np.array([0.3, 0.4]), 0.0)
    made.command(np.array([math.nan, 0]), T)
    assert made.output(T).action.tolist() == pytest.approx([0.3, 0.4])
    posed = Gate(GateOptions(safe="pose", settle=0.0), SPACE, pose=np.array([0.1, 0.2]))
    posed.command(np.array([0.3, 0.4]), 0.0)
    assert posed.output(1.0).action.tolist() == pytest.approx([0.1, 0.2])


def test_the_emergency_stop_stays_until_it_is_let_go_of_and_resumed():
    made = gate()
    made.command(np.ones(2), 0.0)
    made.emergency_stop()
    assert made.output(0.001).action.tolist() == [0, 0]
    assert made.resume() == "the emergency stop is still pressed"
    made.emergency_over()
    made.command(np.ones(2), T)
    assert "emergency stop" in made.output(T).reason
    assert made.resume() == ""
    made.command(np.ones(2), 2 * T)
    assert made.output(2 * T).reason == ""


def test_a_fault_that_the_node_finds_trips_it_and_replaces_an_earlier_reason():
    made = gate()
    made.command(np.ones(2), 0.0)
    assert made.output(0.1).reason.startswith("no command for 100 ms")
    made.fault("two policies")
    assert made.tripped and made.output(0.1) == (
        pytest.approx([0, 0]),
        "two policies: resume when it is safe",
    )
    made.emergency_stop()
    made.fault("two policies")
    assert "emergency stop" in made.output(0.1).reason
    resting = gate()
    resting.rest("dreaming")
    resting.fault("two policies")
    assert not resting.tripped


@pytest.mark.parametrize(
    ("options", "space", "pose", "message"),
    [
        ({}, Discrete(3), None, "needs limits"),
        ({}, Box(-np.inf, np.inf, (2,)), None, "needs limits"),
        ({}, Box(1, 2, (2,)), None, "outside the limits"),
        ({"safe": "pose"}, SPACE, None, "needs a pose of shape (2,)"),
        ({"safe": "pose"}, SPACE, np.array([5, 0]), "outside the limits"),
    ],
)
def test_a_gate_that_could_not_be_safe_is_refused(options, space, pose, message):
    with pytest.raises(UserError) as refused:
        Gate(GateOptions(**options), space, pose)
    assert message in str(refused.value)


numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)
commands = st.one_of(
    arrays.arrays(np.float32, 2, elements=numbers),
    arrays.arrays(np.float32, st.integers(0, 3), elements=numbers),
    arrays.arrays(np.float32, 2, elements=st.floats(-1, 1, width=32)),
)


@given(
    events=st.lists(st.tuples(st.sampled_from(["command", "silence", "stop", "over", "resume"]), commands)),
    safe=st.sampled_from(["zero", "hold"]),
)
def test_whatever_comes_the_output_is_within_limits(events, safe):
    made, now = gate(safe=safe), 0.0
    for kind, command in events:
        now += T
        if kind == "command":
            made.command(command, now)
        elif kind == "silence":
            now += 0.1
        elif kind == "stop":
            made.emergency_stop()
        elif kind == "over":
            made.emergency_over()
        else:
            made.resume()
        was_tripped = made.tripped
        action, reason = made.output(now)
        assert SPACE.contains(action)
        assert made.tripped >= was_tripped  # looking never resumes
        if kind == "command" and not reason:
            assert np.allclose(action, np.clip(command, SPACE.low, SPACE.high))
