"""The recurrent spiking networks in Pong, on one thread: one realisation, and ten side by side.

Run as ``./swm bench rsnn``. Training with everything in it: the emulator, both networks' learning, and
the dreams after every game, as ``rsnn_dream`` does; the other rows leave something out.
"""

import json
import time

from _yardstick import gflops
from rich.console import Console
from rich.progress import track
from rich.table import Table

from spiking_wm_ros.agents.registry import settle
from spiking_wm_ros.agents.rsnn.games import Games
from spiking_wm_ros.process import prepare_to_compute

ENV, GAMES = "PongRam-v0", 40


def steps_per_s(algorithm: str, seeds: int, given: dict, console: Console) -> float:
    """Agent steps per second, over all realisations, after a few games of warm-up."""
    games = Games(ENV, settle(algorithm, ENV, given), range(seeds))
    played = max(4, GAMES // seeds)
    for _ in range(2):
        games.play()
    began = time.perf_counter()
    for _ in track(range(played), f"{algorithm}, {seeds}", console=console, transient=True):
        games.play()
    return played * games.steps_per_game * seeds / (time.perf_counter() - began)


def main() -> None:
    """Measure, print a table, and one JSON object as the last line."""
    prepare_to_compute()
    console = Console(width=100)
    figures = {}
    table = Table(
        "algorithm", "1 realisation", "10 side by side", title=f"agent steps/s, {gflops():.0f} GFLOP/s"
    )
    for algorithm in ("rsnn", "rsnn_dream", "rsnn_published_code"):
        given = {"warmup": 0, "value_first": 0, "learn_after": 0, "dream_after": 0}
        figures[algorithm] = [steps_per_s(algorithm, seeds, given, console) for seeds in (1, 10)]
        table.add_row(algorithm, *(f"{speed:.0f}" for speed in figures[algorithm]))
    table.add_row("bar", "500", "2000")
    table.add_row("published code", "56", "56")
    console.print(table)
    one, ten = figures["rsnn_dream"]
    print(json.dumps({"agent_steps_per_s": round(one, 1), "aggregate_steps_per_s_10": round(ten, 1)}))


if __name__ == "__main__":
    main()
