"""Start a graph's nodes as child processes, from the same specification as with ROS's `launch`."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from spiking_wm_ros.graph.ends import failed_while_ending, how_it_ended
from spiking_wm_ros.graph.log import environment_of_nodes
from spiking_wm_ros.graph.parts import NodeSpec, ResolvedGraph

_PATIENCE, _SAVING = 6.0, 25.0  # seconds that nodes have to end after SIGTERM; that the dreamer has, to save
# prefix of commands: nodes get SIGTERM if this process is killed, so no robot drives on unattended
END_WITH_PARENT = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []


def write_parameters(node: NodeSpec, folder: Path) -> Path:
    """Write the parameters of a node into a ROS parameter file in a folder; returns the file."""
    file = folder / f"{node.executable}.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": node.parameters}}))
    return file


class Processes:
    """The nodes of a graph as child processes.

    Use it as a context manager: leaving it ends all nodes. Leave it when a vital node has `ended`. Afterwards
    ``unclean`` holds exit codes of the nodes that failed when they were asked to end, and of vital ones that
    failed before; ``hung`` names those that had to be killed.

    Args:
        resolved: the graph.
        claim: of its ROS domain (`claim_graph`), which the nodes inherit.
    """

    def __init__(self, resolved: ResolvedGraph, claim: socket.socket | None = None):
        self._inherited = (claim.fileno(),) if claim else ()
        self._folder = tempfile.TemporaryDirectory(prefix="swm-")
        self._vital = {node.executable for node in resolved.nodes if node.vital}
        self._missed: set[str] = set()  # nodes whose end has been printed
        self._children: dict[str, subprocess.Popen] = {}
        self.unclean: dict[str, int] = {}
        self.hung: set[str] = set()
        try:
            for node in resolved.nodes:
                with _signals_later():  # none may come between the start and the entry
                    self._children[node.executable] = self._start(node, resolved)
        except BaseException:  # Ctrl-C, too
            self.__exit__()
            raise

    def _start(self, node: NodeSpec, resolved: ResolvedGraph) -> subprocess.Popen:
        file = write_parameters(node, Path(self._folder.name))
        ros = ["--params-file", str(file), "-r", f"__ns:=/{resolved.namespace.strip('/')}"]
        if resolved.params_file:
            ros += ["--params-file", resolved.params_file]
        ros += ["--log-level", resolved.log_level, "--enclave", resolved.enclave(node)]
        module = f"spiking_wm_ros.nodes.{node.executable}"
        command = [*END_WITH_PARENT, sys.executable, "-m", module, "--ros-args", *ros]
        # in a new session: Ctrl-C in the terminal reaches only this process, which ends all nodes
        environment = os.environ | environment_of_nodes(resolved.log) | resolved.reach
        return subprocess.Popen(command, start_new_session=True, pass_fds=self._inherited, env=environment)

    def ended(self) -> dict[str, int]:
        """Exit codes of the vital nodes that have ended. The end of other nodes is printed once."""
        codes = {name: child.poll() for name, child in self._children.items()}
        ended = {name: code for name, code in codes.items() if code is not None}
        for name in ended.keys() - self._vital - self._missed:
            self._missed.add(name)
            how = how_it_ended(name, ended[name])
            print(f"warning: {how}; the others go on", file=sys.stderr, flush=True)
        return {name: code for name, code in ended.items() if name in self._vital}

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_) -> None:
        running = {name for name, child in self._children.items() if child.poll() is None}
        self._missed |= self._children.keys()  # they are ended here: that is no news
        try:
            self._ask_to_end(running)
        finally:
            for child in self._children.values():
                child.kill()
                child.wait()
            self._folder.cleanup()
        self.unclean = {
            name: child.returncode
            for name, child in self._children.items()
            if name in self._vital | running and failed_while_ending(name, child.returncode)
        }

    def _ask_to_end(self, running: set[str]) -> None:
        began = time.monotonic()
        for name in running:
            self._children[name].send_signal(signal.SIGTERM)
        for name in sorted(running, key=patience):
            try:
                self._children[name].wait(max(0.0, began + patience(name) - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.hung.add(name)
                print(
                    f"warning: {name} did not end within {patience(name):g} s: it is killed", file=sys.stderr
                )
                self._children[name].kill()


@contextmanager
def _signals_later() -> Iterator[None]:
    """Context at whose end signals are handled that came meanwhile; their handlers may raise exceptions."""
    came: list[int] = []
    # what is ignored stays ignored, in nodes too; and only the main thread handles signals
    handled = {
        n: h for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if callable(h := signal.getsignal(n))
    }
    if threading.current_thread() is not threading.main_thread():
        handled = {}
    for number in handled:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


def patience(name: str) -> float:
    """Seconds that a node has to end after it was asked to."""
    return _SAVING if name == "dreamer" else _PATIENCE
