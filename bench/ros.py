"""Round-trip time of the ROS graph (observation, action, next observation) and of an rclpy ping-pong.

Run as ``./swm bench ros``. All messages pass between processes over Fast DDS. The cases are measured in turn
in one run, so that a busy machine affects all. The graph's round trip is one control step: bridge and policy,
including the decision (published actor) and the simulation. The last column adds a dreamer that receives
every transition.
"""

import json
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path

import rclpy
from _yardstick import gflops
from diagnostic_msgs.msg import DiagnosticArray
from rich.console import Console
from rich.table import Table
from std_msgs.msg import Float32MultiArray

from spiking_wm.core.presets import resolve
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from spiking_wm_ros.graph.processes import Processes
from spiking_wm_ros.graph.specification import resolve_graph

ROUNDS, PINGS = 5, 2000
ENV = "InvertedPendulum-v5"  # default environment of `./swm train`
OBSERVATION = [0.1] * 4


def echo() -> None:
    """Answer every ping."""
    rclpy.init()
    node = rclpy.create_node("echo")
    publisher = node.create_publisher(Float32MultiArray, "pong", 10)
    node.create_subscription(Float32MultiArray, "ping", publisher.publish, 10)
    rclpy.spin(node)


def bare_roundtrip_ms() -> float:
    """Median time of PINGS round trips between two plain nodes in separate processes."""
    other = multiprocessing.get_context("spawn").Process(target=echo, daemon=True)
    other.start()
    rclpy.init()
    node = rclpy.create_node("pinger")
    publisher = node.create_publisher(Float32MultiArray, "ping", 10)
    times, sent = [], [0.0]

    def ping() -> None:
        sent[0] = time.perf_counter()
        publisher.publish(Float32MultiArray(data=OBSERVATION))

    def on_pong(_) -> None:
        times.append(time.perf_counter() - sent[0])
        if len(times) < PINGS:
            ping()

    node.create_subscription(Float32MultiArray, "pong", on_pong, 10)
    while not (publisher.get_subscription_count() and node.count_publishers("pong")):
        rclpy.spin_once(node, timeout_sec=0.1)
    time.sleep(0.5)
    ping()
    while len(times) < PINGS:
        rclpy.spin_once(node, timeout_sec=1.0)
    node.destroy_node()
    rclpy.shutdown()
    other.kill()
    other.join()
    return statistics.median(times[200:]) * 1e3


def graph_roundtrip_ms(graph: str, given: dict[str, str]) -> float:
    """Median time between observations of a graph in lock-step."""
    rclpy.init()
    node = rclpy.create_node("listener")
    found: list[float] = []

    def on_diagnostics(message: DiagnosticArray) -> None:
        for status in message.status:
            values = {v.key: v.value for v in status.values}
            if status.name == "bridge" and int(values["steps_applied"]) >= PINGS:
                found.append(float(values["period_median_ms"]))  # of the last 1000

    node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
    with Processes(resolve_graph(graph, given)) as processes:
        while len(found) < 2 and not processes.ended():
            rclpy.spin_once(node, timeout_sec=1.0)
    node.destroy_node()
    rclpy.shutdown()
    return found[-1]


def main() -> None:
    """Measure in turn, print a table, and one JSON object as the last line."""
    os.environ.setdefault("ROS_DOMAIN_ID", "86")
    speed = gflops()
    bare, acting, training = [], [], []
    idle = {"evaluate_every": "0", "dream_every": "0", "checkpoint_every": "0", "env": ENV}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = f"{folder}/checkpoint"
        setup = resolve("popsan_dream", ENV, {"steps": 1, "evaluate_every": 0, "actor_hidden": "[256,256]"})
        train(Run.create(Path(checkpoint), setup, ENV))
        endless = idle | dict.fromkeys(("steps", "learn_after", "policy_every"), "1000000")
        for index in range(ROUNDS):
            bare.append(bare_roundtrip_ms())
            acting.append(graph_roundtrip_ms("evaluate", {"checkpoint": checkpoint, "episodes": "1000000"}))
            training.append(
                graph_roundtrip_ms("train", endless | {"run": f"{folder}/{index}", "warmup": "0"})
            )
    ratios = [g / b for g, b in zip(acting, bare)]
    table = Table(
        "round",
        "bare ping-pong",
        "bridge and policy",
        "ratio",
        "with dreamer",
        title=f"ms, {speed:.0f} GFLOP/s",
    )
    for index, row in enumerate(zip(bare, acting, ratios, training)):
        table.add_row(str(index + 1), *(f"{value:.3f}" for value in row))
    Console(width=100).print(table)
    figures = {
        "roundtrip_ms": round(statistics.median(acting), 4),
        "bare_roundtrip_ms": round(statistics.median(bare), 4),
        "ratio": round(statistics.median(ratios), 3),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
