"""Round-trip time of the ROS graph (observation, action, next observation) and of an rclpy ping-pong.

Run as ``./swm bench ros``. All messages pass between processes over Fast DDS. The cases are measured in turn
in one run, so that a busy machine affects all. The graph's round trip is one control step: bridge and policy,
including the decision (published actor) and the simulation, which are timed alone too. The last column adds a
dreamer that receives every transition. ``SWM_BENCH_ROUNDS`` is the number of turns (5).
"""

import json
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import gymnasium as gym
import numpy as np
import rclpy
from _yardstick import gflops, median_ms
from diagnostic_msgs.msg import DiagnosticArray
from rich.console import Console
from rich.table import Table
from std_msgs.msg import Float32MultiArray

from spiking_wm import load_policy
from spiking_wm.core.presets import resolve
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from spiking_wm_ros.graph.processes import Processes
from spiking_wm_ros.graph.specification import resolve_graph

ROUNDS, PINGS = int(os.environ.get("SWM_BENCH_ROUNDS", "5")), 2000
ENV = "InvertedPendulum-v5"  # default environment of `./swm train`
OBSERVATION = [0.1] * 4


class Times(NamedTuple):
    """Of round trips, in milliseconds."""

    median: float
    p99: float


def echo() -> None:
    """Answer every ping."""
    rclpy.init()
    node = rclpy.create_node("echo")
    publisher = node.create_publisher(Float32MultiArray, "pong", 10)
    node.create_subscription(Float32MultiArray, "ping", publisher.publish, 10)
    rclpy.spin(node)


def bare_roundtrips() -> Times:
    """PINGS round trips between two plain nodes in separate processes."""
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
    return Times(*np.percentile(times[200:], (50, 99)) * 1e3)


def graph_roundtrips(graph: str, given: dict[str, str]) -> Times:
    """Times between observations of a graph in lock-step."""
    rclpy.init()
    node = rclpy.create_node("listener")
    found: list[Times] = []

    def on_diagnostics(message: DiagnosticArray) -> None:
        for status in message.status:
            values = {v.key: v.value for v in status.values}
            if status.name == "bridge" and int(values["steps_applied"]) >= PINGS:
                found.append(Times(float(values["period_median_ms"]), float(values["period_p99_ms"])))

    node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
    with Processes(resolve_graph(graph, given)) as processes:
        while len(found) < 2 and not processes.ended():
            rclpy.spin_once(node, timeout_sec=1.0)
    node.destroy_node()
    rclpy.shutdown()
    return found[-1]


def decision_ms(checkpoint: str) -> float:
    """Median time of a greedy decision alone."""
    player, observation = load_policy(checkpoint), np.array(OBSERVATION)
    return median_ms(lambda: player.act(observation), PINGS, warmup=200)


def simulation_ms() -> float:
    """Median time of a step of the environment alone, with an action that keeps the episode going."""
    env = gym.make(ENV).unwrapped
    env.reset(seed=0)
    action = np.zeros(env.action_space.shape, np.float32)
    return median_ms(lambda: env.step(action), PINGS, warmup=200)


def main() -> None:
    """Measure in turn, print a table, and one JSON object as the last line."""
    os.environ.setdefault("ROS_DOMAIN_ID", "86")
    speed = gflops()
    rows: list[tuple[Times, Times, float, float, Times]] = []
    idle = {"evaluate_every": "0", "dream_every": "0", "checkpoint_every": "0", "env": ENV}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = f"{folder}/checkpoint"
        setup = resolve("popsan_dream", ENV, {"steps": 1, "evaluate_every": 0, "actor_hidden": "[256,256]"})
        train(Run.create(Path(checkpoint), setup, ENV))
        endless = idle | dict.fromkeys(("steps", "learn_after", "policy_every"), "1000000")
        acting = {"checkpoint": checkpoint, "episodes": "1000000"}
        for index in range(ROUNDS):
            training = endless | {"run": f"{folder}/{index}", "warmup": "0"}
            row = bare_roundtrips(), graph_roundtrips("evaluate", acting), decision_ms(checkpoint)
            rows.append((*row, simulation_ms(), graph_roundtrips("train", training)))
    names = (
        "bare ping-pong",
        "bridge and policy",
        "more than bare",
        "decision",
        "simulation",
        "with dreamer",
    )
    table = Table("turn", *names, title=f"ms (99th percentile), {speed:.0f} GFLOP/s")
    for turn, (bare, graph, decision, simulation, dreamer) in enumerate(rows, start=1):
        shown = [f"{median:.3f} ({p99:.2f})" for median, p99 in (bare, graph, dreamer)]
        alone = [f"{value:.3f}" for value in (graph.median - bare.median, decision, simulation)]
        table.add_row(str(turn), *shown[:2], *alone, shown[2])
    Console(width=110).print(table)
    bares, graphs, decisions, simulations, _ = zip(*rows)
    figures = {
        "roundtrip_ms": np.median([each.median for each in graphs]),
        "roundtrip_p99_ms": np.median([each.p99 for each in graphs]),
        "bare_roundtrip_ms": np.median([each.median for each in bares]),
        "ratio": np.median([g.median / b.median for g, b in zip(graphs, bares)]),
        "p99_to_median": np.median([each.p99 / each.median for each in graphs]),
        "decision_ms": np.median(decisions),
        "simulation_ms": np.median(simulations),
    }
    print(json.dumps({name: round(float(value), 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
