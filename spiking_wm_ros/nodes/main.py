"""Start and end of every node: clean end on SIGINT and SIGTERM, one line of text for user errors."""

import fcntl
import gc
import os
import signal
import sys
import tempfile
from collections.abc import Callable

import rclpy
from rclpy.experimental import EventsExecutor
from rclpy.signals import SignalHandlerOptions

from spiking_wm.core.errors import UserError
from spiking_wm_ros.nodes.node import Node

BAD_INPUT = 2  # exit code
_SIGNALS_EVERY = 0.2  # seconds between two checks for signals, at most


def run(make_node: Callable[[], Node]) -> int:
    """Spin a node until it ends or its process gets a signal; returns 0, or 2 after a user error.

    A node ends itself by raising `SystemExit`; its ``end`` is always called. rclpy's signal handlers would
    shut down the context in the middle of a callback; the handlers here only set a flag.
    """
    signals = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: signals.append(True))
    node = lock = None
    try:
        rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
        node = make_node()
        lock = _claim_name(node)
        # the default executor polls every entity of the node in every turn of its loop, which costs more
        # than a message does; this one gets events
        executor = EventsExecutor()
        executor.add_node(node)
        gc.freeze()  # loaded modules stay; collections that scan them would stall the loop
        while not signals:
            executor.spin_once(timeout_sec=_SIGNALS_EVERY)
            if node.raised:
                raise node.raised
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return BAD_INPUT
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        if node is not None:
            _end(node)
            node.destroy_node()
        if lock is not None:
            os.close(lock)
        rclpy.try_shutdown()
    return 0


def _end(node: Node) -> None:
    """End a node; a user error in it is printed, so that the shutdown continues."""
    try:
        node.end()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)


def _claim_name(node: Node) -> int:
    """Lock a node's name on this machine, because messages of two nodes of the same name would mix.

    The ROS graph cannot be used for this: it lists a killed node for another 20 seconds.

    Raises:
        UserError: if a node of that name runs already.
    """
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    name = node.get_fully_qualified_name().replace("/", ".")
    path = f"{tempfile.gettempdir()}/spiking_wm_ros-{os.getuid()}-{domain}{name}.lock"
    lock = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise UserError(
            f"another {node.get_name()} runs in ROS domain {domain}, namespace {node.get_namespace()}:"
            f" end it, or set another ROS_DOMAIN_ID or namespace:="
        ) from None
    return lock
