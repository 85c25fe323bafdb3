"""The end of a graph in words: which node ended how, what to do next, and the command's exit code.

Exit codes of `./swm`: 0 after a good end, also if a signal stopped a graph and everything is saved; 1 if a
node was killed or failed, or after a defect of the command; 2 after an error that its message says how to
mend; 128 + N if signal N came before anything was started, or as the second one.
"""

import shlex
import signal
from collections.abc import Mapping

from spiking_wm.core.files import CheckpointFolder
from spiking_wm_ros.graph.log import BAD_INPUT, FAILED
from spiking_wm_ros.graph.parts import ResolvedGraph

_FINISHES = ("dreamer", "bridge")  # the first of these that is vital ends a graph, by exit code 0


def how_it_ended(name: str, code: int) -> str:
    """The end of a node in words, from its exit code (below 0: minus the signal that killed it)."""
    if code < 0:
        reason = "; if nobody did it, memory ran out" if -code == signal.SIGKILL else ""
        return f"{name} was killed ({_signal(-code)}{reason})"
    if code > 128:
        return f"{name} was stopped ({_signal(code - 128)})"
    if code == BAD_INPUT:
        return f"{name} ended with an error, see above"
    return f"{name} ended unexpectedly (exit code {code}), see above"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def failure(resolved: ResolvedGraph, ended: Mapping[str, int]) -> str:
    """What failed, if vital nodes have ended too early, and what to do next; empty after a good end.

    Args:
        resolved: the graph; all its nodes have ended.
        ended: exit codes of its vital nodes that ended first.
    """
    vital = [node.executable for node in resolved.nodes if node.vital]
    finishes = next((name for name in _FINISHES if name in vital), "")
    failed = [how_it_ended(name, code) for name, code in ended.items() if code or name != finishes]
    return f"{', '.join(failed)}: {_next_step(resolved)}" if failed else ""


def failed_while_ending(name: str, code: int) -> bool:
    """True if a node failed that was asked to end. A dreamer that had to be killed may not have saved."""
    return 0 < code < 128 or (name == "dreamer" and code == -signal.SIGKILL)


def failure_while_ending(resolved: ResolvedGraph, unclean: Mapping[str, int]) -> str:
    """What failed when the nodes were asked to end, and what to do next.

    Args:
        resolved: the graph; all its nodes have ended.
        unclean: exit codes of the nodes that failed.
    """
    learns = any(node.executable == "dreamer" for node in resolved.nodes)
    saved = learns and "dreamer" not in unclean
    next_step = "what was learned is saved" if saved else _next_step(resolved)
    return f"{', '.join(how_it_ended(name, code) for name, code in unclean.items())}: {next_step}"


def exit_code(ended: Mapping[str, int]) -> int:
    """Exit code of a command whose graph has failed."""
    return BAD_INPUT if BAD_INPUT in ended.values() else FAILED


def _next_step(resolved: ResolvedGraph) -> str:
    names = {node.executable for node in resolved.nodes}
    trains = {"bridge", "dreamer"} <= names
    if trains and CheckpointFolder(resolved.run / "checkpoints").all():
        return f"go on by ./swm train {shlex.quote(f'resume:={resolved.run}')}"
    if "gate" in names:
        return "the robot was stopped; look at it, then start the graph again"
    return "start it again"
