"""Terminal output of a graph started by `./swm`: progress bar, and list of the files at the end."""

import os
import socket
import sys
import time
from contextlib import suppress

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from spiking_wm.core.files import CheckpointFolder
from spiking_wm_ros.cli.conclude import conclude
from spiking_wm_ros.cli.signals import Stopped, heeding, stop
from spiking_wm_ros.graph.ends import exit_code, failure, failure_while_ending
from spiking_wm_ros.graph.parts import ResolvedGraph
from spiking_wm_ros.graph.processes import Processes


def watch(resolved: ResolvedGraph, learning: bool, claim: socket.socket | None = None) -> int:
    """Run a graph to its end and return its exit code.

    Args:
        resolved: the graph.
        learning: True if the graph has a dreamer; its progress is shown.
        claim: of its ROS domain, which the nodes inherit.
    """
    console, processes, failed = Console(markup=False, emoji=False), None, ""
    with heeding(stop):
        try:
            with Processes(resolved, claim) as processes:
                ended = _follow(processes, resolved, console) if learning else _wait(processes)
            failed = failure(resolved, ended)
        except Stopped:
            console.print(
                "stopped; the newest checkpoint is kept" if _saved(resolved, learning) else "stopped"
            )
    if failed:
        return _tell(failed, exit_code(ended))
    unclean, hung = (processes.unclean, processes.hung) if processes else ({}, set())
    if _saved(resolved, learning) and "dreamer" not in unclean:
        if "bridge" in hung:  # the report plays the environment, and would hang, too
            console.print(f"saved in {resolved.run}, without a report", soft_wrap=True)
        else:
            conclude(resolved.run, console)
    return _tell(failure_while_ending(resolved, unclean), exit_code(unclean)) if unclean else 0


def _saved(resolved: ResolvedGraph, learning: bool) -> bool:
    """True if the graph learns in a run that has a checkpoint."""
    return learning and bool(CheckpointFolder(resolved.run / "checkpoints").all())


def _tell(failed: str, code: int) -> int:
    print(f"error: {failed}", file=sys.stderr)
    return code


def _wait(processes: Processes) -> dict[str, int]:
    while not (ended := processes.ended()):
        time.sleep(0.1)
    return ended


def _follow(processes: Processes, resolved: ResolvedGraph, console: Console) -> dict[str, int]:
    """Show the dreamer's status until vital nodes have ended; returns their exit codes."""
    import rclpy  # training in this process needs no ROS
    from diagnostic_msgs.msg import DiagnosticArray

    os.environ |= resolved.reach
    rclpy.init(args=[], signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    node = rclpy.create_node("console", namespace=resolved.namespace)
    name = "/".join(part for part in (resolved.namespace.strip("/"), "dreamer") if part)
    latest: dict[str, str] = {}

    def on_diagnostics(message: DiagnosticArray) -> None:
        for status in message.status:
            figures = {v.key: v.value for v in status.values}
            with suppress(ValueError, KeyError):  # of another node of that name
                if status.name == name and _figures(figures, 0.0) and int(figures["step"]) >= 0:
                    latest.update(figures)

    node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
    columns = (
        TextColumn("{task.fields[phase]:>8}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    try:
        with Progress(*columns, console=console, refresh_per_second=4) as progress:
            task = progress.add_task("", total=resolved.steps or None, phase="starting", figures="")
            began: tuple[float, int] | None = None
            while not (ended := processes.ended()):
                rclpy.spin_once(node, timeout_sec=0.2)
                if "step" not in latest:
                    continue
                step = int(latest["step"])
                began = began or (time.monotonic(), step)
                elapsed = time.monotonic() - began[0]
                speed = (step - began[1]) / elapsed if elapsed > 1 else 0.0
                progress.update(task, completed=step, phase=latest["phase"], figures=_figures(latest, speed))
            progress.update(task, phase="failed" if failure(resolved, ended) else "finished")
            return ended
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _figures(latest: dict[str, str], speed: float) -> str:
    updates, first = int(latest["updates"]), int(latest["updates_first"])
    if updates < first:
        return f"demonstrations {updates}/{first}"
    parts = [f"{speed:.0f}/s"] if speed else []
    for key, text in (("episode_return", "return"), ("evaluation_return", "greedy")):
        if key in latest:
            parts.append(f"{text} {float(latest[key]):.0f}")
    return "  ".join([*parts, f"dreams {latest['dreams']}"])
