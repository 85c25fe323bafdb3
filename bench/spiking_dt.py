"""Time of decisions and updates of decision transformers with and without spikes, on one thread.

Run as ``./swm bench spiking_dt``. Decisions are measured with a full context of 20 steps, updates with 64
random segments. The networks are measured in turns; the fastest turn of each is reported. The last line is
JSON.
"""

import json
import time

import numpy as np
import torch
from _yardstick import gflops
from rich.console import Console
from rich.table import Table

from spiking_wm.agents.spiking_dt.decider import Decider
from spiking_wm.agents.spiking_dt.experience import Segments
from spiking_wm.agents.spiking_dt.improvement import Improvement
from spiking_wm.agents.spiking_dt.network import Trajectory
from spiking_wm.agents.spiking_dt.policy import DecisionPolicy
from spiking_wm.core.presets import resolve
from spiking_wm.core.process import prepare_to_compute
from spiking_wm.core.spaces import Spaces
from spiking_wm.envs.make import make_env

ENV, CONTEXT, BATCH, TURNS, UPDATES, DECISIONS = "CartPole-v1", 20, 64, 5, 5, 200
DECISION_BAR, UPDATE_BAR = 3.0, 2.5  # ms, and as a ratio


class Subject:
    """A network that decides and learns."""

    def __init__(self, algorithm: str):
        options = resolve(
            algorithm, ENV, {"dataset": "", "network.context": CONTEXT, "imitation.batch": BATCH}
        ).agent_options
        env = make_env(ENV)
        torch.manual_seed(0)
        decider = Decider(options, Spaces.of(env))
        self._improvement = Improvement(decider, options, 0.0)
        self._policy = DecisionPolicy(options, Spaces.of(env))
        self._policy.load({name: value.clone() for name, value in decider.state_dict().items()})
        self._seen, self._state = env.reset(seed=0)[0], self._policy.initial_state()
        codes = torch.nn.functional.one_hot(torch.randint(2, (BATCH, CONTEXT)), 2).float()
        steps = torch.arange(CONTEXT).repeat(BATCH, 1)
        some = torch.rand(BATCH, CONTEXT), torch.randn(BATCH, CONTEXT, 4)
        ones = torch.ones(BATCH, CONTEXT)
        self._segments = Segments(Trajectory(*some, codes, steps), ones, 0 * ones, ones, ones, ones)
        for _ in range(CONTEXT):
            self.decide()

    def decide(self) -> None:
        """Make the next decision of a running episode."""
        _, self._state = self._policy.act(self._seen, self._state, None)

    def learn(self) -> None:
        """One update."""
        self._improvement.imitate(self._segments)


def median(call, times: int) -> float:
    """Median time of a call in milliseconds."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return float(np.median(took)) * 1e3


def main() -> None:
    """Measure, print a table, and one JSON object as the last line."""
    prepare_to_compute()
    subjects = {algorithm: Subject(algorithm) for algorithm in ("spiking_dt", "dt")}
    decisions, updates = ({name: [] for name in subjects} for _ in range(2))
    for _ in range(TURNS):
        for name, subject in subjects.items():
            decisions[name].append(median(subject.decide, DECISIONS))
            updates[name].append(median(subject.learn, UPDATES))
    decision, ann_decision = (min(turns) for turns in decisions.values())
    update, ann_update = (min(turns) for turns in updates.values())
    table = Table("what", "spiking", "without spikes", "target", title=f"{gflops():.0f} GFLOP/s")
    bar = f"{DECISION_BAR} ms, and no more than without spikes"
    table.add_row("decision, ms", f"{decision:.3f}", f"{ann_decision:.3f}", bar)
    table.add_row("update, ms", f"{update:.1f}", f"{ann_update:.1f}", f"{UPDATE_BAR} times as much")
    Console(width=100).print(table)
    figures = {
        "decision_ms": decision,
        "ann_decision_ms": ann_decision,
        "train_step_ratio": update / ann_update,
    }
    print(json.dumps({name: round(x, 3) for name, x in figures.items()}))


if __name__ == "__main__":
    main()
