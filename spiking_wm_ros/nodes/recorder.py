"""Records what the nodes of a graph say to each other, as MCAP files that `mcap` and Foxglove read."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from spiking_wm_ros.agents.options import option
from spiking_wm_ros.errors import UserError
from spiking_wm_ros.nodes.bag import Bag, message_class
from spiking_wm_ros.nodes.health import Health
from spiking_wm_ros.nodes.main import run
from spiking_wm_ros.nodes.node import Node
from spiking_wm_ros.nodes.parameters import declare, refuse_unknown

_LOOK_EVERY, _FLUSH_EVERY = 0.5, 0.2  # seconds
_GLOBAL = ("/clock", "/diagnostics")
_NOT_OURS = ("parameter_events", "rosout", "transition_event")  # of every node of ROS
_WAITING = 1000  # messages of a topic that may wait to be written


@dataclass(frozen=True)
class RecorderOptions:
    """Parameters of the recorder."""

    folder: str = option("", "where its files go")
    split_mb: float = option(100.0, "size at which the next file begins, in MB", 0.01, 100_000)
    split_s: float = option(600.0, "time after which the next file begins, in seconds", 0.1, 1e6)


class RecorderNode(Node):
    """Hears every topic of its namespace, and writes messages as they came over the wire."""

    def __init__(self):
        super().__init__("recorder")
        self.options = declare(self, RecorderOptions)
        refuse_unknown(self)
        if not self.options.folder:
            raise UserError("folder:= is missing: say where the recorder's files are to go")
        self._bag = Bag(Path(self.options.folder), self.options.split_mb * 1e6, self.options.split_s)
        self._heard: set[str] = set()
        self._lost = 0
        self._look()
        self.create_timer(_LOOK_EVERY, self._look)
        self.create_timer(_FLUSH_EVERY, self._bag.flush)
        Health(self, self._report)

    def _look(self) -> None:
        """Listen to what has come up since the last look."""
        namespace = self.get_namespace().rstrip("/") + "/"
        for topic, (kind, *_) in self.get_topic_names_and_types():
            ours = topic in _GLOBAL or topic.startswith(namespace)
            if topic in self._heard or not ours or topic.rpartition("/")[2] in _NOT_OURS:
                continue
            if offered := self.get_publishers_info_by_topic(topic):
                self._heard.add(topic)
                self._listen(topic, kind, [info.qos_profile for info in offered])

    def _listen(self, topic: str, kind: str, offered: list[QoSProfile]) -> None:
        """As reliably, and as far back, as all of its publishers offer."""
        try:
            heard_as = message_class(kind)
        except (ImportError, AttributeError):
            self.get_logger().warning(f"{topic} is not recorded: no messages {kind} are installed here")
            return
        reliable = all(of.reliability == ReliabilityPolicy.RELIABLE for of in offered)
        latched = all(of.durability == DurabilityPolicy.TRANSIENT_LOCAL for of in offered)
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=_WAITING,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )

        def write(message: bytes) -> None:
            self._bag.write(topic, kind, message, time.time_ns())

        self.create_subscription(
            heard_as,
            topic,
            write,
            profile,
            raw=True,
            event_callbacks=SubscriptionEventCallbacks(message_lost=self._on_lost),
        )

    def _on_lost(self, event) -> None:
        self._lost += event.total_count_change

    def _report(self) -> tuple[bytes, str, dict]:
        figures = self._bag.figures() | {"topics": len(self._heard), "lost": self._lost}
        level = DiagnosticStatus.WARN if self._lost else DiagnosticStatus.OK
        return level, f"{self._lost} messages lost" if self._lost else "recording", figures

    def close(self) -> None:
        """Finish the file."""
        self._bag.close()


def main() -> None:
    """Entry point of ``ros2 run spiking_wm_ros recorder``."""
    sys.exit(run(RecorderNode))


if __name__ == "__main__":
    main()
