"""Messages that cannot be used: they are dropped, counted in diagnostics, and named once in the log."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import rclpy.node


class BadMessage(ValueError):
    """A message that cannot be used; the text says why. Raised by a subscription's callback."""


class Dropped:
    """Counts the messages that a node drops.

    Args:
        node: the node; its log names the first one of every topic.
    """

    def __init__(self, node: rclpy.node.Node):
        self._node = node
        self._counts: Counter[str] = Counter()

    def handling(self, topic: str, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """Wrap the callback of a subscription: a message for which it raises `BadMessage` is dropped."""

        def call(message: Any) -> None:
            try:
                callback(message)
            except BadMessage as reason:
                if not self._counts[topic]:
                    log = self._node.get_logger()
                    log.warning(f"dropped a message of {topic}: {reason} (later ones are only counted)")
                self._counts[topic] += 1

        return call

    def figures(self) -> dict[str, int]:
        """The number of dropped messages for diagnostics, if there are any."""
        return {"messages_dropped": self._counts.total()} if self._counts else {}
