"""`./swm export`: a policy's spiking network as a file for other chips, and what a decision costs there."""

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from spiking_wm.chips.backends.recorder import Recorder
from spiking_wm.core.contract import Policy
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import newest_checkpoint
from spiking_wm.core.options import suggestion
from spiking_wm.core.spaces import Spaces
from spiking_wm.envs.make import make_env
from spiking_wm.runs.bundle import load_bundle, make_policy
from spiking_wm.runs.config import read_config

_DEFAULTS = {"checkpoint": "", "format": "nir", "file": "", "decisions": "1000"}


def export(given: dict[str, str]) -> None:
    """Write the network, and count what decisions in greedy games cost.

    Raises:
        UserError: for an unknown argument, a run without such a network, or a format that is not there.
    """
    from spiking_wm.chips import nir as nir_files

    for name in given:
        if name not in _DEFAULTS:
            raise UserError(f"unknown argument '{name}'{suggestion(name, _DEFAULTS)}")
    chosen = _DEFAULTS | given
    if not chosen["checkpoint"]:
        raise UserError("checkpoint:= is missing: give a run folder, as checkpoint:=runs/NAME")
    if chosen["format"] != "nir":
        raise UserError(f"format:={chosen['format']} is not there; known: nir")
    if not chosen["decisions"].isdecimal() or int(chosen["decisions"]) < 1:
        raise UserError(f"decisions:={chosen['decisions']} is not a whole number from 1 on")
    checkpoint = newest_checkpoint(Path(chosen["checkpoint"]))
    config = read_config(checkpoint.parent.parent)
    env = make_env(config.env)
    policy = make_policy(load_bundle(checkpoint / "policy.safetensors"), Spaces.of(env))
    network = policy.chip_network()
    file = Path(chosen["file"] or checkpoint.parent.parent / "policy.nir")
    nir_files.write(network, file)
    sent = _sent(policy, env, int(chosen["decisions"]))
    _show(network, np.stack(sent, 1), file)


def _sent(policy: Policy, env, decisions: int) -> list[np.ndarray]:
    """What goes into the network in greedy games."""
    recorder = policy.elsewhere = Recorder()
    over = True
    while len(recorder.inputs) < decisions:
        if over:
            observation, _ = env.reset(seed=len(recorder.inputs))
            state = policy.initial_state()
        action, state = policy.act(policy.spaces.check_observation(observation), state, None)
        observation, _, terminated, truncated, _ = env.step(action if action.ndim else action[()])
        over = terminated or truncated
    return recorder.inputs


def _show(network, inputs: np.ndarray, file: Path) -> None:
    from spiking_wm.chips.operations import PER_OPERATION, PER_UPDATE, count

    columns = ("layer", "neurons", "synapses", "spikes", "synaptic operations", "neuron updates", "nJ")
    table = Table(*columns, title=f"a decision, mean of {inputs.shape[1]}", box=None)
    costs = count(network, inputs)
    for k, cost in enumerate(costs):
        figures = (cost.spikes, cost.synaptic_operations, cost.updates, cost.energy)
        table.add_row(str(k), str(cost.neurons), str(cost.synapses), *(f"{x:.1f}" for x in figures))
    totals = (np.sum([getattr(cost, name) for cost in costs]) for name in ("neurons", "synapses"))
    sums = (
        np.sum([getattr(cost, name) for cost in costs])
        for name in ("spikes", "synaptic_operations", "updates", "energy")
    )
    table.add_row("all", *(str(x) for x in totals), *(f"{x:.1f}" for x in sums))
    console = Console()
    console.print(table)
    console.print(
        f"estimated by {PER_OPERATION} pJ a synaptic operation and {PER_UPDATE:g} pJ a neuron update, Loihi"
        " (Davies et al. 2018)",
        soft_wrap=True,
    )
    console.print(f"written: {file}", soft_wrap=True)
