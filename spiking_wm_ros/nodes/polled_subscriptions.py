"""Subscriptions to topics of high frequency, which do not wake up an executor for each message."""

import time
from collections.abc import Iterator
from typing import Any

import rclpy
import rclpy.node
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription


class PolledSubscriptions:
    """Subscriptions without callbacks; `take_new` returns the messages that have arrived.

    Args:
        node: the node whose executor handles the subscriptions' events (lost messages).
    """

    def __init__(self, node: rclpy.node.Node):
        self._node = node
        self._unspun = rclpy.create_node(
            f"{node.get_name()}_polled",
            context=node.context,
            namespace=node.get_namespace(),
            use_global_arguments=False,
            start_parameter_services=False,
        )

    def subscribe(
        self,
        kind: type,
        topic: str,
        profile: QoSProfile,
        raw: bool = False,
        events: SubscriptionEventCallbacks | None = None,
    ) -> Subscription:
        """As `Node.create_subscription`, without a callback."""
        subscription = self._unspun.create_subscription(
            kind, topic, lambda _: None, profile, raw=raw, event_callbacks=events
        )
        for handler in subscription.event_handlers:
            self._node.add_waitable(handler)
        return subscription

    def close(self) -> None:
        """End all subscriptions."""
        self._unspun.destroy_node()


def take_new(subscription: Subscription) -> Iterator[tuple[Any, int]]:
    """Messages that arrived since the last call and before this one, oldest first.

    Yields:
        A message (bytes if ``raw``), and when it arrived, in nanoseconds since 1970.
    """
    now, arrived = time.time_ns(), 0
    while arrived < now:  # later messages wait for the next call: a fast publisher cannot hold this one up
        with subscription.handle:
            found = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        if found is None:
            return
        message, facts = found
        arrived = facts["received_timestamp"]
        yield message, arrived
