"""Quality of service by kind of topic, after REP-2003 and Nav2."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

# Observations and actions: only the newest matters. Our nodes request no acknowledgements, which would
# add traffic to each control step; in lock-step the bridge repeats an observation that is not answered.
# Publishers offer reliability all the same, so that any subscriber can listen.
NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)
OFFERED_NEWEST = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE
)


def of_round(profile: QoSProfile, envs: int) -> QoSProfile:
    """The profile for observations or actions of several copies of the environment, which come together."""
    return QoSProfile(
        depth=profile.depth * envs, reliability=profile.reliability, durability=profile.durability
    )


# Observations that actions are matched with: the newest, and those just before it.
RECENT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)

# Commands to actuators, as for ros2_control's controllers: the newest counts, resent every period.
COMMAND = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE)

# As REP-2003 has it for sensors: fresh rather than complete. Offered reliably, as above.
SENSOR = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)
OFFERED_SENSOR = QoSProfile(
    depth=5, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE
)

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

# Subscriptions to it: one that is dropped (`bad_messages`) does not displace one that matters.
LATCHED_FROM_ALL = QoSProfile(
    depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
