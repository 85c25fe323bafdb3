"""The action by which a dream is asked for, followed and cancelled."""

import time
from collections.abc import Callable

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from spiking_wm_msgs.action import Dream

from spiking_wm.core.contract import Metrics
from spiking_wm_ros.nodes.managed import ManagedNode

_FEEDBACK_EVERY = 0.2  # seconds


class DreamGoals:
    """Goals of ``~/dream_phase``, one at a time.

    A goal is executed when its dream is over, which takes no time then: an action callback that waits
    meanwhile would keep the executor busy asking it.

    Args:
        node: whose action it is.
        begin: begins what a goal asks for, or tells why not (else an empty text).
        wake: ends the dream.
    """

    def __init__(self, node: ManagedNode, begin: Callable[[Dream.Goal], str], wake: Callable[[], None]):
        self._begin, self._wake = begin, wake
        self._goal: ServerGoalHandle | None = None
        self._results: dict[bytes, Dream.Result] = {}  # of goals that are over, by their ids
        self._fed_back_at = 0.0
        self._server = ActionServer(
            node,
            Dream,
            "~/dream_phase",
            self._on_executed,
            handle_accepted_callback=node.keeping(self._on_goal),
            cancel_callback=self._on_cancel,
        )

    def _on_goal(self, goal: ServerGoalHandle) -> None:
        refusal = "another goal is under way" if self._goal else self._begin(goal.request)
        if refusal:
            self._conclude(goal, Dream.Result(message=refusal))
        else:
            self._goal = goal

    def _on_cancel(self, _) -> CancelResponse:
        self._wake()
        return CancelResponse.ACCEPT

    def _conclude(self, goal: ServerGoalHandle, result: Dream.Result) -> None:
        self._results[bytes(goal.goal_id.uuid)] = result
        goal.execute()

    def _on_executed(self, goal: ServerGoalHandle) -> Dream.Result:
        result = self._results.pop(bytes(goal.goal_id.uuid))
        if goal.is_cancel_requested:
            goal.canceled()
        elif result.message:
            goal.abort()
        else:
            goal.succeed()
        return result

    def dreamed(self, rollouts: int, updates: int, metrics: Metrics) -> None:
        """Tell whose goal it is how far the dream is, a few times a second."""
        now = time.monotonic()
        if self._goal and now - self._fed_back_at > _FEEDBACK_EVERY:
            self._fed_back_at = now
            feedback = Dream.Feedback(rollouts=rollouts, updates=updates)
            feedback.accepted = metrics.get("dream_accepted", 0.0)
            feedback.uncertainty = metrics.get("dream_uncertainty", 0.0)
            self._goal.publish_feedback(feedback)

    def end(self, result: Dream.Result) -> None:
        """The dream is over; one that nobody asked for by a goal has none."""
        if self._goal:
            goal, self._goal = self._goal, None
            self._conclude(goal, result)

    def close(self) -> None:
        """Take no more goals."""
        self._server.destroy()
