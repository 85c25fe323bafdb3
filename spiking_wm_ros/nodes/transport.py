"""Which machines are heard, and Fast DDS without the shared memory that blocks nodes while others join.

When a participant joins, Fast DDS's discovery thread opens the newcomer's port in shared memory, and checks
that somebody reads it. If two participants check it at a time, one of them waits for a third of a second,
with the lock that every publisher of the process needs: a robot's policy and gate are silent for that long.
UDP on the loopback interface has no such check, and is as fast for messages of these sizes.
"""

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

_RANGE, _TRANSPORTS = "ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTDDS_BUILTIN_TRANSPORTS"
_PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")  # Fast DDS 2 and 3
_LOCALHOST = Path(__file__).with_name("localhost.xml")


def avoid_shared_memory(middleware: str, environment: MutableMapping[str, str] = os.environ) -> None:
    """Set environment variables so that Fast DDS uses UDP only; call it before rclpy starts.

    A user's own choice of transports, profiles or peers is kept. In the range LOCALHOST, rmw_fastrtps chooses
    transports itself; then a profile does what it does, without shared memory.

    Args:
        middleware: the one that is loaded, as rmw_fastrtps_cpp; for another one than Fast DDS nothing is set.
        environment: the variables.
    """
    chosen = (_TRANSPORTS, *_PROFILES, "ROS_STATIC_PEERS")
    if any(environment.get(name) for name in chosen) or "fastrtps" not in middleware:
        return
    if environment.get(_RANGE, "").upper() == "LOCALHOST":
        environment |= {_RANGE: "SYSTEM_DEFAULT"} | dict.fromkeys(_PROFILES, str(_LOCALHOST))
    else:
        environment[_TRANSPORTS] = "UDPv4"


def why_others_are_not_heard(middleware: str, environment: Mapping[str, str] = os.environ) -> str:
    """The setting by which nodes of other machines are not heard, and what to do; empty if there is none.

    Args:
        middleware: the one that is loaded; Zenoh's routers decide themselves.
        environment: the variables, also after `avoid_shared_memory`.
    """
    if "zenoh" in middleware:
        return ""
    local = environment.get(_RANGE, "").upper() == "LOCALHOST"
    if local or environment.get(_PROFILES[0]) == str(_LOCALHOST):
        setting = f"{_RANGE}=LOCALHOST"
    elif environment.get("ROS_LOCALHOST_ONLY") == "1":
        setting = "ROS_LOCALHOST_ONLY=1"
    else:
        return ""
    return f"other machines are not heard ({setting}): give localhost_only:=false if its driver is on one"
