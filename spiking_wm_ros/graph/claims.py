"""ROS domains and names in them, claimed by one graph or node at a time.

A claim is a Unix socket bound to an abstract name. The kernel gives a name to one process at a time, in all
of a machine's network namespace: as far as nodes of this machine hear each other, whatever their user and
TMPDIR. It frees the name once every process that has inherited the socket has ended, also after kill -9.
The ROS graph itself cannot tell: it lists a killed node for another 20 seconds.
"""

import errno
import hashlib
import os
import socket

from spiking_wm.core.errors import UserError

_DOMAINS = range(102)  # whose ports are below those that Linux gives to other programs
_LAST = 232  # whose ports are below 65536


def domain() -> int:
    """The ROS domain of this process.

    Raises:
        UserError: if ROS_DOMAIN_ID is not the number of a domain.
    """
    given = os.environ.get("ROS_DOMAIN_ID", "").strip() or "0"
    if not (given.isascii() and given.isdigit() and int(given) <= _LAST):
        raise UserError(f"ROS_DOMAIN_ID={given} is not a whole number from 0 to {_LAST}")
    return int(given)


def claim_name(name: str) -> socket.socket:
    """Claim a node's full name in this process's ROS domain, until the returned socket is closed.

    Raises:
        UserError: if a node of that name runs already.
    """
    namespace, _, node = name.rpartition("/")
    if claimed := _claim(domain(), name):
        return claimed
    raise UserError(
        f"another {node} runs in ROS domain {domain()}, namespace {namespace or '/'}:"
        " end it, or set another ROS_DOMAIN_ID or namespace:="
    )


def claim_graph(namespace: str, anywhere: bool) -> socket.socket:
    """Claim a namespace of a ROS domain for a graph; ROS_DOMAIN_ID of this process is that domain afterwards.

    Args:
        namespace: ROS namespace of the graph.
        anywhere: if ROS_DOMAIN_ID is not set, take the first domain that is free, else domain 0.

    Returns:
        The claim, which processes of the graph inherit. Close it once they have ended.

    Raises:
        UserError: if another graph has the domain's namespace.
    """
    chosen = bool(os.environ.get("ROS_DOMAIN_ID", "").strip())
    for number in _DOMAINS if anywhere and not chosen else [domain()]:
        if claimed := _claim(number, _graph(namespace)):
            os.environ["ROS_DOMAIN_ID"] = str(number)
            return claimed
    raise UserError(
        f"another graph runs in ROS domain {domain()}, namespace /{namespace.strip('/')}:"
        " end it, or set another ROS_DOMAIN_ID or namespace:="
    )


def _graph(namespace: str) -> str:
    return f"graph of /{namespace.strip('/')}"


def _claim(number: int, name: str) -> socket.socket | None:
    """A socket bound to a name that stands for ``name`` in a domain; None if another process has it."""
    claimed = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    digest = hashlib.sha256(name.encode()).hexdigest()  # names of sockets are at most 107 bytes long
    try:
        claimed.bind(f"\0spiking_wm_ros/{number}/{digest}")
    except OSError as error:
        claimed.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return claimed
