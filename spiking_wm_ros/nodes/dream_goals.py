"""The ROS action ``~/dream_phase``: starts a dream, reports its progress, and can cancel it."""

import time
from collections.abc import Callable

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from spiking_wm_msgs.action import Dream

from spiking_wm.core.contract import DreamProgress
from spiking_wm_ros.nodes.managed import ManagedNode

_FEEDBACK_EVERY = 0.2  # seconds


class DreamGoals:
    """Goals of ``~/dream_phase``, one at a time.

    A goal is executed when its dream has ended, because an action callback that waits would make the
    executor poll it.

    Args:
        node: the node of the action.
        start: starts the dream of a goal; returns the reason if that is refused, else ``""``.
        end: ends the dream.
    """

    def __init__(self, node: ManagedNode, start: Callable[[Dream.Goal], str], end: Callable[[], None]):
        self._start, self._end = start, end
        self._goal: ServerGoalHandle | None = None
        self._results: dict[bytes, Dream.Result] = {}  # results of finished goals, by goal id
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
        refusal = "another goal is under way" if self._goal else self._start(goal.request)
        if refusal:
            self._conclude(goal, Dream.Result(message=refusal))
        else:
            self._goal = goal

    def _on_cancel(self, _) -> CancelResponse:
        self._end()
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

    def dreamed(self, progress: DreamProgress) -> None:
        """Publish the progress of the current goal, if there is one, at most five times per second."""
        now = time.monotonic()
        if self._goal and now - self._fed_back_at > _FEEDBACK_EVERY:
            self._fed_back_at = now
            feedback = Dream.Feedback(rollouts=progress.rollouts, updates=progress.updates)
            feedback.accepted = progress.metrics.get("dream_accepted", 0.0)
            feedback.uncertainty = progress.metrics.get("dream_uncertainty", 0.0)
            self._goal.publish_feedback(feedback)

    def end(self, result: Dream.Result) -> None:
        """Finish the current goal; scheduled dreams and those of ``~/dream`` have none."""
        if self._goal:
            goal, self._goal = self._goal, None
            self._conclude(goal, result)

    def close(self) -> None:
        """Stop accepting goals."""
        self._server.destroy()
