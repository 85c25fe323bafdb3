"""A graph whose nodes ROS's `launch` runs: how they start and end, and what comes after them.

It does for `ros2 launch` what `processes` and the console of `./swm` do, with the same words.
"""

import asyncio
import re
import shlex
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import (
    SIG_BLOCK,
    SIG_UNBLOCK,
    SIGINT,
    SIGKILL,
    default_int_handler,
    getsignal,
    pthread_sigmask,
    signal,
)
from typing import Any

from launch.actions import EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessExit, OnProcessStart, OnShutdown
from launch.events import Shutdown, matches_action
from launch.events.process import ProcessExited, ProcessStarted, ShutdownProcess, SignalProcess
from launch.logging import get_logger
from launch_ros.actions import Node

from launch import Action, Event, EventHandler, LaunchContext, LaunchDescriptionEntity
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import CheckpointFolder
from spiking_wm_ros.graph.ends import failed_while_ending, failure, failure_while_ending, how_it_ended
from spiking_wm_ros.graph.log import LAUNCHED, environment_of_nodes
from spiking_wm_ros.graph.parts import NodeSpec, ResolvedGraph
from spiking_wm_ros.graph.processes import END_WITH_PARENT, patience, write_parameters

# Ctrl-C in a terminal signals all processes of its session, also those that have no handler yet. So nodes are
# started in sessions of their own, with SIGINT blocked until they have one, and get it from here.
_STARTED = ["setsid", "env", "--block-signal=INT", *END_WITH_PARENT]
_CONCLUDES = ["setsid", *END_WITH_PARENT, sys.executable, "-m", "spiking_wm_ros.cli.conclude"]


class _Failed(Event):
    """A graph has failed: `launch` is to end with another exit code than 0."""

    name = "spiking_wm_ros.Failed"


class _CtrlC:
    """While graphs run, Ctrl-C raises no `KeyboardInterrupt`, with which `launch` would lose an event.

    `launch` hears of it all the same, by the file descriptor of `signal.set_wakeup_fd`.
    """

    def __init__(self) -> None:
        self._graphs, self._before = 0, getsignal(SIGINT)
        self.pressed = False  # since the first of the graphs was started
        self._reports: set[asyncio.subprocess.Process] = set()

    def hold(self) -> None:
        """A graph is about to start."""
        if not self._graphs:
            self.pressed, self._before = False, signal(SIGINT, self._press)
        self._graphs += 1

    def release(self) -> None:
        """It has ended, or was not started."""
        self._graphs -= 1
        if not self._graphs:
            signal(SIGINT, self._before)

    @contextmanager
    def kept_back(self) -> Iterator[None]:
        """Context in which it reaches neither this process nor its children (as one that looks for GLFW)."""
        pthread_sigmask(SIG_BLOCK, [SIGINT])
        try:
            yield
        finally:
            pthread_sigmask(SIG_UNBLOCK, [SIGINT])

    async def report(self, run: Path) -> int:
        """Report a run in a process that Ctrl-C, passed on to it, skips; returns its exit code."""
        with self.kept_back():  # from the process, too, until it is ready for it
            report = await asyncio.create_subprocess_exec(*_CONCLUDES, str(run))
            self._reports.add(report)
        code = await report.wait()
        self._reports.remove(report)
        return code

    def _press(self, *of_signal: Any) -> None:
        self.pressed = True
        for report in self._reports:
            with suppress(ProcessLookupError):
                report.send_signal(SIGINT)
        if callable(self._before) and self._before is not default_int_handler:
            self._before(*of_signal)


ctrl_c = _CtrlC()


