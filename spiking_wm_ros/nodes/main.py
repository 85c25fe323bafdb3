"""How every node starts, and ends: cleanly on SIGINT and SIGTERM, with one line on bad input."""

import signal
import sys
from collections.abc import Callable

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from spiking_wm_ros.errors import UserError

BAD_INPUT = 2  # exit code
_LISTENS_EVERY = 0.2  # seconds between looks at signals, at the longest


def run(make_node: Callable[[], Node]) -> int:
    """Spin a node until it ends or its process is asked to; 0, or 2 after bad input.

    A node ends itself by raising `SystemExit`; its ``close`` is called however it ends. rclpy's own
    signal handlers would invalidate everything in the middle of a callback, so ours only take note.
    """
    asked_to_end = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_end.append(True))
    node = None
    try:
        rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
        node = make_node()
        executor = rclpy.executors.SingleThreadedExecutor()
        executor.add_node(node)
        while not asked_to_end:
            executor.spin_once(timeout_sec=_LISTENS_EVERY)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return BAD_INPUT
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
