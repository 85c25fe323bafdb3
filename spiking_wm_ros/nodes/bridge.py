"""The bridge to a Gymnasium environment: publishes observations and transitions, applies actions, rests."""

import sys
import time
from collections import deque
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import BatteryState
from spiking_wm_msgs.msg import Action, Observation, Phase, PolicyVersion
from spiking_wm_msgs.msg import Transition as TransitionMessage
from spiking_wm_msgs.srv import Reset
from std_msgs.msg import Bool, String

from spiking_wm.core.contract import Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.options import group, option
from spiking_wm.core.schedule import EvaluationSchedule, env_arguments
from spiking_wm.energy.battery import BatteryOptions
from spiking_wm.envs.battery import BATTERIES, NONE
from spiking_wm.runs.resuming import resume_point
from spiking_wm.training.pending import Pending
from spiking_wm.training.session import Session
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.camera import CameraPublisher
from spiking_wm_ros.nodes.health import Health, spread
from spiking_wm_ros.nodes.main import run
from spiking_wm_ros.nodes.managed import ManagedNode
from spiking_wm_ros.nodes.messages import (
    ACTION,
    OBSERVATION,
    TRANSITION,
    check_follows,
    check_version,
    from_array,
    pack,
    phase_name,
    stamped,
    to_battery_state,
    to_header,
    to_transition,
)
from spiking_wm_ros.nodes.parameters import declare, refuse_unknown

_RESEND_AFTER = 1.0  # seconds without an answer
_REST_TICK = 0.2  # seconds

_Answer = tuple[np.ndarray, int]  # an action, and the policy version that chose it


@dataclass(frozen=True)
class BridgeOptions:
    """Parameters of the bridge."""

    env: str = option("InvertedPendulum-v5", "Gymnasium environment id, module:Id-v0 or module:function")
    env_kwargs: str = option("", "arguments of the environment's constructor, as {length: 2}")
    envs: int = option(1, "copies of the environment, which step at the same time", 1, 256)
    env_processes: bool = option(True, "each of several copies steps in a process of its own")
    seed: int = option(0, "seed of the run; every episode's seed follows from it", 0, 2**31 - 1)
    steps: int = option(0, "training steps; 0 for evaluation only", 0)
    evaluation: EvaluationSchedule = group(EvaluationSchedule(every=0))
    rate_hz: float = option(0.0, "steps per second of wall time; 0 for lock-step", 0, 10_000)
    resume: str = option("", "checkpoint whose episode is continued")
    battery: str = option(NONE, "battery: the environment's own, or a virtual one", choices=BATTERIES)
    clock: bool = option(True, "publish simulation time on clock")


