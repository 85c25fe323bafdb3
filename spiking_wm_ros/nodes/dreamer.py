"""Learning and dreaming on the wire; the work itself is in `learner_process`."""

import signal
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticStatus
from spiking_wm_msgs.action import Dream
from spiking_wm_msgs.msg import Phase, PolicyVersion, Stretch
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
from spiking_wm.runs.folder import Run, spaces_of
from spiking_wm.training.learner import DREAMING
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.dream_goals import DreamGoals
from spiking_wm_ros.nodes.health import Health
from spiking_wm_ros.nodes.learner_process import LearnerProcess
from spiking_wm_ros.nodes.main import run
from spiking_wm_ros.nodes.managed import ManagedNode
from spiking_wm_ros.nodes.messages import PHASES, from_transition, to_stretch
from spiking_wm_ros.nodes.parameters import declare, refuse_unknown

_SAVING_TIME = 4.5  # seconds for the last checkpoint after SIGTERM
_STRETCH_EVERY = 2.0  # seconds
TRAIN, ONCE, AT_REST = "train", "once", "at_rest"
_UNTOLD = ("dream_started", "stopped")  # events that the status tells anyway


@dataclass(frozen=True)
class DreamerOptions:
    """Parameters of the dreamer besides those of its algorithm and of the run."""

    algorithm: str = option("popsan_dream", "name of a file in config/algorithms")
    env: str = option("InvertedPendulum-v5", "environment that the run is about")
    run: str = option("runs/unnamed", "folder of the run")
    resume: str = option("", "checkpoint to go on from")
    mode: str = option(
        TRAIN,
        "learn from transitions; or from a checkpoint alone: dream once, save and end; or dream when asked",
        choices=(TRAIN, ONCE, AT_REST),
    )
    rollouts: int = option(0, "of the one dream: imagined rollouts at most; 0: no bound", 0)
    updates: int = option(0, "of the one dream: policy updates at most; 0: no bound", 0)
    seconds: float = option(0.0, "of the one dream: time at most; 0: no bound", 0)
    joules: float = option(0.0, "of the one dream: energy of computing at most; 0: no bound", 0)
    bag: str = option(
        "", "of the one dream: recorded transitions to learn from before it, a folder of MCAP files"
    )
    computing_w: float = option(3.0, "draw of computing while it dreams, in watts", 1e-6)


