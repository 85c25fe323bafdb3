"""Records the topics of a graph in MCAP files, which `mcap` and Foxglove read."""

import sys
import time
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from spiking_wm.core.errors import UserError
from spiking_wm.core.options import option
from spiking_wm_ros.nodes.health import Health
from spiking_wm_ros.nodes.main import run
from spiking_wm_ros.nodes.node import Node
from spiking_wm_ros.nodes.parameters import declare, refuse_unknown
from spiking_wm_ros.nodes.polled_subscriptions import PolledSubscriptions, Taken, take_new

_LOOK_EVERY, _WRITE_EVERY, _FLUSH_EVERY = 0.5, 0.05, 0.2  # seconds
_GLOBAL = ("/clock", "/diagnostics")
NOT_RECORDED = ("parameter_events", "rosout", "transition_event")  # of every node of ROS
_WAITING = 1000  # messages of a topic that may wait to be written


@dataclass(frozen=True)
class RecorderOptions:
    """Parameters of the recorder."""

    folder: str = option("", "folder of the MCAP files")
    split_mb: float = option(100.0, "size at which the next file begins, in MB", 0.01, 100_000)
    split_s: float = option(600.0, "time after which the next file begins, in seconds", 0.1, 1e6)


class RecorderNode(Node):
    """Subscribes to every topic of its namespace, and writes messages in serialised form."""

    def __init__(self):
        super().__init__("recorder")
        self.options = declare(self, RecorderOptions)
        refuse_unknown(self)
        if not self.options.folder:
            raise UserError("folder:= is missing: give the folder for the recorder's files")
        from spiking_wm_ros.nodes.bag import Bag, message_class  # needs the extra "bags"

        self._message_class = message_class
        self._bag = Bag(Path(self.options.folder), self.options.split_mb * 1e6, self.options.split_s)
        # a callback for each message would cost more than to write it
        self._polled = PolledSubscriptions(self)
        self._topics: dict[str, tuple[str, Subscription] | None] = {}  # None: cannot be recorded
        self._waiting: list[tuple[str, str, Taken]] = []  # topic, kind, message
        self._lost = 0
        self._look()
        self.create_timer(_LOOK_EVERY, self._look)
        self.create_timer(_WRITE_EVERY, self._write)
        self.create_timer(_FLUSH_EVERY, self._flush)
        Health(self, self._report)

    def _look(self) -> None:
        """Subscribe to new topics."""
        namespace = self.get_namespace().rstrip("/") + "/"
        for topic, (kind, *_) in self.get_topic_names_and_types():
            ours = topic in _GLOBAL or topic.startswith(namespace)
            hidden = "/_" in topic  # topics of actions, as their feedback; `ros2 bag` leaves them out too
            if topic in self._topics or not ours or hidden or topic.rpartition("/")[2] in NOT_RECORDED:
                continue
            if offered := self.get_publishers_info_by_topic(topic):
                profiles = [info.qos_profile for info in offered]
                self._topics[topic] = self._listen(topic, kind, profiles)

    def _listen(self, topic: str, kind: str, offered: list[QoSProfile]) -> tuple[str, Subscription] | None:
        """Subscribe with the strictest quality of service that all publishers offer."""
        try:
            message_type = self._message_class(kind)
        except (ImportError, AttributeError):
            self.get_logger().warning(f"{topic} is not recorded: no messages {kind} are installed here")
            return None
        reliable = all(of.reliability == ReliabilityPolicy.RELIABLE for of in offered)
        latched = all(of.durability == DurabilityPolicy.TRANSIENT_LOCAL for of in offered)
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=_WAITING,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        counted = self._polled.counts_lost
        subscription = self._polled.subscribe(message_type, topic, profile, raw=True, on_lost=self._on_lost)
        if counted and not self._polled.counts_lost:
            self.get_logger().warning("the middleware does not tell of lost messages: they are not counted")
        return kind, subscription

    def _write(self) -> None:
        """Write messages in the order of arrival. Those that arrive meanwhile wait for the next call."""
        end = time.time_ns()
        if self._waiting:  # once, whatever the clock does
            end = max(end, _arrival(self._waiting[-1]) + 1)
        self._take()
        self._record(bisect_left(self._waiting, end, key=_arrival))

    def _take(self) -> None:
        for topic, found in self._topics.items():
            if found:
                kind, subscription = found
                self._waiting += [(topic, kind, new) for new in take_new(subscription)]
        self._waiting.sort(key=_arrival)

    def _record(self, count: int) -> None:
        for topic, kind, new in self._waiting[:count]:
            self._bag.write(topic, kind, new.message, new.arrived, new.published)
        del self._waiting[:count]

    def _flush(self) -> None:
        """Write to the file. While the disk is full, messages are kept in memory."""
        failed_before = bool(self._bag.reason)
        if self._bag.flush() and failed_before:
            self.get_logger().info("there is room again: all that was kept is recorded")
        elif self._bag.reason and not failed_before:
            self.get_logger().warning(self._unwritten())

    def _unwritten(self) -> str:
        return f"recordings are not written ({self._bag.reason}) but kept in memory: free some disk space"

    def _on_lost(self, count: int) -> None:
        self._lost += count

    def _report(self) -> tuple[bytes, str, dict]:
        lost = self._lost + self._bag.lost
        figures = self._bag.figures() | {"topics": len(self._topics), "lost": lost}
        level = DiagnosticStatus.WARN if lost or self._bag.reason else DiagnosticStatus.OK
        state = f"{lost} messages lost" if lost else "recording"
        return level, self._unwritten() if self._bag.reason else state, figures

    def close(self) -> None:
        """Write all messages that have arrived, and finish the file.

        Raises:
            UserError: if that is impossible.
        """
        self._take()
        self._record(len(self._waiting))
        self._polled.close()
        self._bag.close()


def _arrival(waiting: tuple[str, str, Taken]) -> int:
    return waiting[2].arrived


def main() -> None:
    """Entry point of ``ros2 run spiking_wm_ros recorder``."""
    sys.exit(run(RecorderNode))


if __name__ == "__main__":
    main()