class Bridge(ManagedNode):
    """Steps an environment in lock-step with the policy, or at a fixed rate.

    Of several copies of the environment, all step when all their observations are answered. Training never
    runs ahead of the learner: each round waits for the policy version that covers it. In all phases except
    AWAKE the robot rests: the rest action ends the episode, and then only time passes.
    """

    def __init__(self):
        super().__init__("bridge")
        self.options = declare(self, BridgeOptions)
        self._battery_options = declare(self, BatteryOptions)
        refuse_unknown(self, BridgeOptions)
        self._session: Session | None = None
        self._time = 0.0  # simulation time in seconds; never decreases
        self._returns: list[float] = []  # of evaluation episodes; the last one is running

    def configure(self) -> None:
        """Make the environment; after a cleanup, use the same one again."""
        if self._session is None:
            self._session = self._make_session()
            rounds = self._session.training_step // self.options.envs
            self._time = rounds * self._session.spaces.period
        o, envs = self.options, self.options.envs
        self._dt = self._session.spaces.period
        self._policy = PolicyVersion()
        self._started, self._sent_at = False, 0.0
        self._sent: list[Pending] = []  # observations that wait for actions
        self._answers: dict[tuple, _Answer] = {}  # those that have come, by `_key`
        self._periods: deque[float] = deque(maxlen=1000)  # between observations, in seconds
        self._applied, self._missed, self._waited_for = 0, 0, "policy and dreamer"
        self._phase, self._begins_rest, self._resting = Phase.AWAKE, False, False

        self._observations = self.create_publisher(
            Observation, "observation", qos.of_round(qos.OFFERED_NEWEST, envs)
        )
        self._transitions = self.create_publisher(TransitionMessage, "transition", qos.EVERY)
        # not /clock: trainings in two namespaces would give two times
        self._clock_publisher = self.create_publisher(Clock, "clock", 10) if o.clock else None
        spaces = self.create_publisher(String, "spaces", qos.LATCHED)
        spaces.publish(String(data=self._session.spaces.to_json()))
        on_action = ACTION.unpacking(self._on_action)
        self.create_subscription(Action, "action", on_action, qos.of_round(qos.NEWEST, envs), raw=True)
        self.create_subscription(PolicyVersion, "policy_version", self._on_policy, qos.LATCHED_FROM_ALL)
        self._rests = self.create_publisher(Bool, "resting", qos.LATCHED)
        self._rests.publish(Bool(data=False))
        self._batteries = self.create_publisher(BatteryState, "battery_state", qos.OFFERED_SENSOR)
        self.create_subscription(Phase, "phase", self._on_phase, qos.LATCHED_FROM_ALL)
        self.create_service(Reset, "~/reset", self._on_reset)
        self.create_timer(_REST_TICK, self._pass_time)
        self.create_timer(0.1, self._look_after)
        if o.rate_hz:
            self.create_timer(1 / o.rate_hz, self._tick)
        self._camera = CameraPublisher(self, lambda: self._session.camera)
        Health(self, self._report)

    def _make_session(self) -> Session:
        o = self.options
        # without training steps, there is one evaluation
        evaluate_every = o.evaluation.every if o.steps else 1
        session = Session(
            o.env,
            o.seed,
            o.steps,
            evaluate_every,
            o.evaluation.episodes,
            o.evaluation.longest,
            env_arguments(o.env_kwargs),
            self.get_logger().warning,
            o.envs,
            o.env_processes,
        )
        if o.resume:
            session.resume(**resume_point(Path(o.resume)))
        if o.battery != NONE:
            session.fit_battery(o.battery, self._battery_options)
        return session

    def activate(self) -> None:
        """Continue after a stop; the first observation waits for the other nodes (`_look_after`)."""
        if self._started:
            self._send()

    def deactivate(self) -> None:
        """Ignore actions for earlier observations."""
        self._sent, self._answers = [], {}
        self._waited_for = "activation"

    # --- sending observations ---

    def _covered(self) -> bool:
        """True if the newest policy version covers the current step."""
        policy = self._policy
        return bool(policy.version) and policy.first_step <= self._session.training_step < policy.until_step

    def _send(self) -> None:
        """Publish the pending observations, if the learner and the phase allow it."""
        self._sent, self._answers = [], {}
        if not self.active or self._begins_rest or self._resting:
            return
        if self._session.over:
            self._waited_for = "nothing: all steps are done"
            if not self.options.steps:
                raise SystemExit(0)  # the evaluation is over
            return
        if not self._covered():
            self._waited_for = "the learner"
            return
        if not self._may_act():
            self._begin_rest()
            return
        self._waited_for = ""
        self._sent = self._session.pending()
        self._publish_observations()

    def _publish_observations(self) -> None:
        """Publish the observations that are not answered."""
        header, version = stamped(self._time), self._policy.version
        for pending in self._sent:
            if _key(pending) in self._answers:
                continue
            observation = OBSERVATION.view(
                header=header,
                episode=pending.episode,
                step=pending.step,
                evaluation=pending.evaluation,
                episode_start=pending.episode_step == 0,
                policy_version=version,
                reward=pending.reward,
                observation=pack(pending.observation),
            )
            self._observations.publish(OBSERVATION.pack(observation))
        now = time.monotonic()
        self._periods.append(now - self._sent_at)
        self._sent_at = now

    def _on_policy(self, message: PolicyVersion) -> None:
        check_version(message)
        check_follows(message, self._policy)
        self._policy = message
        if self._started and not self._sent:
            self._send()

    def _look_after(self) -> None:
        """Start once the other nodes are ready; repeat observations that were not answered."""
        if not self.active:
            return
        if not self._started:
            ready = self._observations.get_subscription_count() and self.count_publishers("action")
            if self.options.steps:
                ready = ready and self._transitions.get_subscription_count()
            if ready and self._policy.version:
                self._started = True
                self._send()
        elif self._sent and time.monotonic() - self._sent_at > _RESEND_AFTER:
            self._publish_observations()

    # --- rest ---

    def _on_phase(self, message: Phase) -> None:
        phase_name(message)  # an unknown one is dropped
        self._phase = message.phase
        if self._resting and self._may_act():
            self._session.begin_again()  # the battery has changed during the rest
            self._publish_resting(False)
            self._send()
        elif self._sent and not self._may_act():
            self._begin_rest()

    def _may_act(self) -> bool:
        """True if the phase allows acting; an evaluation is finished before the robot rests."""
        finishes = self._session.evaluating and self._phase != Phase.STOPPED
        return self._phase == Phase.AWAKE or finishes

    def _begin_rest(self) -> None:
        """Apply the rest action, which ends a training episode; an evaluation is only paused."""
        self._begins_rest, self._answers = True, {}
        if not self._session.pending()[0].evaluation:
            self._session.end_episode()
            self._rest_step()
        self._sent, self._begins_rest = [], False
        self._publish_resting(True)

    def _rest_step(self) -> None:
        rest = self._session.rest_action(), self._policy.version
        self._apply([rest] * len(self._session.pending()))

    def _publish_resting(self, resting: bool) -> None:
        self._resting, self._waited_for = resting, "the robot to wake" if resting else ""
        self._rests.publish(Bool(data=resting))

    def _pass_time(self) -> None:
        """Publish the battery; while the robot rests, advance simulation time with wall time."""
        battery = self._session.battery
        if self._resting:
            self._time += _REST_TICK
            self._publish_time()
            if battery:
                battery.rest(_REST_TICK, dreaming=self._phase == Phase.DREAMING)
        if battery:
            self._batteries.publish(to_battery_state(battery.percentage, battery.charging, self._time))

    def _publish_time(self) -> None:
        if self._clock_publisher and self._clock_publisher.get_subscription_count():
            self._clock_publisher.publish(Clock(clock=to_header(stamped(self._time)).stamp))

    # --- receiving actions ---

    def _on_action(self, message: Any) -> None:
        key, space = _key(message), self._session.spaces.action
        if key not in map(_key, self._sent):
            return  # the answer to an observation that was repeated
        self._answers[key] = from_array(message.action, space.dtype, space.shape), message.policy_version
        if not self.options.rate_hz and len(self._answers) == len(self._sent):
            self._apply([self._answers[_key(pending)] for pending in self._sent])

    def _apply(self, answers: list[_Answer]) -> None:
        """Step with actions in the order of `Session.pending`."""
        began = self._time
        made = self._session.apply([action for action, _ in answers], self._policy.version)
        transitions = [
            transition._replace(policy_version=version) for transition, (_, version) in zip(made, answers)
        ]
        self._applied += len(transitions)
        for transition in transitions:
            if transition.evaluation:
                self._tally(transition)
        self._time += self._dt
        awake = self._may_act()
        if awake:
            self._send()  # first: the policy decides while this node builds the other messages
        self._publish_time()
        if self._transitions.get_subscription_count():
            header = stamped(began)
            for transition in transitions:
                self._transitions.publish(TRANSITION.pack(to_transition(transition, header)))
        if not awake:
            self._send()  # after the transition, because a rest begins with another transition

    def _tally(self, transition: Transition) -> None:
        if transition.step == 0:
            self._returns = [0.0]
        self._returns[-1] += transition.reward
        if transition.done:
            # in training the dreamer logs the result
            if len(self._returns) == self.options.evaluation.episodes and not self.options.steps:
                mean, std = np.mean(self._returns), np.std(self._returns)
                print(
                    f"policy version {transition.policy_version}: mean return {mean:.1f} ± {std:.1f}"
                    f" (std, {len(self._returns)} greedy episodes)",
                    flush=True,
                )
            self._returns.append(0.0)

    def _tick(self) -> None:
        """One period at a fixed rate: apply the actions if all have arrived, else the rest action."""
        if not self._sent or not (self._answers or self._applied):
            return  # the clock starts with the first action
        if len(self._answers) < len(self._sent):
            self._missed += 1
            self._rest_step()
        else:
            self._apply([self._answers[_key(pending)] for pending in self._sent])

    def _on_reset(self, request: Reset.Request, response: Reset.Response) -> Reset.Response:
        response.success = request.seed < 2**31
        if response.success:
            self._session.end_episode(max(request.seed, -1))
            response.message = "the episode is truncated at its next step"
        else:
            response.message = f"seed {request.seed} is outside 0..{2**31 - 1}"
        return response

    # --- health and end ---

    def _report(self) -> tuple[bytes, str, dict]:
        level = DiagnosticStatus.WARN if self._missed else DiagnosticStatus.OK
        message = f"waiting for {self._waited_for}" if self._waited_for else "running"
        figures = {
            "step": self._session.training_step,
            "steps_applied": self._applied,
            "actions_missed": self._missed,
            "simulation_time_s": round(self._time, 3),
        }
        figures |= spread("period", self._periods)
        return level, message, figures

    def release(self) -> None:
        """End the camera."""
        self._camera.close()

    def close(self) -> None:
        """Close the environment."""
        if self._session:
            with suppress(UserError) if self.raised else nullcontext():  # one error is enough
                self._session.close()


def _key(of: Any) -> tuple[int, int, bool]:
    """What an observation and its answer have in common."""
    return of.episode, of.step, of.evaluation


def main() -> None:
    """Entry point of ``ros2 run spiking_wm_ros bridge``."""
    sys.exit(run(Bridge))


if __name__ == "__main__":
    main()
