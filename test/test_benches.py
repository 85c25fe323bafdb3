"""Every benchmark runs to its last line, with less to measure: what it measures is another matter.

Not `bench/viewing.py`, which takes minutes at its shortest (`test_viewer.py` has its parts), nor
`bench/published.py`, which needs a checkout of other people's code.
"""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

_ROOT = Path(__file__).parents[1]
_RUN = "import sys; sys.path.insert(0, 'bench'); import {name} as bench; {shorter}; bench.main()"
_SHORT = {"length": 4, "batch": 2, "dream.horizon": 2}
_LESS = f"bench.FORMS = {{k: (a, o | {_SHORT}) for k, (a, o) in bench.FORMS.items()}}"
_EARLY = {"warmup": 200, "learn_after": 200, "dream.after": 200, "dream.every": 25, "dream.rollouts": 64}
_SMALL = {"batch": 16, "actor.hidden": [16], "critic.hidden": [16], "model.first_updates": 0}
SHORTER = {
    "deploy": "bench.SECONDS = 2.0",
    "dsqn": "bench.TURNS = 1",
    "envs": "bench.TURNS, bench.SECONDS = 1, 0.5",
    "loihi": "bench.DECISIONS = 5",
    "peers": f"bench.TURNS, bench.DECISIONS, bench.LEARN_EARLY = 1, 5, {_EARLY | _SMALL}",
    "popsan": "bench.DATA, bench.STEPS, bench.UPDATES, bench.MEASURED, bench.SECONDS = 1260, 260, 1, 20, 0.1;"
    f"bench.LEARN_EARLY = {_EARLY | _SMALL}",
    "ros": "bench.ROUNDS, bench.PINGS = 1, 300",
    "rsnn": "bench.GAMES = bench.LEAST = 1",
    "spiking_dt": "bench.TURNS, bench.UPDATES, bench.DECISIONS = 1, 1, 5",
    "rssm": f"bench.TURNS = 1; {_LESS}",
}


def figures_of(name: str, shorter: str) -> dict[str, float]:
    """The last line of a benchmark."""
    program = _RUN.format(name=name, shorter=shorter)
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=_ROOT, env=os.environ, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    figures = json.loads(ended.stdout.splitlines()[-1])
    assert len(figures) > 1 and np.isfinite(list(figures.values())).all()
    return figures


@pytest.mark.long
@pytest.mark.parametrize("name", SHORTER)
def test_benchmarks_run_to_their_last_line(name):
    assert all(value >= 0 for value in figures_of(name, SHORTER[name]).values())


@pytest.mark.long
def test_peers_are_evaluated_by_minutes_of_training(tmp_path):
    shorter = "bench.MINUTES, bench.EVERY, bench.EVALUATION_SEEDS = 1e-4, 30, range(2)"
    figures = figures_of("peers", f"{shorter}; bench.RESULTS = bench.Path('{tmp_path}')")
    with open(tmp_path / "peers_halfcheetah.csv") as file:
        rows = list(csv.DictReader(file))
    last = {row["arm"]: row for row in rows}
    assert len(last) == 5
    for arm, row in last.items():
        assert figures[f"{arm}_return"] == pytest.approx(float(row["return"]), abs=0.1)
        assert figures[f"{arm}_steps"] == int(row["step"])
    assert (tmp_path / "peers_halfcheetah.png").stat().st_size > 1000


def test_none_is_forgotten():
    told_why = {"fast_rover", "_turns", "_yardstick", "viewing", "published"}
    assert {path.stem for path in (_ROOT / "bench").glob("*.py")} == set(SHORTER) | told_why
