"""The network between a robot and its policy is cut: two network namespaces, joined by a cable.

`test_link` runs this file, in a process of its own: Fast DDS looks at the network's addresses once in
a process, and here they change.
"""

import ctypes
import os
import shlex
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from spiking_wm_ros.graph.processes import Processes
from spiking_wm_ros.graph.specification import resolve_graph
from test.ros.deployed import T, Watch
from test.ros.graph import client

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET


def ip(*arguments: str, inside: int | None = None) -> None:
    """Run `ip`, in the network of a process if one is given."""
    there = ("nsenter", "-t", str(inside), "-n") if inside else ()
    subprocess.run((*there, "ip", *arguments), check=True)


def _is_up(device: str) -> bool:
    """Whether it is running (some time after it has a carrier): who starts before that never uses it."""
    return subprocess.check_output(("ip", "-brief", "link", "show", device), text=True).split()[1] == "UP"


@contextmanager
def network_of_our_own():
    """This thread, and all that it starts, in a network where only ``here`` is, one end of a cable."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    assert libc.unshare(_NEW_NETWORK) == 0
    try:
        ip("link", "set", "lo", "up")
        ip("link", "add", "here", "type", "veth", "peer", "name", "there")
        ip("addr", "add", "10.77.0.1/24", "dev", "here")
        ip("link", "set", "here", "up")
        yield
    finally:
        assert libc.setns(before, _NEW_NETWORK) == 0
        os.close(before)


@contextmanager
def elsewhere(*command: str):
    """A process in a network of its own, at the other end of the cable."""
    wait = "until ip link show there >/dev/null 2>&1; do sleep 0.05; done"
    up = "ip link set lo up; ip addr add 10.77.0.2/24 dev there; ip link set there up"
    up += "; until ip -brief link show there | grep -q ' UP '; do sleep 0.05; done"
    there = subprocess.Popen(("unshare", "-n", "sh", "-c", f"{wait}; {up}; exec {shlex.join(command)}"))
    try:
        ours = Path("/proc/self/ns/net").stat().st_ino
        theirs = Path(f"/proc/{there.pid}/ns/net")
        while theirs.stat().st_ino == ours:
            time.sleep(0.01)
        ip("link", "set", "there", "netns", str(there.pid))
        while not _is_up("here"):
            time.sleep(0.01)
        yield there
    finally:
        there.terminate()
        there.wait(10)


def test_a_cut_link_stops_the_rover(trained, monkeypatch):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    resolved = resolve_graph("deploy", {"robot": "rover", "policy": str(trained), "simulated": "true"})
    bundle = next(node.parameters["bundle"] for node in resolved.nodes if node.executable == "policy")
    ours = replace(resolved, nodes=[node for node in resolved.nodes if node.executable != "policy"])
    node = (sys.executable, "-m", "spiking_wm_ros.nodes.policy", "--ros-args", "-p", f"bundle:={bundle}")
    with (
        network_of_our_own(),
        elsewhere(*node, "-p", "real_time:=true") as policy,
        client() as made,
        Processes(ours) as processes,
    ):
        rover = Watch(made, processes, resolved)
        rover.until_it_moves()
        ip("link", "set", "there", "down", inside=policy.pid)
        spent = rover.stops_within()
        print(f"ms to the safe command after the link was cut: {spent * 1e3:.0f}")
        assert spent <= 6 * T  # 3 T where nothing else runs
        assert rover.stays()
        rover.made.until(lambda: "no command for" in rover.status["gate"].message)
        ip("link", "set", "there", "up", inside=policy.pid)
        assert rover.stays()  # the link is back: that is no reason to move
        made.until(lambda: rover.ask("manager/bring_up").success, 30.0)
        assert rover.ask("gate/resume").success
        rover.until_it_moves()
