"""The dreamer node: learning and dreaming. `learner.process` does the computation."""

import signal
import sys
from collections import deque
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticStatus
from spiking_wm_msgs.action import Dream
from spiking_wm_msgs.msg import Phase, PolicyVersion, Segment
from spiking_wm_msgs.msg import Transition as TransitionMessage
from std_msgs.msg import Header, String
from std_srvs.srv import Trigger

from spiking_wm.core.contract import Budget
from spiking_wm.core.errors import UserError
from spiking_wm.core.options import option
from spiking_wm.core.presets import Setup, agent_of
from spiking_wm.core.registry import options_class
from spiking_wm.core.schedule import Schedule
from spiking_wm.core.spaces import Spaces
from spiking_wm.runs.folder import Run
from spiking_wm.runs.resuming import spaces_of
from spiking_wm.training.learner import DREAMING, DreamResult
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.dream_goals import DreamGoals
from spiking_wm_ros.nodes.health import Health
from spiking_wm_ros.nodes.learner.events import (
    Dreamed,
    DreamEnded,
    DreamRefused,
    EndDream,
    Ended,
    EpisodeEnded,
    Evaluated,
    Event,
    Failed,
    Finished,
    HeldOutSegment,
    LearnFromBag,
    PolicyReleased,
    RobotPhase,
    Save,
    Saved,
    SendSegment,
    StartDream,
    Status,
    Warned,
)
from spiking_wm_ros.nodes.learner.process import LearnerProcess
from spiking_wm_ros.nodes.main import run
from spiking_wm_ros.nodes.managed import ManagedNode
from spiking_wm_ros.nodes.messages import (
    check_transition,
    from_transition,
    parse_spaces,
    phase_name,
    to_segment,
)
from spiking_wm_ros.nodes.parameters import declare, refuse_unknown

_SAVING_TIME = 20.0  # seconds for the last checkpoint after SIGTERM
_SEGMENT_EVERY = 2.0  # seconds
TRAIN, ONCE, AT_REST = "train", "once", "at_rest"


@dataclass(frozen=True)
class DreamerOptions:
    """Parameters of the dreamer, in addition to the options of its algorithm and of the schedule."""

    algorithm: str = option("popsan_dream", "name of a file in config/algorithms")
    env: str = option("InvertedPendulum-v5", "environment of the run")
    run: str = option("runs/unnamed", "folder of the run")
    resume: str = option("", "checkpoint to resume from")
    mode: str = option(
        TRAIN,
        "train: learn from transitions; once: dream from a checkpoint and end; at_rest: dream on request",
        choices=(TRAIN, ONCE, AT_REST),
    )
    rollouts: int = option(0, "mode once: largest number of imagined rollouts; 0: no limit", 0)
    updates: int = option(0, "mode once: largest number of policy updates; 0: no limit", 0)
    seconds: float = option(0.0, "mode once: longest duration in seconds; 0: no limit", 0)
    joules: float = option(0.0, "mode once: largest computing energy in joules; 0: no limit", 0)
    bag: str = option("", "mode once: folder of MCAP files with transitions to learn from first")
    computing_w: float = option(3.0, "power of computing while it dreams, in watts", 1e-6)


