"""Configures and activates the managed nodes of a graph, and deactivates them if one is gone."""

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

_CHECK_EVERY, _REQUEST_EVERY, _RETRY_AFTER, _TIMEOUT = 0.05, 0.5, 0.1, 1.0  # seconds
_PRIMARY = (State.PRIMARY_STATE_UNCONFIGURED, State.PRIMARY_STATE_INACTIVE, State.PRIMARY_STATE_ACTIVE)
# transition, the state that it starts from, its past participle
_UP = (
    (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_UNCONFIGURED, "configured"),
    (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_INACTIVE, "activated"),
)


@dataclass(frozen=True)
class ManagerOptions:
    """Parameters of the manager."""

    nodes: str = option("", "names of the managed nodes in the order in which they are activated")
    spare: str = option("", "names of managed nodes that the others do not need")
    patience: float = option(10.0, "seconds without an answer after which a node counts as gone", 0.1)


class Manager(Node):
    """Configures all nodes, then activates all. If one is gone, the others are deactivated.

    If a spare node is gone, this is reported and the others continue.
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
        self._unanswered: dict[str, int] = {}  # requests in a row without an answer, by node
        self._state, self._busy = "starting", True
        self.create_timer(_CHECK_EVERY, self._check)
        self.create_timer(_REQUEST_EVERY, self._request_states)
        self.create_service(Trigger, "~/bring_up", self._on_bring_up)
        self._health = Health(self, self._report)
        self._begun = False

    def _run(self, work: Generator[Future, Any, None]) -> None:
        """Run a generator that yields the futures it waits for.

        rclpy has coroutines, but its executor polls them continuously.
        """

        def go_on(done: Future | None = None) -> None:
            try:
                work.send(done.result() if done else None).add_done_callback(go_on)
            except StopIteration:
                pass
            except BaseException as error:
                self.raised = error

        go_on()

    # --- bring-up ---

    def _bring_up(self) -> Generator[Future, Any, None]:
        self._busy = True
        for transition, start, done in _UP:
            # publishers are configured before their subscribers, and activated after them
            backwards = transition == Transition.TRANSITION_CONFIGURE
            for name in reversed(self._names) if backwards else self._names:
                self._state = f"bringing up, waiting for {name}"
                if not (yield from self._transit(name, transition, start)):
                    self._conclude(f"{name} could not be {done}, see its log; call ~/bring_up to go on")
                    return
        self._missing = {name for name in self._missing if not self._get[name].service_is_ready()}
        self._unanswered = {name: 0 for name in self._names if name not in self._missing}
        without = f" but {', '.join(self._missing)}" if self._missing else ""
        self._conclude(f"all nodes{without} are active")

    def _transit(self, name: str, transition: int, start: int) -> Generator[Future, Any, bool]:
        """Change a node's state if it is in the state ``start``; returns False if the node refuses."""
        change = ChangeState.Request(transition=Transition(id=transition))
        while True:
            if not self._get[name].service_is_ready():
                if name in self._missing:
                    return True
                yield self._within(_RETRY_AFTER)
                continue
            # a node that has not discovered this one yet, or is in a transition, answers late or never
            found = yield self._within(_TIMEOUT, self._get[name].call_async(GetState.Request()))
            if found is None or found.current_state.id not in _PRIMARY:
                yield self._within(_RETRY_AFTER)
            elif found.current_state.id != start:
                return True
            else:
                reply = yield self._within(_TIMEOUT, self._change[name].call_async(change))
                if reply is not None and not reply.success:
                    return False

    def _within(self, seconds: float, reply: Future | None = None) -> Future:
        """A future with the reply's result, or with None after a timeout."""
        outcome = Future()
        self._deadlines.append((time.monotonic() + seconds, outcome))
        if reply:
            reply.add_done_callback(lambda done: outcome.done() or outcome.set_result(done.result()))
        return outcome

    def _check(self) -> None:
        if not self._begun:
            self._begun = True
            self._run(self._bring_up())
        now, due = time.monotonic(), self._deadlines
        self._deadlines = [(at, outcome) for at, outcome in due if at > now and not outcome.done()]
        for at, outcome in due:
            if at <= now and not outcome.done():
                outcome.set_result(None)

    def _conclude(self, state: str) -> None:
        self._busy, self._state = False, state
        self.get_logger().info(state)
        self._health.publish()

    def _on_bring_up(self, _, response: Trigger.Response) -> Trigger.Response:
        response.success = not self._busy
        response.message = "bringing up" if response.success else f"busy: {self._state}"
        if response.success:
            self._run(self._bring_up())
        return response

    # --- nodes that are gone ---

    def _request_states(self) -> None:
        """Request every node's state; if one does not answer several requests, deactivate the others.

        Requests are counted, not seconds, so that a delay of the manager does not count as a node's failure.
        """
        gone = [
            name for name, count in self._unanswered.items() if count * _REQUEST_EVERY > self.options.patience
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
