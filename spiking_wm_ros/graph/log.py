"""Errors of nodes: one line for the user, the traceback in the log file of the run."""

import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from spiking_wm.core.errors import UserError
from spiking_wm.core.files import append_traceback
from spiking_wm.core.game_loop import told

FAILED, BAD_INPUT = 1, 2  # exit codes
_LOG = "SWM_LOG"  # environment variable of nodes: path of the log file
LAUNCHED = "SWM_LAUNCHED"  # environment variable of nodes that ROS's `launch` starts


def environment_of_nodes(log: Path | None) -> Mapping[str, str]:
    """Environment variables that nodes need in addition to those of this process.

    Args:
        log: log file of the run; None: nodes print their tracebacks.
    """
    return {_LOG: str(log)} if log else {}


def tell(error: BaseException) -> int:
    """Print an exception of a node in one line; returns the exit code of the node."""
    unexpected, log = not isinstance(error, UserError), os.environ.get(_LOG)
    text = told(error) if unexpected else str(error)
    if unexpected or error.__cause__:
        if not log:
            traceback.print_exception(error)
            return FAILED if unexpected else BAD_INPUT
        append_traceback(Path(log), error)
        text += f" (traceback in {log})"
    print(f"error: {text}", file=sys.stderr, flush=True)
    return FAILED if unexpected else BAD_INPUT
