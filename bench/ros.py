"""Observation to action to observation through the graph, beside a bare rclpy ping-pong.

Run as ``./swm bench ros``. Both cross two processes over Fast DDS. The two are measured in turn, in
one run, so that a busy machine slows both.
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

from spiking_wm_ros.graph.processes import Processes
from spiking_wm_ros.graph.specification import settle_graph

ROUNDS, PINGS = 3, 2000
OBSERVATION = [0.1] * 17  # HalfCheetah-v5's


def echo() -> None:
    """Answer every ping."""
    rclpy.init()
    node = rclpy.create_node("echo")
    publisher = node.create_publisher(Float32MultiArray, "pong", 10)
    node.create_subscription(Float32MultiArray, "ping", publisher.publish, 10)
    rclpy.spin(node)


def bare_roundtrip_ms() -> float:
    """Median of PINGS round trips between two plain nodes, each spinning alone."""
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


def graph_roundtrip_ms() -> float:
    """Median period of lock-step in the train graph, HalfCheetah-v5, the learner only listening."""
    with tempfile.TemporaryDirectory() as folder:
        started = settle_graph(
            "train",
            {
                "env": "HalfCheetah-v5",
                "run": str(Path(folder) / "run"),
                "steps": "1000000",
                "learn_after": "1000000",
                "policy_every": "1000000",
                "warmup": "0",
                "evaluate_every": "0",
                "dream_every": "0",
                "checkpoint_every": "0",
            },
        )
        rclpy.init()
        node = rclpy.create_node("listener")
        found: list[float] = []

        def on_diagnostics(message: DiagnosticArray) -> None:
            for status in message.status:
                values = {v.key: v.value for v in status.values}
                if status.name == "bridge" and int(values["steps_applied"]) >= PINGS:
                    found.append(float(values["period_median_ms"]))  # of the last 1000

        node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
        with Processes(started) as processes:
            while len(found) < 2 and not processes.ended():
                rclpy.spin_once(node, timeout_sec=1.0)
        node.destroy_node()
        rclpy.shutdown()
    return found[-1]


def main() -> None:
    """Measure in turn, print a table, and one JSON object as the last line."""
    os.environ.setdefault("ROS_DOMAIN_ID", "86")
    speed = gflops()
    bare, graph = [], []
    for _ in range(ROUNDS):
        bare.append(bare_roundtrip_ms())
        graph.append(graph_roundtrip_ms())
    ratios = [g / b for g, b in zip(graph, bare)]
    table = Table("round", "bare ping-pong, ms", "obs→action→obs, ms", "ratio", title=f"{speed:.0f} GFLOP/s")
    for index, row in enumerate(zip(bare, graph, ratios)):
        table.add_row(str(index + 1), *(f"{value:.3f}" for value in row))
    Console(width=100).print(table)
    figures = {
        "roundtrip_ms": round(statistics.median(graph), 4),
        "bare_roundtrip_ms": round(statistics.median(bare), 4),
        "ratio": round(statistics.median(ratios), 3),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
