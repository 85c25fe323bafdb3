"""Whatever goes wrong, or whoever says so, a deployed rover stops: over real processes.

Times are printed; asserted are medians, with room for a machine that does other things besides.
"""

import signal
import statistics

from diagnostic_msgs.msg import DiagnosticStatus
from spiking_wm_msgs.msg import Phase
from std_msgs.msg import Bool

from spiking_wm_ros.nodes import qos
from test.ros.deployed import T, deployed
from test.ros.graph import kill_child, send


def test_whatever_stops_the_policy_stops_the_rover(trained):
    with deployed(trained) as rover:
        rover.until_it_moves()
        spent = []
        for _ in range(5):
            send(rover.processes, "policy", signal.SIGSTOP)
            spent.append(rover.stops_within())
            send(rover.processes, "policy", signal.SIGCONT)
            assert rover.stays()  # the policy is back: that is no reason to move
            assert rover.ask("gate/resume").success
            rover.until_it_moves()
        send(rover.processes, "policy", signal.SIGKILL)
        killed = rover.stops_within()
        print("ms to the safe command, SIGSTOP and SIGKILL:", [round(s * 1e3) for s in (*spent, killed)])
        assert statistics.median([*spent, killed]) <= 3 * T
        assert rover.stays()
        rover.made.until(lambda: "no command for" in rover.status["gate"].message)
        assert rover.status["gate"].level == DiagnosticStatus.ERROR
        assert not rover.processes.ended()  # the gate goes on holding the rover


def test_a_rover_whose_chip_is_killed_drives_on(trained):
    with deployed(
        trained, policy_backend="loihi_sim", patience="5"
    ) as rover:  # a crowded machine may be slow
        rover.until_it_moves()
        rover.made.until(lambda: rover.figures("policy").get("runs_on") == "loihi_sim fixed_pt")
        kill_child(rover.processes, "policy", "loihi_sim.child")
        assert rover.drives()
        rover.made.until(lambda: "is gone" in rover.status["policy"].message)
        assert rover.figures("policy")["runs_on"] == "host"


def test_or_it_stops_where_that_is_asked_for(trained):
    with deployed(trained, policy_backend="loihi_sim", fallback="none", patience="5") as rover:
        rover.until_it_moves()
        kill_child(rover.processes, "policy", "loihi_sim.child")
        killed = rover.stops_within()
        print("ms to the safe command, chip killed:", round(killed * 1e3))
        assert rover.stays() and not rover.processes.ended()
        rover.made.until(lambda: rover.status["gate"].level == DiagnosticStatus.ERROR)


def test_the_emergency_stop_acts_within_a_period_and_holds(trained):
    with deployed(trained) as rover:
        rover.until_it_moves()
        rover.made.until(lambda: rover.button.get_subscription_count() >= 1)
        spent = []
        for _ in range(5):
            rover.button.publish(Bool(data=True))
            spent.append(rover.stops_within())
            refused = rover.ask("gate/resume")
            assert not refused.success and "still pressed" in refused.message
            rover.button.publish(Bool(data=False))
            assert rover.stays()  # letting go of the button is not a resume
            assert rover.ask("gate/resume").success
            rover.until_it_moves()
        print("safe command after an emergency stop:", [round(s * 1e3, 1) for s in spent], "ms")
        assert statistics.median(spent) <= T
        assert rover.ask("gate/stop").success
        assert rover.stays() and rover.ask("gate/resume").success
        rover.until_it_moves()


def test_without_its_gate_the_rover_stops_by_its_own_timeout(trained):
    with deployed(trained) as rover:
        rover.until_it_moves(faster_than=0.3)
        send(rover.processes, "gate", signal.SIGKILL)
        rover.made.until(lambda: rover.wheels() < 0.1, 5.0)
        rover.made.until(lambda: "gate" in rover.processes.ended())  # and the graph is to end


def test_a_sensor_that_falls_silent_stops_the_rover(trained):
    with deployed(trained) as rover:
        rover.until_it_moves()
        send(rover.processes, "rover_driver", signal.SIGSTOP)
        rover.stops_within()
        rover.made.until(lambda: "sent nothing for more than 0.1 s" in rover.status["robot"].message)
        assert rover.stays()
        send(rover.processes, "rover_driver", signal.SIGCONT)


def test_the_emergency_stop_holds_in_every_phase(trained):
    """Awake; dreaming; and idle, with an empty battery on a dead dock and the dream over."""
    energy = {"capacity_j": "150", "charging_w": "0", "hold": "1"}
    with deployed(trained, dream="true", updates="40", **energy) as rover:
        phases = rover.made.listen(Phase, "phase", qos.LATCHED)
        rover.made.until(lambda: rover.button.get_subscription_count() >= 2)  # gate and scheduler
        for phase in (Phase.AWAKE, Phase.DREAMING, Phase.IDLE):
            rover.made.until(lambda phase=phase: phases and phases[-1].phase == phase)
            if phase == Phase.AWAKE:
                rover.until_it_moves()
            rover.button.publish(Bool(data=True))
            rover.made.until(lambda: phases[-1].phase == Phase.STOPPED, 1.0)
            rover.stops_within()
            refused = rover.ask("scheduler/resume")
            assert not refused.success and "still pressed" in refused.message
            rover.button.publish(Bool(data=False))  # letting go of the button is not a resume
            assert rover.stays()
            for service in ("scheduler/sleep", "scheduler/wake"):
                assert not rover.ask(service).success
            assert rover.ask("scheduler/resume").success
            assert rover.stays()  # the gate holds until it is resumed as well
            assert rover.ask("gate/resume").success
