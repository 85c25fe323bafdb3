"""Policies on the simulated Loihi: decisions per second, and time to the first decision.

Run as ``./swm bench loihi``. The policy is a PopSAN of the published size for HalfCheetah (17 observation
values, 256 + 256 neurons, 6 actions). Its random weights are large enough that all layers fire. A decision
includes encoder and decoder. The start-up time is from the start of a process to its first action. The last
line is JSON.
"""

import json
import subprocess
import sys
import time

import numpy as np
import torch
from _yardstick import gflops

from spiking_wm.agents.popsan.network import PopSAN
from spiking_wm.agents.popsan.options import Options
from spiking_wm.agents.popsan.policy import PopSANPolicy
from spiking_wm.chips.backends.loihi_sim.backend import Backend
from spiking_wm.chips.backends.loihi_sim.options import Options as ChipOptions
from spiking_wm.core.process import prepare_to_compute
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.tensors import flatten
from spiking_wm.envs.make import make_env
from spiking_wm.memory.normaliser import Normaliser

DECISIONS, WARM = 500, 20
INIT_GAIN = 3.0  # factor on the initial weights, so that spikes reach the last layer


def policy_of() -> PopSANPolicy:
    """A policy in which all layers fire."""
    torch.manual_seed(0)
    options, spaces = Options(), Spaces.of(make_env("HalfCheetah-v5"))
    actor = PopSAN(17, 6, options.actor)
    with torch.no_grad():
        for layer in actor.layers:
            layer.weight *= INIT_GAIN
    parts = {"actor": actor.state_dict(), "normaliser": Normaliser(17).state_dict()}
    policy = PopSANPolicy(options, spaces)
    policy.load(flatten(parts) | {"random": torch.tensor(False)})
    return policy


def decide(policy: PopSANPolicy, observations: np.ndarray) -> float:
    """Median time of a decision in seconds."""
    took = []
    for observation in observations:
        began = time.perf_counter()
        policy.act(observation, None, None)
        took.append(time.perf_counter() - began)
    return float(np.median(took[WARM:]))


def main() -> None:
    """Measure and print; the last line is JSON."""
    if sys.argv[1:] == ["first"]:
        policy, backend = policy_of(), Backend(ChipOptions(patience=60.0))
        backend.place(policy)
        policy.act(np.zeros(17, np.float32), None, None)
        backend.retire(None)
        return
    prepare_to_compute()
    observations = np.random.default_rng(0).normal(size=(DECISIONS + WARM, 17)).astype(np.float32)
    began = time.perf_counter()
    subprocess.run([sys.executable, __file__, "first"], check=True)
    startup = time.perf_counter() - began
    seconds = {}
    policy = policy_of()
    seconds["host"] = decide(policy, observations)
    rates = [train.mean() for train in policy.spikes(observations[0])]
    for precision in ("floating_pt", "fixed_pt"):
        backend = Backend(ChipOptions(precision=precision, patience=60.0))
        backend.place(policy)
        seconds[precision] = decide(policy, observations)
        backend.retire(None)
        policy.network_runner = None
    print(f"{gflops():.0f} GFLOP/s, one thread; spikes per neuron and tick by layer {np.round(rates, 3)}")
    for where, took in seconds.items():
        print(f"{where}: {1000 * took:.2f} ms per decision, {1 / took:.0f} decisions/s")
    print(json.dumps({"decisions_per_s": round(1 / seconds["fixed_pt"], 1), "startup_s": round(startup, 2)}))


if __name__ == "__main__":
    main()
