"""Subscriptions to topics of high frequency, which do not wake up an executor for each message."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import rclpy
import rclpy.node
from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from rclpy.parameter import Parameter
from rclpy.qos import HistoryPolicy, QoSProfile
from rclpy.subscription import Subscription


class Taken(NamedTuple):
    """A message that was taken; times are in nanoseconds since 1970."""

    message: Any  # bytes if the subscription is ``raw``
    arrived: int  # some middlewares tell when it was taken instead, as CycloneDDS does
    published: int  # by the publisher's clock


class PolledSubscriptions:
    """Subscriptions without callbacks; `take_new` returns the messages that have arrived.

    Args:
        node: the node whose executor handles the subscriptions' events (lost messages).
    """

    def __init__(self, node: rclpy.node.Node):
        self._node = node
        self.counts_lost = True  # False once the middleware has turned out not to tell of lost messages
        self._unspun = rclpy.create_node(
            f"{node.get_name()}_polled",
            context=node.context,
            namespace=node.get_namespace(),
            use_global_arguments=False,
            start_parameter_services=False,
            parameter_overrides=[Parameter("start_type_description_service", value=False)],
        )

    def subscribe(
        self,
        kind: type,
        topic: str,
        profile: QoSProfile,
        raw: bool = False,
        on_lost: Callable[[int], None] | None = None,
    ) -> Subscription:
        """As `Node.create_subscription`, without a callback.

        Args:
            kind: type of the messages.
            topic: name of the topic.
            profile: keeps the last messages; its depth is the most that one call of `take_new` returns.
            raw: take messages as bytes.
            on_lost: called with numbers of lost messages, unless the middleware does not tell them.

        Raises:
            ValueError: for a profile that keeps all messages.
        """
        if profile.history == HistoryPolicy.KEEP_ALL:
            raise ValueError(f"{topic} is polled with a profile that keeps all messages")
        if on_lost and self.counts_lost:
            events = SubscriptionEventCallbacks(message_lost=lambda event: on_lost(event.total_count_change))
            try:
                return self._subscribe(kind, topic, profile, raw, events)
            except UnsupportedEventTypeError:
                self.counts_lost = False
        return self._subscribe(kind, topic, profile, raw, None)

    def _subscribe(
        self,
        kind: type,
        topic: str,
        profile: QoSProfile,
        raw: bool,
        events: SubscriptionEventCallbacks | None,
    ) -> Subscription:
        subscription = self._unspun.create_subscription(
            kind, topic, lambda _: None, profile, raw=raw, event_callbacks=events
        )
        for handler in subscription.event_handlers:
            self._node.add_waitable(handler)
        return subscription

    def close(self) -> None:
        """End all subscriptions."""
        self._unspun.destroy_node()


def take_new(subscription: Subscription) -> Iterator[Taken]:
    """Messages that have arrived since the last call, oldest first.

    As many as the subscription keeps: a publisher that is faster than this cannot hold the caller up. When
    they arrived does not tell where to stop, as the middleware may have it wrong.
    """
    for _ in range(subscription.qos_profile.depth):
        with subscription.handle:
            found = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        if found is None:
            return
        message, facts = found
        arrived = facts["received_timestamp"] or time.time_ns()  # 0: the middleware does not tell
        yield Taken(message, arrived, facts["source_timestamp"] or arrived)
