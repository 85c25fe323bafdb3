"""Fast DDS without its shared memory, which blocks nodes that act while others join.

When a participant joins, Fast DDS's discovery thread opens the newcomer's port in shared memory, and checks
that somebody reads it. If two participants check it at a time, one of them waits for a third of a second,
with the lock that every publisher of the process needs: a robot's policy and gate are silent for that long.
UDP on the loopback interface has no such check, and is as fast for messages of these sizes.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path

_RANGE, _TRANSPORTS = "ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTDDS_BUILTIN_TRANSPORTS"
_PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")  # Fast DDS 2 and 3
_LOCALHOST = Path(__file__).with_name("localhost.xml")


def avoid_shared_memory(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set environment variables so that Fast DDS uses UDP only; call it before rclpy starts.

    A user's own choice of transports, profiles, peers or middleware is kept. In the range LOCALHOST,
    rmw_fastrtps chooses transports itself; then a profile does what it does, without shared memory.
    """
    chosen = (_TRANSPORTS, *_PROFILES, "ROS_STATIC_PEERS")
    others = environment.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp"
    if any(environment.get(name) for name in chosen) or "fastrtps" not in others:
        return
    if environment.get(_RANGE, "").upper() == "LOCALHOST":
        environment |= {_RANGE: "SYSTEM_DEFAULT"} | dict.fromkeys(_PROFILES, str(_LOCALHOST))
    else:
        environment[_TRANSPORTS] = "UDPv4"
