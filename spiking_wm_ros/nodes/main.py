"""How every node starts, and ends: cleanly on SIGINT and SIGTERM, with one line on bad input."""

import sys
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from spiking_wm_ros.errors import UserError

BAD_INPUT = 2  # exit code


def run(make_node: Callable[[], Node]) -> int:
    """Spin a node until it or its process is shut down; 0, or 2 after bad input.

    A node ends itself by raising `SystemExit`; its ``close`` is called however it ends.
    """
    node = None
    try:
        rclpy.init(args=sys.argv)
        node = make_node()
        rclpy.spin(node)
    except (ExternalShutdownException, KeyboardInterrupt):
        pass
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
