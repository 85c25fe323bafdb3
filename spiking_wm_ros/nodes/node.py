"""What all nodes share."""

from collections.abc import Callable

import rclpy.node

from spiking_wm.core.process import act_in_real_time


class Node(rclpy.node.Node):
    """A node that ends by an exception in any of its callbacks; `main.run` raises it again.

    The executor itself would log its own account of an exception first, and loses those of tasks.
    """

    raised: BaseException | None = None

    def create_subscription(self, msg_type, topic, callback, qos_profile, **kwargs):
        """As rclpy's."""
        return super().create_subscription(msg_type, topic, self.hearing(callback), qos_profile, **kwargs)

    def create_timer(self, timer_period_sec, callback, **kwargs):
        """As rclpy's."""
        return super().create_timer(timer_period_sec, self.hearing(callback), **kwargs)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Have the node's executor call it; for other threads."""
        self.executor.create_task(self.keeping(callback))

    def act_in_real_time(self) -> None:
        """Run ahead of ordinary processes, or say that this is not allowed."""
        if not act_in_real_time():
            self.get_logger().warning(
                "no right to real-time scheduling (rtprio): periods will jitter under load"
            )

    def close(self) -> None:
        """Let go of what the node holds."""

    def end(self) -> None:
        """Called once, however the node ends."""
        self.close()

    def hearing(self, callback: Callable) -> Callable:
        """What a subscription or a timer calls for a callback."""
        return self.keeping(callback)

    def keeping(self, callback: Callable) -> Callable:
        """A callback whose exceptions end the node."""

        def call(*args) -> None:
            try:
                callback(*args)
            except BaseException as error:
                self.raised = error

        return call
