"""Quality of service by kind of topic, after REP-2003 and Nav2."""

from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

# Observations and actions: only the newest matters; a lost one would stall lock-step, so reliable.
NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE)

# Transitions are learned from: none may be lost.
EVERY = QoSProfile(
    history=HistoryPolicy.KEEP_ALL,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)

# State that a late joiner must know: spaces, policy version.
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)

# rclpy looks at every topic's event handlers on each turn of its loop, which costs more than the
# messages do. Keyword arguments for topics that do without.
PUBLISHES = {"event_callbacks": PublisherEventCallbacks(use_default_callbacks=False)}
SUBSCRIBES = {"event_callbacks": SubscriptionEventCallbacks(use_default_callbacks=False)}
