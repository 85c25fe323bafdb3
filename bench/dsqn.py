"""Time of decisions and updates of a deep spiking Q-network and of a DQN without spikes, on one thread.

Run as ``./swm bench dsqn``. Observations are Atari pictures, 84 x 84 x 4; networks are the published ones,
with 8 time steps. Each network is measured in its own process, in turns; the fastest turn of each is
reported. Peak memory is that of the whole process, Python and torch included. The last line is JSON.
"""

import json
import multiprocessing
import resource
import time

import numpy as np
from _yardstick import gflops
from rich.console import Console
from rich.table import Table

ENV, SEEN, TURNS, UPDATES, DECISIONS = "atari/Breakout-v0", 200, 3, 10, 100
TARGETS = {"decision": 3, "step": 150, "memory": 600}


def measure(algorithm: str, results) -> None:
    """Put into ``results``: milliseconds per decision and per update, peak memory in megabytes."""
    from torch import set_float32_matmul_precision

    from spiking_wm.core.contract import Transition
    from spiking_wm.core.game_loop import take_step
    from spiking_wm.core.presets import resolve
    from spiking_wm.core.process import prepare_to_compute
    from spiking_wm.core.registry import agent_class
    from spiking_wm.core.spaces import Spaces
    from spiking_wm.envs.make import make_env

    prepare_to_compute()
    set_float32_matmul_precision("medium")  # as in training
    env, setup = make_env(ENV), resolve(algorithm, ENV, {})
    spaces, rng = Spaces.of(env), np.random.default_rng(0)
    agent = agent_class(setup.agent)(setup.agent_options, spaces, 0)
    observation, _ = env.reset(seed=0)
    for step in range(SEEN):
        action = np.asarray(rng.integers(spaces.action.n))
        _, *facts, _ = taken = take_step(env, observation, action)
        agent.observe(Transition(*facts, episode=0, step=step, policy_version=0))
        observation = env.reset()[0] if taken.done else taken.next_observation
    update = median(agent.learn, UPDATES)
    policy = agent.policy_class(setup.agent_options, spaces)
    policy.load(agent.policy_weights())
    decision = median(lambda: policy.act(observation, policy.initial_state(1), None), DECISIONS)
    results.put((decision, update, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def median(call, times: int) -> float:
    """Median time of a call in milliseconds, after three calls to warm up."""
    took = []
    for _ in range(3 + times):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return float(np.median(took[3:])) * 1e3


def main() -> None:
    """Measure, print a table, and one JSON object as the last line."""
    spawn, found = multiprocessing.get_context("spawn"), {"dsqn": [], "dqn": []}
    for _ in range(TURNS):
        for algorithm, turns in found.items():
            results = spawn.SimpleQueue()
            process = spawn.Process(target=measure, args=(algorithm, results))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"the measurement of {algorithm} ended with status {process.exitcode}")
            turns.append(results.get())
    best = {algorithm: np.min(turns, 0) for algorithm, turns in found.items()}
    table = Table("what", "dsqn", "dqn", "target", title=f"{gflops():.0f} GFLOP/s")
    for k, (name, unit) in enumerate((("decision", "ms"), ("step", "ms"), ("memory", "MB"))):
        table.add_row(f"{name}, {unit}", *(f"{x[k]:.2f}" for x in best.values()), f"{TARGETS[name]}")
    Console(width=100).print(table)
    decision, step, memory = best["dsqn"]
    figures = {"decision_ms": decision, "gradient_step_ms": step, "dqn_gradient_step_ms": best["dqn"][1]}
    print(json.dumps({name: round(x, 3) for name, x in (figures | {"peak_rss_mb": memory}).items()}))


if __name__ == "__main__":
    main()
