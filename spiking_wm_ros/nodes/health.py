"""Diagnostics at 1 Hz (REP-107), for users and tools. Nodes do not use them to detect failures."""

from collections.abc import Callable, Sequence

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from spiking_wm_ros.nodes.node import Node


def spread(name: str, seconds: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile of times, in milliseconds, by name; empty if there are no times."""
    if not seconds:
        return {}
    median, p99 = np.percentile(seconds, (50, 99)) * 1e3
    return {f"{name}_median_ms": round(median, 3), f"{name}_p99_ms": round(p99, 3)}


class Health:
    """Publishes one status of a node every second.

    Args:
        node: the node.
        report: returns a level (`DiagnosticStatus.OK`, …), a message, and figures by name.
    """

    def __init__(self, node: Node, report: Callable[[], tuple[bytes, str, dict]]):
        self._node, self._report = node, report
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        node.create_timer(1.0, self.publish)

    def publish(self) -> None:
        """Publish now."""
        level, message, figures = self._report()
        figures |= self._node.dropped.figures()
        values = [KeyValue(key=key, value=str(value)) for key, value in figures.items()]
        name = self._node.get_fully_qualified_name().lstrip("/")
        status = DiagnosticStatus(level=level, name=name, message=message, values=values)
        stamp = self._node.get_clock().now().to_msg()
        array = DiagnosticArray(status=[status])
        array.header.stamp = stamp
        self._publisher.publish(array)
