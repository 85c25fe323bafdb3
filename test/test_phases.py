"""The scheduler of phases and the battery, with no ROS and no clock."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiking_wm.core.errors import UserError
from spiking_wm.energy.battery import Battery, BatteryOptions
from spiking_wm.energy.phases import Phase, PhaseOptions, Scheduler


class Day:
    """A scheduler at one tick a second, and the phases it went through."""

    def __init__(self, can_dream: bool = True, **options):
        self.scheduler = Scheduler(PhaseOptions(**options), now=0.0)
        self.scheduler.can_dream = can_dream
        self.now = 0.0
        self.changes = [(0.0, *self.scheduler.decision)]

    def note(self) -> None:
        if self.scheduler.phase is not self.changes[-1][1]:
            self.changes.append((self.now, *self.scheduler.decision))

    def seconds(self, count: int, percentage: float | None = None) -> Phase:
        for _ in range(count):
            self.now += 1
            if percentage is not None:
                self.scheduler.battery(percentage, self.now)
            self.scheduler.tick(self.now)
            self.note()
        return self.scheduler.phase


def test_a_low_battery_makes_it_dream_and_a_charged_one_wakes_it():
    day = Day()
    assert day.seconds(10, 0.5) is Phase.AWAKE
    assert day.seconds(5, 0.24) is Phase.DREAMING
    assert day.changes[-1][2] == "battery at 24%"
    assert day.seconds(100, 0.89) is Phase.DREAMING  # between the thresholds
    assert day.seconds(5, 0.9) is Phase.AWAKE
    assert day.seconds(100, 0.3) is Phase.AWAKE


def test_without_anything_to_dream_of_it_rests():
    assert Day(can_dream=False).seconds(10, 0.1) is Phase.IDLE


def test_after_the_dream_it_rests_until_charged():
    day = Day()
    day.seconds(10, 0.1)
    day.scheduler.dream_ended("dreamt 512 rollouts", day.now)
    assert day.seconds(100, 0.5) is Phase.IDLE
    assert day.scheduler.decision.reason == "dreamt 512 rollouts"
    assert day.seconds(10, 0.95) is Phase.AWAKE


@pytest.mark.parametrize("nothing", [math.nan, math.inf, -0.1, 1.1])
def test_a_charge_that_says_nothing_changes_nothing(nothing):
    assert Day().seconds(500, nothing) is Phase.AWAKE


def test_single_wild_values_change_nothing():
    day = Day()
    for _ in range(50):
        day.seconds(3, 0.6)
        day.seconds(1, 0.0)
    assert len(day.changes) == 1


def test_an_old_charge_is_forgotten():
    day = Day()
    day.seconds(2, 0.1)
    day.now += 100
    assert day.seconds(2, 0.1) is Phase.AWAKE  # two measurements of the new time are too few
    assert day.seconds(1, 0.1) is Phase.DREAMING


@given(
    st.lists(
        st.tuples(
            st.one_of(
                st.floats(allow_nan=True, allow_infinity=True),
                st.floats(0, 1),
                st.sampled_from([0.0, 0.2499, 0.25, 0.9, 1.0, math.nan]),
            ),
            st.integers(1, 30),
        ),
        max_size=60,
    )
)
def test_whatever_the_battery_says_there_is_at_most_one_change_a_minute(charges):
    day = Day()
    for percentage, seconds in charges:
        day.seconds(seconds, percentage)
    times = [time for time, *_ in day.changes[1:]]
    assert all(later - earlier >= 60 for earlier, later in zip(times, times[1:]))


@pytest.mark.parametrize("before", list(Phase))
def test_the_emergency_stop_works_in_every_phase_and_stays(before):
    day = Day()
    if before is Phase.DREAMING:
        day.seconds(10, 0.1)
    elif before is Phase.IDLE:
        day.seconds(10, 0.1)
        day.scheduler.dream_ended("done", day.now)
    elif before is Phase.STOPPED:
        day.scheduler.stop()
    assert day.scheduler.phase is before
    day.scheduler.stop()
    assert day.seconds(200, 1.0) is Phase.STOPPED
    assert day.scheduler.sleep(day.now) and day.scheduler.wake(day.now)  # refused
    day.scheduler.worked(day.now)
    day.scheduler.dream_ended("done", day.now)
    assert day.seconds(1) is Phase.STOPPED
    assert day.scheduler.resume(day.now) == ""
    assert day.seconds(100, 1.0) is Phase.AWAKE
    assert "not stopped" in day.scheduler.resume(day.now)


def test_it_is_not_resumed_while_the_emergency_stop_is_pressed():
    day = Day()
    day.scheduler.button(True)
    assert day.scheduler.phase is Phase.STOPPED
    assert day.scheduler.resume(day.now) == "the emergency stop is still pressed"
    day.scheduler.button(False)
    assert day.scheduler.phase is Phase.STOPPED
    assert day.scheduler.resume(day.now) == "" and day.scheduler.phase is Phase.AWAKE
    day.scheduler.button(False)  # a button that nobody pressed
    assert day.scheduler.phase is Phase.AWAKE


def test_a_low_battery_is_still_low_after_a_stop():
    day = Day()
    day.seconds(10, 0.1)
    day.scheduler.stop()
    day.scheduler.resume(day.now)
    assert day.scheduler.phase is Phase.IDLE


def test_dreams_and_waking_on_request():
    day = Day()
    day.seconds(5, 0.5)
    assert day.scheduler.sleep(day.now) == "" and day.scheduler.phase is Phase.DREAMING
    assert "already" in day.scheduler.sleep(day.now)
    assert day.scheduler.wake(day.now) == "" and day.scheduler.phase is Phase.AWAKE
    assert "already" in day.scheduler.wake(day.now)
    day.scheduler.sleep(day.now)
    day.scheduler.dream_ended("done", day.now)
    assert day.scheduler.phase is Phase.AWAKE
    assert "nothing to dream of" in Day(can_dream=False).scheduler.sleep(0.0)


def test_it_does_not_wake_on_request_with_a_low_battery():
    day = Day()
    day.seconds(10, 0.1)
    assert "battery is at 10%" in day.scheduler.wake(day.now)
    assert day.seconds(10, 0.4) is Phase.DREAMING
    assert day.scheduler.wake(day.now) == "" and day.seconds(100, 0.4) is Phase.AWAKE


def test_it_falls_asleep_for_want_of_work_and_work_wakes_it():
    day = Day(idle_after=30)
    assert day.seconds(29) is Phase.AWAKE
    assert day.seconds(40) is Phase.DREAMING
    assert "idle for 30 s" in day.changes[-1][2]
    day.scheduler.worked(day.now)
    assert day.seconds(1) is Phase.AWAKE
    day.seconds(100, 0.1)
    day.scheduler.worked(day.now)
    assert day.seconds(1) is Phase.DREAMING  # low battery goes first


def test_thresholds_in_the_wrong_order_are_refused():
    with pytest.raises(UserError, match="must be less than wake_above"):
        PhaseOptions(sleep_below=0.9, wake_above=0.5)


def test_a_battery_follows_its_drain_model():
    battery = Battery(
        BatteryOptions(capacity_j=1000, idle_w=2, computing_w=3, efficiency=0.5, charging_w=60), 0.5
    )
    assert battery.pass_time(10, work_j=20) == pytest.approx(9)  # 2 + 3 + 2 * 20 / 10 W
    assert battery.energy_j == pytest.approx(500 - 90)
    battery.pass_time(10, computing=False)
    assert battery.energy_j == pytest.approx(390)
    battery.pass_time(1, computing=False, docked=True)
    assert battery.energy_j == pytest.approx(390 + 58)
    battery.pass_time(1000, docked=True)
    assert battery.percentage == 1
    battery.pass_time(10_000)
    assert battery.percentage == 0
    with pytest.raises(ValueError, match="between 0 and 1"):
        battery.percentage = 1.5
