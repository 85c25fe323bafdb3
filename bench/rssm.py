"""Time of updates and decisions of Spiking-WM and of its GRU control, on one thread.

Run as ``./swm bench rssm``. Observations and actions have the sizes of walker-walk. Each form is measured in
its own process (for its peak memory), in turns; the fastest turn of each is reported.
"""

import json
import multiprocessing
import time
from pathlib import Path

import numpy as np
from _yardstick import gflops
from gymnasium.spaces import Box
from rich.console import Console
from rich.table import Table

OBSERVATION, ACTION = 24, 6
TURNS, UPDATES, DECISIONS = 3, 3, 200
GRU, SHORT = {"spiking": False}, {"length": 16}
FORMS = {  # algorithm and options
    "tuned": ("spiking_wm", {}),
    "tuned, GRU": ("gru_wm", {}),
    "published form, T = 5": ("spiking_wm_published", SHORT),
    "published form, GRU": ("spiking_wm_published", SHORT | GRU),
}


def update(form: tuple[str, dict], results) -> None:
    """Seconds per update, and its peak memory in bytes."""
    from spiking_wm.core.contract import Transition

    agent, rng = _agent(*form), np.random.default_rng(0)
    for step in range(200):
        one, two = rng.normal(size=(2, OBSERVATION)).astype(np.float32)
        action = rng.uniform(-1, 1, ACTION).astype(np.float32)
        agent.observe(Transition(one, action, 0.5, two, False, False, 0, step, 0))
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak memory
    agent.learn()
    times = []
    for _ in range(UPDATES):
        began = time.perf_counter()
        agent.learn()
        times.append(time.perf_counter() - began)
    results.put((min(times), _memory("VmHWM") - before))


def decision(form: tuple[str, dict], results) -> None:
    """Median time of a decision in seconds."""
    agent, rng, times = _agent(*form), np.random.default_rng(0), []
    policy = agent.policy_class(agent.options, agent.spaces)
    policy.load(agent.policy_weights())
    state = policy.initial_state()
    for observation in rng.normal(size=(DECISIONS, OBSERVATION)).astype(np.float32):
        began = time.perf_counter()
        _, state = policy.act(observation, state, None)
        times.append(time.perf_counter() - began)
    results.put(float(np.median(times)))


def _agent(algorithm: str, given: dict):
    from spiking_wm.core.presets import resolve
    from spiking_wm.core.process import prepare_to_compute
    from spiking_wm.core.registry import agent_class
    from spiking_wm.core.spaces import Spaces

    prepare_to_compute()
    setup = resolve(algorithm, "dm_control/walker-walk-v0", given)
    observed = Box(-np.inf, np.inf, (OBSERVATION,), np.float32)
    spaces = Spaces(observed, Box(-1, 1, (ACTION,), np.float32), 0.05)
    return agent_class(setup.agent)(setup.agent_options, spaces, 0)


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1]) * 1024


def apart(measure, form: tuple[str, dict]):
    """Run a measurement in its own process; returns its result."""
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    process = context.Process(target=measure, args=(form, results))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"the measurement of {form} ended with status {process.exitcode}")
    return results.get()


def main() -> None:
    """Measure, print a table, and one JSON object as the last line."""
    console = Console(width=100)
    title = f"batch 16, Walker's sizes, {gflops():.0f} GFLOP/s"
    table = Table("form", "update, s", "memory, MB", "decision, ms", title=title)
    seconds, memory, decisions = {}, {}, {}
    for turn in range(TURNS):
        for name, form in FORMS.items():
            console.print(f"turn {turn + 1} of {TURNS}: {name}", style="dim")
            took, peak = apart(update, form)
            seconds[name] = min(took, seconds.get(name, np.inf))
            memory[name] = min(peak, memory.get(name, np.inf))
            decisions[name] = min(apart(decision, form), decisions.get(name, np.inf))
    for name in FORMS:
        row = f"{seconds[name]:.3f}", f"{memory[name] / 1e6:.0f}", f"{decisions[name] * 1e3:.2f}"
        table.add_row(name, *row)
    console.print(table)
    tuned, published = list(FORMS)[:2], list(FORMS)[2:]
    ratios = {
        "mcn_over_gru_time": seconds[tuned[0]] / seconds[tuned[1]],
        "mcn_over_gru_memory": memory[tuned[0]] / memory[tuned[1]],
        "published_mcn_over_gru_time": seconds[published[0]] / seconds[published[1]],
        "published_mcn_over_gru_memory": memory[published[0]] / memory[published[1]],
        "policy_step_ms": decisions[published[0]] * 1e3,
        "update_s": seconds[tuned[0]],
    }
    print(json.dumps({name: round(value, 3) for name, value in ratios.items()}))


if __name__ == "__main__":
    main()