class LaunchedGraph:
    """A graph in a launch.

    When a vital node ends, the graph ends, and the launch with it if nothing else runs.

    Args:
        name: of the graph.
        resolved: the graph.
        claim: of its ROS domain; None for observers. It is closed when all nodes have ended.
        command: that starts the graph, for its run.
        context: of the launch.
    """

    def __init__(
        self,
        name: str,
        resolved: ResolvedGraph,
        claim: socket.socket | None,
        command: str,
        context: LaunchContext,
    ):
        self._name, self._resolved, self._claim, self._context = name, resolved, claim, context
        self._log = get_logger(f"{name}.launch.py")
        self._environment = {**environment_of_nodes(resolved.log), **resolved.reach}
        self._environment |= {"SWM_COMMAND": command, LAUNCHED: "1"}
        self._folder = tempfile.TemporaryDirectory(prefix="swm-")  # removed with this process at the latest
        self._nodes = {self._node(node): node for node in resolved.nodes}
        self._started: set[Action] = set()
        self._left = set(self._nodes)
        self._ending = False
        self._ended: dict[str, int] = {}  # exit codes of vital nodes that were not asked to end
        self._asked: dict[str, int] = {}  # exit codes of nodes that were
        self._failed = _Failed()

    @property
    def actions(self) -> list[LaunchDescriptionEntity]:
        """The handlers of the nodes' events, and the nodes."""
        handlers = [
            OnProcessStart(target_action=self._is_own, on_start=self._on_start),
            OnProcessExit(target_action=self._is_own, on_exit=self._on_exit),
            OnShutdown(on_shutdown=self._on_shutdown),
            EventHandler(
                matcher=lambda event: event is self._failed, entities=[OpaqueFunction(function=self._raise)]
            ),
        ]
        return [*map(RegisterEventHandler, handlers), *self._nodes]

    def _node(self, node: NodeSpec) -> Node:
        resolved = self._resolved
        file = write_parameters(node, Path(self._folder.name))  # `launch` would never remove its own
        return Node(
            package="spiking_wm_ros",
            executable=node.executable,
            namespace=f"/{resolved.namespace}",
            parameters=[str(file), *([resolved.params_file] if resolved.params_file else [])],
            arguments=["--ros-args", "--log-level", resolved.log_level, "--enclave", resolved.enclave(node)],
            prefix=f"{shlex.join(_STARTED)} {self._users_prefix(node.executable)}",
            exec_name=node.executable,  # in its output, instead of the prefix
            additional_env=self._environment,
            output="screen",
            sigterm_timeout=f"{patience(node.executable):g}",
        )

    def _users_prefix(self, executable: str) -> str:
        """The prefix of ``ros2 launch --launch-prefix``, which `launch` leaves out where there is another."""
        given = self._context.launch_configurations
        chosen = re.match(given.get("launch-prefix-filter", ""), executable)
        return given.get("launch-prefix", "") if chosen else ""

    def _is_own(self, action: Action) -> bool:
        return action in self._nodes

    # --- the end ---

    def _on_start(self, event: ProcessStarted, _: LaunchContext) -> EmitEvent | None:
        self._started.add(event.action)
        return _interrupt(event.action) if self._context.is_shutdown else None

    def _on_shutdown(self, event: Shutdown, _: LaunchContext) -> list[EmitEvent]:
        """On Ctrl-C in a terminal, `launch` takes the nodes for signalled by it, as these are not."""
        self._ending = True
        by_terminal = event.due_to_sigint and not self._context.noninteractive
        return [_interrupt(node) for node in self._started] if by_terminal else []

    def _on_exit(self, event: ProcessExited, _: LaunchContext) -> EmitEvent | None:
        node, code, asked = self._nodes[event.action], event.returncode, self._ending
        self._left.discard(event.action)
        if asked:
            self._asked[node.executable] = code
        elif node.vital:
            self._ending, self._ended[node.executable] = True, code
        else:
            self._log.warning(f"{how_it_ended(node.executable, code)}; the others go on")
        if not self._left:
            self._conclude()
        elif node.vital and not asked:
            return EmitEvent(event=ShutdownProcess(process_matcher=self._is_own))
        return None

    def _conclude(self) -> None:
        """Free everything, tell what failed, and begin to report the run."""
        self._folder.cleanup()
        if self._claim:
            self._claim.close()
        unclean = {name: code for name, code in self._asked.items() if failed_while_ending(name, code)}
        failed = failure(self._resolved, self._ended)
        reports = not failed and "dreamer" not in unclean and self._has_learned()
        if unclean and not failed:
            failed = failure_while_ending(self._resolved, unclean)
        if failed:
            self._log.error(failed)
            self._fail()
        self._context.add_completion_future(self._context.asyncio_loop.create_task(self._report(reports)))

    def _has_learned(self) -> bool:
        saved = CheckpointFolder(self._resolved.run / "checkpoints").all()
        return self._name in ("train", "dream") and bool(saved)

    async def _report(self, reports: bool) -> None:
        run = self._resolved.run
        if reports and self._asked.get("bridge") == -SIGKILL:  # its environment hangs, and would again
            self._log.info(f"saved in {run}, without a report")
        elif reports and await ctrl_c.report(run):
            self._fail()
        ctrl_c.release()

    def _fail(self) -> None:
        """Have `launch` fail at its end; whatever else it runs goes on."""
        if self._context.is_shutdown:
            self._context.emit_event_sync(self._failed)
        else:
            at_end = OnShutdown(on_shutdown=[EmitEvent(event=self._failed)])
            self._context.register_event_handler(at_end)

    def _raise(self, _: LaunchContext) -> None:
        raise UserError(f"{self._name}.launch.py has failed, see above")


def _interrupt(node: Action) -> EmitEvent:
    return EmitEvent(event=SignalProcess(signal_number=SIGINT, process_matcher=matches_action(node)))
