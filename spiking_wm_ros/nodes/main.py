"""How every node starts, and ends: cleanly on SIGINT and SIGTERM, with one line on bad input."""

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
_LISTENS_EVERY = 0.2  # seconds between looks at signals, at the longest


def run(make_node: Callable[[], Node]) -> int:
    """Spin a node until it ends or its process is asked to; 0, or 2 after bad input.

    A node ends itself by raising `SystemExit`; its ``end`` is called however it ends. rclpy's own
    signal handlers would invalidate everything in the middle of a callback, so ours only take note.
    """
    asked_to_end = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_end.append(True))
    node = lock = None
    try:
        rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
        node = make_node()
        lock = _claim_name(node)
        # the default executor looks at everything the node has on every turn of its loop, which costs
        # more than a message does; this one is told what came
        executor = EventsExecutor()
        executor.add_node(node)
        gc.freeze()  # what is loaded stays; looking through it over and over stalls the loop
        while not asked_to_end:
            executor.spin_once(timeout_sec=_LISTENS_EVERY)
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
    """Whatever its end has to say, what comes after it is done."""
    try:
        node.end()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)


def _claim_name(node: Node) -> int:
    """Lock a node's name on this machine; two of one name would mix up their messages.

    The graph itself cannot tell: a killed node is listed for another 20 seconds.

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
