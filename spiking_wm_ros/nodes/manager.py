"""Brings the managed nodes of a graph up in order, and deactivates them when one of them is gone."""

import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.task import Future
from std_srvs.srv import Trigger

from spiking_wm.core.options import option
from spiking_wm_ros.nodes.health import Health
from spiking_wm_ros.nodes.main import run
from spiking_wm_ros.nodes.node import Node
from spiking_wm_ros.nodes.parameters import declare, refuse_unknown

_LOOKS_EVERY, _ASKS_EVERY, _A_MOMENT, _ANSWERS = 0.05, 0.5, 0.1, 1.0  # seconds
_PRIMARY = (State.PRIMARY_STATE_UNCONFIGURED, State.PRIMARY_STATE_INACTIVE, State.PRIMARY_STATE_ACTIVE)
# transition, the state that it starts from, and what it is called
_UP = (
    (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_UNCONFIGURED, "configured"),
    (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_INACTIVE, "activated"),
)


@dataclass(frozen=True)
class ManagerOptions:
    """Parameters of the manager."""

    nodes: str = option("", "names of the managed nodes in the order in which they are activated")
    spare: str = option("", "names of those among them without which the others go on")
    patience: float = option(10.0, "seconds without an answer after which a node counts as gone", 0.1)


class Manager(Node):
    """First configures all nodes, then activates all; when one is gone the others are deactivated.

    Unless it is a spare one: then that is told, and the others go on.
    """

    def __init__(self):
        super().__init__("manager")
        self.options = declare(self, ManagerOptions)
        refuse_unknown(self)
        self._names, self._spare = self.options.nodes.split(), self.options.spare.split()
        self._missing: set[str] = set()  # spare nodes that are gone
        self._change = {name: self.create_client(ChangeState, f"{name}/change_state") for name in self._names}
        self._get = {name: self.create_client(GetState, f"{name}/get_state") for name in self._names}
        self._deadlines: list[tuple[float, Future]] = []
        self._unanswered: dict[str, int] = {}  # questions in a row, of nodes that have been brought up
        self._state, self._busy = "starting", True
        self.create_timer(_LOOKS_EVERY, self._look)
        self.create_timer(_ASKS_EVERY, self._ask)
        self.create_service(Trigger, "~/bring_up", self._on_bring_up)
        self._health = Health(self, self._report)
        self._begun = False

    def _run(self, work: Generator[Future, Any, None]) -> None:
        """Go through work that yields what it waits for.

        rclpy's own coroutines would do, but the executor asks over and over whether they can go on.
        """

        def go_on(done: Future | None = None) -> None:
            try:
                work.send(done.result() if done else None).add_done_callback(go_on)
            except StopIteration:
                pass
            except BaseException as error:
                self.raised = error

        go_on()

    # --- up ---

    def _bring_up(self) -> Generator[Future, Any, None]:
        self._busy = True
        for transition, start, done in _UP:
            # what is heard is made first, who hears it is activated first
            backwards = transition == Transition.TRANSITION_CONFIGURE
            for name in reversed(self._names) if backwards else self._names:
                self._state = f"bringing up, waiting for {name}"
                if not (yield from self._transit(name, transition, start)):
                    self._tell(f"{name} could not be {done}, see what it says; call ~/bring_up to go on")
                    return
        self._missing = {name for name in self._missing if not self._get[name].service_is_ready()}
        self._unanswered = {name: 0 for name in self._names if name not in self._missing}
        without = f" but {', '.join(self._missing)}" if self._missing else ""
        self._tell(f"all nodes{without} are active")

    def _transit(self, name: str, transition: int, start: int) -> Generator[Future, Any, bool]:
        """Have a node make a transition if it is where that starts; whether it did not refuse."""
        change = ChangeState.Request(transition=Transition(id=transition))
        while True:
            if not self._get[name].service_is_ready():
                if name in self._missing:
                    return True
                yield self._within(_A_MOMENT)
                continue
            # a node that has not discovered us yet, or is busy with a transition, answers late or never
            found = yield self._within(_ANSWERS, self._get[name].call_async(GetState.Request()))
            if found is None or found.current_state.id not in _PRIMARY:
                yield self._within(_A_MOMENT)
            elif found.current_state.id != start:
                return True
            else:
                reply = yield self._within(_ANSWERS, self._change[name].call_async(change))
                if reply is not None and not reply.success:
                    return False

    def _within(self, seconds: float, reply: Future | None = None) -> Future:
        """What a reply brings, or None after some seconds."""
        outcome = Future()
        self._deadlines.append((time.monotonic() + seconds, outcome))
        if reply:
            reply.add_done_callback(lambda done: outcome.done() or outcome.set_result(done.result()))
        return outcome

    def _look(self) -> None:
        if not self._begun:
            self._begun = True
            self._run(self._bring_up())
        now, due = time.monotonic(), self._deadlines
        self._deadlines = [(at, outcome) for at, outcome in due if at > now and not outcome.done()]
        for at, outcome in due:
            if at <= now and not outcome.done():
                outcome.set_result(None)

    def _tell(self, state: str) -> None:
        self._busy, self._state = False, state
        self.get_logger().info(state)
        self._health.publish()

    def _on_bring_up(self, _, response: Trigger.Response) -> Trigger.Response:
        response.success = not self._busy
        response.message = "bringing up" if response.success else f"busy: {self._state}"
        if response.success:
            self._run(self._bring_up())
        return response

    # --- gone ---

    def _ask(self) -> None:
        """Ask every node for a sign of life; when one misses too many the others are deactivated.

        Questions are counted, not seconds: a manager that was itself held up blames nobody.
        """
        gone = [
            name for name, asked in self._unanswered.items() if asked * _ASKS_EVERY > self.options.patience
        ]
        self._do_without([name for name in gone if name in self._spare])
        if not set(gone) <= set(self._spare):
            self._deactivate_without(gone)
        for name in self._unanswered:
            self._unanswered[name] += 1
            answer = self._get[name].call_async(GetState.Request())
            answer.add_done_callback(lambda _, name=name: self._answered(name))

    def _answered(self, name: str) -> None:
        if name in self._unanswered:
            self._unanswered[name] = 0

    def _do_without(self, gone: list[str]) -> None:
        for name in gone:
            del self._unanswered[name]
            self._missing.add(name)
            self._state = f"{name} is gone, the others go on"
            self.get_logger().error(f"{self._state}: start it again, then call {self.get_name()}/bring_up")
            self._health.publish()

    def _deactivate_without(self, gone: list[str]) -> None:
        self._unanswered = {}
        self._state = f"{', '.join(gone)} is gone, the others are deactivated"
        self.get_logger().error(f"{self._state}: start it again, then call {self.get_name()}/bring_up")
        self._health.publish()
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
        for name in reversed(self._names):
            if name not in gone:
                self._change[name].call_async(request)

    def _report(self) -> tuple[bytes, str, dict]:
        whole = self._busy or (self._unanswered and not self._missing)
        level = DiagnosticStatus.OK if whole else DiagnosticStatus.ERROR
        return level, self._state, {"nodes": self.options.nodes}


def main() -> None:
    """Entry point of ``ros2 run spiking_wm_ros manager``."""
    sys.exit(run(Manager))


if __name__ == "__main__":
    main()
