"""The base class of all nodes."""

from collections.abc import Callable
from functools import cached_property, wraps

import rclpy.node
from rclpy.clock import Clock, ClockType
from rclpy.time_source import CLOCK_TOPIC

from spiking_wm.core.process import act_in_real_time
from spiking_wm_ros.nodes.bad_messages import BadMessage, Dropped

_STEADY = Clock(clock_type=ClockType.STEADY_TIME)


class Node(rclpy.node.Node):
    """A node that ends if a callback raises an exception; `main.run` raises it again.

    rclpy's executor would only log exceptions of callbacks, and discards those of tasks. A message for which
    a subscription's callback raises `BadMessage` is dropped. Timers run by the steady clock: ROS time, which
    a simulation may slow down, stop or reset, is for stamps of messages only.

    rclpy's constructor subscribes to ``/clock`` already, and again if ``use_sim_time`` is set later.
    """

    raised: BaseException | None = None

    @cached_property
    def dropped(self) -> Dropped:
        """The messages that this node has dropped."""
        return Dropped(self)

    def create_subscription(self, msg_type, topic, callback, qos_profile, **kwargs):
        """As rclpy's."""
        if topic == CLOCK_TOPIC:
            callback = _with_time(callback)
        heard = self.hearing(self.dropped.handling(topic, callback))
        return super().create_subscription(msg_type, topic, heard, qos_profile, **kwargs)

    def create_timer(self, timer_period_sec, callback, **kwargs):
        """As rclpy's, by the steady clock."""
        return super().create_timer(timer_period_sec, self.hearing(callback), clock=_STEADY, **kwargs)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Schedule ``callback`` on the node's executor. Thread-safe."""
        self.executor.create_task(self.keeping(callback))

    def act_in_real_time(self) -> None:
        """Use real-time scheduling, or log a warning if it is not allowed."""
        if not act_in_real_time():
            self.get_logger().warning(
                "no right to real-time scheduling (rtprio): periods will jitter under load"
            )

    def close(self) -> None:
        """Free the node's resources."""

    def end(self) -> None:
        """Called once at the end of the node, also after an exception."""
        self.close()

    def hearing(self, callback: Callable) -> Callable:
        """Wrap the callback of a subscription or timer."""
        return self.keeping(callback)

    def keeping(self, callback: Callable) -> Callable:
        """Wrap a callback so that its exceptions end the node."""

        @wraps(callback)  # rclpy looks at its arguments
        def call(*args) -> None:
            try:
                callback(*args)
            except BaseException as error:
                self.raised = error

        return call


def _with_time(callback: Callable) -> Callable:
    """Wrap rclpy's callback of ``/clock``, which cannot take negative times."""

    def call(message) -> None:
        try:
            callback(message)
        except ValueError as error:
            raise BadMessage(error) from None

    return call