class Dreamer(ManagedNode):
    """Learns from transitions, dreams when asked or by schedule, publishes policy versions."""

    def __init__(self):
        super().__init__("dreamer")
        self.options = declare(self, DreamerOptions)
        agent = agent_of(self.options.algorithm)
        agent_options = declare(self, options_class(agent))
        schedule = declare(self, Schedule)
        refuse_unknown(self)
        self._setup = Setup(self.options.algorithm, agent, agent_options, schedule)
        self._learner: LearnerProcess | None = None
        self._spaces: Spaces | None = None
        self._events: deque[tuple] = deque()
        self._version: PolicyVersion | None = None
        self._status = {"phase": "waiting for the bridge", "can_dream": False}
        self._figures: dict[str, float] = {}
        self._warning = ""
        self._phase: tuple[str, str] | None = None  # the robot's, and why
        self._listens = self._failed = False

    def configure(self) -> None:
        """Wait for the environment's spaces, or begin from a checkpoint.

        Configured again, it goes on with what it has learned.
        """
        self._versions = self.create_publisher(PolicyVersion, "policy_version", qos.LATCHED)
        self._stretches = self.create_publisher(Stretch, "stretch", qos.OFFERED_NEWEST)
        self.create_timer(_STRETCH_EVERY, self._ask_for_stretch)
        self.create_service(Trigger, "~/dream", self._on_dream)
        self.create_service(Trigger, "~/wake", self._on_wake)
        self.create_service(Trigger, "~/save_checkpoint", self._on_save)
        self._goals = DreamGoals(self, self._dream_as_asked, lambda: self._learner.send("wake"))
        self._health = Health(self, self._report)
        self.create_subscription(Phase, "phase", self._on_phase, qos.LATCHED)
        if self.options.mode == TRAIN:
            self.create_subscription(TransitionMessage, "transition", self._on_transition, qos.EVERY)
            self.create_subscription(String, "spaces", self._on_spaces, qos.LATCHED)
        elif self._learner is None:
            self._begin_from_checkpoint()
        if self._version:
            self._versions.publish(self._version)
        self._listens = True
        self._handle_events()  # of meanwhile

    def deactivate(self) -> None:
        """End a dream; what is learned from transitions ends with them."""
        if self._learner:
            self._learner.send("wake")

    # --- the learner ---

    def _on_spaces(self, message: String) -> None:
        if self._learner is None:
            self._begin(Spaces.from_json(message.data))

    def _begin_from_checkpoint(self) -> None:
        self._begin(spaces_of(Path(self.options.resume)))
        if self.options.mode == ONCE:
            if self.options.bag:
                self._learner.send("bag", self.options.bag)
            self._learner.send("dream", self._budget(self.options))

    def _begin(self, spaces: Spaces) -> None:
        o = self.options
        path, resume = Path(o.run), Path(o.resume) if o.resume else None
        Run.create(path, self._setup, o.env)
        self._spaces = spaces
        self._status["phase"] = "starting"
        self._learner = LearnerProcess(path, spaces, resume, self._on_event)
        if self._phase:
            self._learner.send("phase", *self._phase)

    def _on_phase(self, message: Phase) -> None:
        """Have it kept with the run."""
        self._phase = PHASES[message.phase], message.reason
        if self._learner:
            self._learner.send("phase", *self._phase)

    def _on_transition(self, message: TransitionMessage) -> None:
        if self._learner:
            self._learner.send("transition", from_transition(message, self._spaces.action.dtype))

    def _on_event(self, event: tuple) -> None:  # in the pipe's thread
        self._events.append(event)
        if self._listens:
            self.call_soon(self._handle_events)

    def _handle_events(self) -> None:
        while self._events and self._listens:
            kind, *content = self._events.popleft()
            if kind not in _UNTOLD:
                getattr(self, f"_event_{kind}")(*content)

    def _event_status(self, status: dict) -> None:
        changed = status["phase"] != self._status["phase"]
        self._status = status
        if changed:
            self._health.publish()  # a dream may be over before the next beat

    def _event_released(self, version: int, first_step: int, until_step: int, path: str, digest: str) -> None:
        self._version = PolicyVersion(
            version=version, first_step=first_step, until_step=until_step, path=path, sha256=digest
        )
        self._version.header.stamp = self.get_clock().now().to_msg()
        self._versions.publish(self._version)

    def _event_episode(self, step: int, episode: int, episode_return: float, length: int) -> None:
        self._figures["episode_return"] = round(episode_return, 2)

    def _event_evaluated(self, step: int, version: int, mean: float) -> None:
        self._figures |= {"evaluation_return": round(mean, 2), "evaluation_step": step}
        self.get_logger().info(f"step {step}: policy version {version} has mean return {mean:.1f}")

    def _event_warning(self, text: str) -> None:
        self._warning = text
        self.get_logger().warning(text)

    def _event_saved(self, path: str) -> None:
        if path:
            self._warning = ""
            self.get_logger().info(f"saved {path}")

    def _event_failed(self, text: str) -> None:
        self._failed = True
        raise UserError(text)

    def _event_finished(self, step: int) -> None:
        self._status |= {"phase": "finished", "step": step}
        self._health.publish()

    def _event_ended(self) -> None:
        if self._status["phase"] == "finished":
            raise SystemExit(0)
        code = self._learner.exit_code()
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            raise UserError(f"the learner process was killed ({name}; for want of memory, if nobody did it)")
        raise UserError("the learner process ended without a word: see its traceback above")

    def _ask_for_stretch(self) -> None:
        """Have dream held against reality where somebody looks."""
        if self._learner and self._stretches.get_subscription_count():
            self._learner.send("stretch")

    def _event_stretch(self, stretch: dict) -> None:
        header = Header(stamp=self.get_clock().now().to_msg())
        self._stretches.publish(to_stretch(stretch, header))

    # --- dreaming on request ---

    def _refusal(self) -> str:
        if not self.active:
            return "the dreamer is inactive"
        if self._status["phase"] == DREAMING:
            return "a dream phase is under way: call ~/wake first"
        if not self._status["can_dream"]:
            return (
                "nothing to dream of: no world model (algorithm:=…_dream has one), or too little experience"
            )
        return ""

    def _on_dream(self, _, response: Trigger.Response) -> Trigger.Response:
        refusal = self._refusal()
        if not refusal:
            self._learner.send("dream", Budget())
        response.success, response.message = not refusal, refusal or "falling asleep"
        return response

    def _on_wake(self, _, response: Trigger.Response) -> Trigger.Response:
        if self._learner:
            self._learner.send("wake")
        asleep = self._status["phase"] == DREAMING
        response.success, response.message = True, "waking" if asleep else "was awake"
        return response

    def _on_save(self, _, response: Trigger.Response) -> Trigger.Response:
        if self._learner:
            self._learner.send("save")
        response.success = self._learner is not None
        response.message = (
            "saving; the log says where, or why not" if self._learner else "nothing to save yet"
        )
        return response

    def _budget(self, asked) -> Budget:
        """Bounds of a goal, or of the node's own parameters; 0 is none."""
        times = [t for t in (asked.seconds, asked.joules / self.options.computing_w) if t]
        return Budget(asked.rollouts or None, asked.updates or None, min(times, default=None))

    def _dream_as_asked(self, goal: Dream.Goal) -> str:
        refusal = self._refusal()
        if not refusal:
            self._learner.send("dream", self._budget(goal))
        return refusal

    def _event_dreamed(self, rollouts: int, updates: int, metrics: dict) -> None:
        self._figures |= {name: round(value, 4) for name, value in metrics.items()}
        self._goals.dreamed(rollouts, updates, metrics)

    def _event_dream_ended(
        self, rollouts: int, updates: int, completed: bool, metrics: dict, scheduled: bool, version: int
    ) -> None:
        if self.options.mode == ONCE:
            if scheduled:  # while it learns from a bag
                return
            self.get_logger().info(
                f"dreamed {rollouts} rollouts, {updates} updates: policy version {version}"
            )
            raise SystemExit(0)
        self._goals.end(
            Dream.Result(
                rollouts=rollouts,
                updates=updates,
                policy_version=version,
                accepted=metrics.get("dream_accepted", 0.0),
                message="" if completed else "woken before the budget was spent",
            )
        )

    def _event_dream_refused(self, text: str) -> None:
        if self.options.mode == ONCE:
            raise UserError(text)
        self._goals.end(Dream.Result(message=text))

    # --- health and end ---

    def _report(self) -> tuple[bytes, str, dict]:
        level = DiagnosticStatus.WARN if self._warning else DiagnosticStatus.OK
        figures = {"run": self.options.run} | self._status | self._figures
        return level, self._warning or self._status["phase"], figures

    def release(self) -> None:
        """Tell nothing from here on."""
        self._listens = False
        self._goals.close()

    def close(self) -> None:
        """Save and end the learner, within the time that a SIGTERM leaves, if there may have been one."""
        seconds = _SAVING_TIME if self._status["phase"] == DREAMING or self.options.mode != ONCE else 600.0
        if self._learner and not self._failed and not self._learner.stop(seconds):
            told = f"no last checkpoint: it was not written within {seconds} s"
            self.get_logger().error(f"{told}; resume from the one before, or call ~/save_checkpoint first")


def main() -> None:
    """Entry point of ``ros2 run spiking_wm_ros dreamer``."""
    sys.exit(run(Dreamer))


if __name__ == "__main__":
    main()
