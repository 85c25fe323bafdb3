"""Start and end of every node: clean end on SIGINT and SIGTERM, one line of text for user errors."""

import gc
import signal
import sys
from collections.abc import Callable

import rclpy
from rclpy.experimental import EventsExecutor
from rclpy.signals import SignalHandlerOptions

from spiking_wm_ros.graph.claims import claim_name
from spiking_wm_ros.graph.log import tell
from spiking_wm_ros.nodes.node import Node
from spiking_wm_ros.nodes.transport import avoid_shared_memory

_SIGNALS_EVERY = 0.2  # seconds between two checks for signals, at most


def run(make_node: Callable[[], Node]) -> int:
    """Spin a node until it ends or its process gets a signal; returns its exit code.

    It is 0 after a good end and after SIGINT, with which `launch` ends all nodes; 2 after a user error, 1
    after another exception; and 128 + N after SIGTERM or SIGHUP, so that a node that was stopped is not taken
    for one that has finished.

    A node ends itself by raising `SystemExit`; its ``end`` is always called. rclpy's signal handlers would
    shut down the context in the middle of a callback; the handlers here only set a flag.
    """
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, lambda number, _: signals.append(number))
    node = claim = None
    try:
        avoid_shared_memory(rclpy.get_rmw_implementation_identifier())
        rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
        node = make_node()
        claim = claim_name(node.get_fully_qualified_name())
        # the default executor polls every entity of the node in every turn of its loop, which costs more
        # than a message does; this one gets events
        executor = EventsExecutor()
        executor.add_node(node)
        gc.freeze()  # loaded modules stay; collections that scan them would stall the loop
        while not signals:
            executor.spin_once(timeout_sec=_SIGNALS_EVERY)
            if node.raised:
                raise node.raised
        code = 0 if signals[0] == signal.SIGINT else 128 + signals[0]
    except (Exception, KeyboardInterrupt) as error:  # of any kind: the node still saves and ends below
        code = tell(error)
    except SystemExit as ended:
        code = int(ended.code or 0)
    if node is not None:
        try:
            node.end()
        except (Exception, KeyboardInterrupt) as error:  # the shutdown continues
            code = tell(error)
        node.destroy_node()
    if claim is not None:
        claim.close()
    rclpy.try_shutdown()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would kill the interpreter while it ends
    return code
