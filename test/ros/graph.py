"""Helpers to start graphs in tests and to talk to their nodes."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor

from spiking_wm_ros.graph.parts import ResolvedGraph
from spiking_wm_ros.graph.processes import Processes
from spiking_wm_ros.graph.specification import resolve_graph


class Client:
    """A node of the test, spun while it waits."""

    def __init__(self, namespace: str = ""):
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node("test", namespace=namespace, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._clients = {}

    def until(self, condition: Callable[[], object], seconds: float = 60.0) -> object:
        """Spin until the condition holds; fail after some seconds."""
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            assert time.monotonic() < deadline, f"not within {seconds} s"
            self._executor.spin_once(timeout_sec=0.01)
        return result

    def done(self, future, seconds: float = 60.0):
        """The result of a future."""
        self.until(future.done, seconds)
        return future.result()

    def listen(self, kind, topic: str, profile) -> list:
        """All messages of a topic from now on."""
        heard = []
        self.node.create_subscription(kind, topic, heard.append, profile)
        return heard

    def call(self, kind, name: str, request=None):
        """Call a service; returns its response and the seconds it took.

        A new client's first call takes some 80 ms more: until the server has discovered it too.
        """
        if new := name not in self._clients:
            self._clients[name] = self.node.create_client(kind, name)
        client = self._clients[name]
        self.until(client.service_is_ready)
        if new:  # a server that has not discovered it within 0.1 s drops its response
            time.sleep(0.5)
        began = time.monotonic()
        response = self.done(client.call_async(request or kind.Request()))
        return response, time.monotonic() - began

    def close(self) -> None:
        """End the node."""
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


@contextmanager
def client(namespace: str = ""):
    """A `Client` that is closed at the end."""
    made = Client(namespace)
    try:
        yield made
    finally:
        made.close()


def children(process: int, named: str) -> list[int]:
    """Processes that a process has started, whose command lines have this in them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process and named in (folder / "cmdline").read_text():
                found.append(int(folder.name))
    return found


def _commands(process: int) -> list[str]:
    return [Path(f"/proc/{child}/cmdline").read_text() for child in children(process, "")]


def kill_child(processes: Processes, node: str, named: str) -> None:
    """Kill the process that a node has started, as the policy has its simulated chip."""
    late = time.monotonic() + 20
    while len(found := children(processes._children[node].pid, named)) != 1:
        assert time.monotonic() < late, _commands(processes._children[node].pid)
        time.sleep(0.02)
    os.kill(found[0], signal.SIGKILL)


def send(processes: Processes, name: str, number: int) -> None:
    """Send a signal to a node and all that it has started."""
    os.killpg(processes._children[name].pid, number)


def start_again(processes: Processes, resolved: ResolvedGraph, name: str) -> None:
    """Start a node that has been killed once more."""
    processes._children[name].wait()
    node = next(node for node in resolved.nodes if node.executable == name)
    processes._children[name] = processes._start(node, resolved)


def wait_for_end(processes: Processes, seconds: float = 120.0) -> dict[str, int]:
    """Exit codes once a node has ended."""
    deadline = time.monotonic() + seconds
    while not (ended := processes.ended()):
        assert time.monotonic() < deadline, f"the graph did not end within {seconds} s"
        time.sleep(0.05)
    return ended


def run_to_end(name: str, given: dict) -> None:
    """Start a graph and wait for its good end."""
    with Processes(resolve_graph(name, {k: str(v) for k, v in given.items()})) as processes:
        ended = wait_for_end(processes)
    assert set(ended.values()) == {0}, ended