class Dreamer(ManagedNode):
    """Learns from transitions, dreams on request or by schedule, publishes policy versions."""

    def __init__(self):
        super().__init__("dreamer")
        self.options = declare(self, DreamerOptions)
        agent = agent_of(self.options.algorithm)
        agent_options = declare(self, options_class(agent))
        schedule = declare(self, Schedule)
        refuse_unknown(self, options_class(agent), Schedule)
        self._setup = Setup(self.options.algorithm, agent, agent_options, schedule)
        self._learner: LearnerProcess | None = None
        self._spaces: Spaces | None = None
        self._events: deque[Event] = deque()
        self._version: PolicyVersion | None = None
        self._state = "waiting for the bridge"  # later the learner's phase, or that the run is finished
        self._status: Status | None = None  # None before the learner runs
        self._figures: dict[str, float] = {}
        self._warning = ""
        self._phase: RobotPhase | None = None
        self._listens = self._failed = False

    def configure(self) -> None:
        """Wait for the environment's spaces, or start from a checkpoint.

        After a cleanup, the node continues with the same learner.
        """
        self._versions = self.create_publisher(PolicyVersion, "policy_version", qos.LATCHED)
        self._segments = self.create_publisher(Segment, "segment", qos.OFFERED_NEWEST)
        self.create_timer(_SEGMENT_EVERY, self._request_segment)
        self.create_service(Trigger, "~/dream", self._on_dream)
        self.create_service(Trigger, "~/end_dream", self._on_end_dream)
        self.create_service(Trigger, "~/save_checkpoint", self._on_save)
        self._goals = DreamGoals(self, self._start_dream_of, lambda: self._learner.send(EndDream()))
        self._health = Health(self, self._report)
        self.create_subscription(Phase, "phase", self._on_phase, qos.LATCHED_FROM_ALL)
        if self.options.mode == TRAIN:
            self.create_subscription(TransitionMessage, "transition", self._on_transition, qos.EVERY)
            self.create_subscription(String, "spaces", self._on_spaces, qos.LATCHED_FROM_ALL)
        elif self._learner is None:
            self._begin_from_checkpoint()
        if self._version:
            self._versions.publish(self._version)
        self._listens = True
        self._handle_events()  # those that came while the node was not configured

    def deactivate(self) -> None:
        """End a dream. Learning from transitions ends when no more arrive."""
        if self._learner:
            self._learner.send(EndDream())

    # --- the learner ---

    def _on_spaces(self, message: String) -> None:
        if self._learner is None:
            self._begin(parse_spaces(message.data))

    def _begin_from_checkpoint(self) -> None:
        self._begin(spaces_of(Path(self.options.resume)))
        if self.options.mode == ONCE:
            if self.options.bag:
                self._learner.send(LearnFromBag(Path(self.options.bag)))
            self._learner.send(StartDream(self._budget(self.options)))

    def _begin(self, spaces: Spaces) -> None:
        o = self.options
        path, resume = Path(o.run), Path(o.resume) if o.resume else None
        Run.create(path, self._setup, o.env)
        self._spaces = spaces
        self._state = "starting"
        self._learner = LearnerProcess(path, spaces, resume, self._on_event)
        if self._phase:
            self._learner.send(self._phase)

    def _on_phase(self, message: Phase) -> None:
        """Record the robot's phase in the run."""
        self._phase = RobotPhase(phase_name(message), message.reason)
        if self._learner:
            self._learner.send(self._phase)

    def _on_transition(self, message: TransitionMessage) -> None:
        if self._learner:
            transition = from_transition(message, self._spaces.action.dtype)
            check_transition(transition, self._spaces)
            self._learner.send(transition)

    def _on_event(self, event: Event) -> None:  # in the pipe's thread
        self._events.append(event)
        if self._listens:
            self.call_soon(self._handle_events)

    def _handle_events(self) -> None:
        while self._events and self._listens:
            self._handle(self._events.popleft())

    def _handle(self, event: Event) -> None:
        log = self.get_logger()
        match event:
            case Status():
                self._take_status(event)
            case PolicyReleased():
                self._publish_version(event)
            case EpisodeEnded(episode_return):
                self._figures["episode_return"] = round(episode_return, 2)
            case Evaluated(step, version, mean):
                self._figures |= {"evaluation_return": round(mean, 2), "evaluation_step": step}
                log.info(f"step {step}: policy version {version} has mean return {mean:.1f}")
            case Dreamed(progress):
                self._figures |= {name: round(value, 4) for name, value in progress.metrics.items()}
                self._goals.dreamed(progress)
            case DreamEnded(result, version):
                self._end_dream(result, version)
            case DreamRefused(reason):
                if self.options.mode == ONCE:
                    raise UserError(reason)
                self._goals.end(Dream.Result(message=reason))
            case HeldOutSegment(arrays):
                header = Header(stamp=self.get_clock().now().to_msg())
                self._segments.publish(to_segment(arrays, header))
            case Saved(path):
                self._warning = ""
                log.info(f"saved {path}")
            case Warned(text):
                self._warning = text
                log.warning(text)
            case Failed(reason):
                self._failed = True
                raise UserError(reason)
            case Finished(step):
                self._state, self._status = "finished", replace(self._status, step=step)
                self._health.publish()
            case Ended():
                self._learner_ended()

    def _take_status(self, status: Status) -> None:
        changed, self._state = status.phase != self._state, status.phase
        self._status = status
        if changed:
            self._health.publish()  # now: a dream may be over within a second

    def _publish_version(self, release: PolicyReleased) -> None:
        self._version = PolicyVersion(**asdict(release))
        self._version.header.stamp = self.get_clock().now().to_msg()
        self._versions.publish(self._version)

    def _end_dream(self, result: DreamResult, version: int) -> None:
        if self.options.mode == ONCE:
            if result.scheduled:  # while it learns from a bag
                return
            done = f"dreamed {result.rollouts} rollouts, {result.updates} updates"
            self.get_logger().info(f"{done}: policy version {version}")
            raise SystemExit(0)
        self._goals.end(
            Dream.Result(
                rollouts=result.rollouts,
                updates=result.updates,
                policy_version=version,
                accepted=result.metrics.get("dream_accepted", 0.0),
                message="" if result.completed else "ended before the budget was spent",
            )
        )

    def _learner_ended(self) -> None:
        if self._state == "finished":
            raise SystemExit(0)
        code = self._learner.exit_code()
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            raise UserError(f"the learner process was killed ({name}; if nobody did it: memory ran out)")
        raise UserError("the learner process ended unexpectedly: see its traceback above")

    def _request_segment(self) -> None:
        if self._learner and self._segments.get_subscription_count():
            self._learner.send(SendSegment())

    # --- dreaming on request ---

    def _refusal(self) -> str:
        if not self.active:
            return "the dreamer is inactive"
        if self._state == DREAMING:
            return "a dream phase is under way: call ~/end_dream first"
        if not (self._status and self._status.can_dream):
            return (
                "nothing to dream of: no world model (algorithm:=…_dream has one), or too little experience"
            )
        return ""

    def _on_dream(self, _, response: Trigger.Response) -> Trigger.Response:
        refusal = self._refusal()
        if not refusal:
            self._learner.send(StartDream(Budget()))
        response.success, response.message = not refusal, refusal or "falling asleep"
        return response

    def _on_end_dream(self, _, response: Trigger.Response) -> Trigger.Response:
        if self._learner:
            self._learner.send(EndDream())
        dreams = self._state == DREAMING
        response.success, response.message = True, "ending the dream" if dreams else "there was no dream"
        return response

    def _on_save(self, _, response: Trigger.Response) -> Trigger.Response:
        if self._learner:
            self._learner.send(Save())
        response.success = self._learner is not None
        response.message = (
            "saving; the log says where, or why not" if self._learner else "nothing to save yet"
        )
        return response

    def _budget(self, bounds: Dream.Goal | DreamerOptions) -> Budget:
        """Limits of a goal, or from the node's parameters; 0 is no limit."""
        times = [t for t in (bounds.seconds, bounds.joules / self.options.computing_w) if t]
        return Budget(bounds.rollouts or None, bounds.updates or None, min(times, default=None))

    def _start_dream_of(self, goal: Dream.Goal) -> str:
        refusal = self._refusal()
        for name, bound in (("seconds", goal.seconds), ("joules", goal.joules)):
            if not bound >= 0:  # NaN too
                refusal = f"{name} of a dream must be 0 or more, not {bound}"
        if not refusal:
            self._learner.send(StartDream(self._budget(goal)))
        return refusal

    # --- health and end ---

    def _report(self) -> tuple[bytes, str, dict]:
        level = DiagnosticStatus.WARN if self._warning else DiagnosticStatus.OK
        counters = asdict(self._status) if self._status else {"can_dream": False}
        figures = {"run": self.options.run} | counters | {"phase": self._state} | self._figures
        return level, self._warning or self._state, figures

    def release(self) -> None:
        """Handle no more events."""
        self._listens = False
        self._goals.close()

    def close(self) -> None:
        """Save and end the learner, within the time between SIGTERM and SIGKILL.

        Raises:
            UserError: if what was learned is not saved.
        """
        if not self._learner or self._failed:
            return
        seconds = _SAVING_TIME if self._state == DREAMING or self.options.mode != ONCE else 600.0
        learns = self._status or any(isinstance(event, Status) for event in self._events)
        if not self._learner.stop(seconds) and learns:
            raise UserError(
                f"no last checkpoint: it was not written within {seconds} s; resume from the one before, or"
                " call ~/save_checkpoint first"
            )
        for event in self._events:
            if isinstance(event, Failed):
                raise UserError(event.reason)


def main() -> None:
    """Entry point of ``ros2 run spiking_wm_ros dreamer``."""
    sys.exit(run(Dreamer))


if __name__ == "__main__":
    main()
