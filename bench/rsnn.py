"""Training speed of recurrent spiking networks in Pong on one thread, with one and with ten realisations.

Run as ``./swm bench rsnn``. The row ``rsnn_dream`` includes everything: emulator, learning of both networks,
and dreams; other rows leave something out. Dreams become rarer during training, so games followed by a dream
and other games are measured separately. The row for all games is the mean over a whole run, weighted by the
frequency of both kinds. The last line is its JSON, for one and for ten realisations.
"""

import json
import time

import gymnasium as gym
import numpy as np
from _yardstick import gflops
from rich.console import Console
from rich.progress import track
from rich.table import Table

from spiking_wm.agents.rsnn.games import Games
from spiking_wm.core.presets import resolve
from spiking_wm.core.process import prepare_to_compute

ENV, GAMES, LEAST = "PongRam-v0", 40, 4  # games of all realisations; of each at least


def steps_per_s(algorithm: str, seeds: int, given: dict, console: Console) -> float:
    """Agent steps per second, over all realisations, after a few games of warm-up."""
    games = Games(ENV, resolve(algorithm, ENV, given), range(seeds))
    played = max(LEAST, GAMES // seeds)
    for _ in range(2):
        games.play()
    began = time.perf_counter()
    for _ in track(range(played), f"{algorithm}, {seeds}", console=console, transient=True):
        games.play()
    return played * games.steps_per_game * seeds / (time.perf_counter() - began)


def over_the_run(asleep: float, awake: float) -> float:
    """Mean speed over all games of a run, from the speeds of games with and without a dream."""
    setup = resolve("rsnn_dream", ENV, {})
    run, game = setup.schedule, gym.spec(ENV).max_episode_steps
    share = np.mean([run.dream.due(step) for step in range(game, run.steps + 1, game)])
    return 1 / (share / asleep + (1 - share) / awake)


def main() -> None:
    """Measure, print a table, and one JSON object as the last line."""
    prepare_to_compute()
    console = Console(width=100)
    figures = {}
    table = Table(
        "algorithm", "1 realisation", "10 side by side", title=f"agent steps/s, {gflops():.0f} GFLOP/s"
    )
    at_once = {"warmup": 0, "policy.learn_after": 0, "learn_after": 0, "dream.after": 0, "dream.halving": 0}
    rows = (
        ("rsnn, no model", "rsnn", at_once),
        ("rsnn_dream, games without a dream", "rsnn_dream", at_once | {"dream.every": 0}),
        ("rsnn_dream, games with a dream", "rsnn_dream", at_once),
        ("rsnn_published_code", "rsnn_published_code", at_once),
    )
    for text, algorithm, given in rows:
        figures[text] = [steps_per_s(algorithm, seeds, given, console) for seeds in (1, 10)]
    awake, asleep = (figures[text] for text, *_ in rows[1:3])
    figures["rsnn_dream, all games"] = [over_the_run(*speeds) for speeds in zip(asleep, awake)]
    for text, speeds in figures.items():
        table.add_row(text, *(f"{speed:.0f}" for speed in speeds))
    table.add_row("target", "500", "2000")
    table.add_row("published code", "56", "56")
    console.print(table)
    one, ten = figures["rsnn_dream, all games"]
    print(json.dumps({"agent_steps_per_s": round(one, 1), "aggregate_steps_per_s_10": round(ten, 1)}))


if __name__ == "__main__":
    main()
