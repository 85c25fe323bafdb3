"""Listening to what comes often, without waking up for each message."""

import time
from collections.abc import Iterator
from typing import Any

import rclpy
import rclpy.node
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription


class Ears:
    """Subscriptions that no executor waits for: what has come is taken when somebody looks.

    Args:
        node: whose; its executor looks after what happens to subscriptions beside messages.
    """

    def __init__(self, node: rclpy.node.Node):
        self._node = node
        self._ears = rclpy.create_node(
            f"{node.get_name()}_ears",
            context=node.context,
            namespace=node.get_namespace(),
            use_global_arguments=False,
            start_parameter_services=False,
        )

    def hear(
        self,
        kind: type,
        topic: str,
        profile: QoSProfile,
        raw: bool = False,
        events: SubscriptionEventCallbacks | None = None,
    ) -> Subscription:
        """As `Node.create_subscription`, without a callback."""
        heard = self._ears.create_subscription(
            kind, topic, lambda _: None, profile, raw=raw, event_callbacks=events
        )
        for handler in heard.event_handlers:
            self._node.add_waitable(handler)
        return heard

    def close(self) -> None:
        """End all subscriptions."""
        self._ears.destroy_node()


def taken(heard: Subscription) -> Iterator[tuple[Any, int]]:
    """What has come since the last look and until this one, and when: nanoseconds since 1970."""
    now, when = time.time_ns(), 0
    while when < now:  # who says more meanwhile is heard at the next look, or it would never end
        with heard.handle:
            found = heard.handle.take_message(heard.msg_type, heard.raw)
        if found is None:
            return
        message, told = found
        when = told["received_timestamp"]
        yield message, when
