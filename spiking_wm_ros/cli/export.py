"""`./swm export`: write a policy's spiking network for chips, and print the cost of a decision."""

from pathlib import Path

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.table import Table

from spiking_wm.chips.backends.recorder import InputRecorder
from spiking_wm.chips.network import ChipNetwork
from spiking_wm.core.contract import Policy
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import newest_checkpoint
from spiking_wm.core.game_loop import close
from spiking_wm.core.options import suggestion
from spiking_wm.core.spaces import Spaces
from spiking_wm.runs.config import read_config
from spiking_wm.runs.policy_bundle import load_bundle, make_policy
from spiking_wm.training.evaluation import episode_return

_DEFAULTS = {"checkpoint": "", "format": "nir", "file": "", "decisions": "1000"}


def export(given: dict[str, str]) -> None:
    """Write the network, and count spikes and operations per decision in greedy episodes.

    Raises:
        UserError: for an unknown argument or format, or a run without a spiking network for chips.
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
    env = config.make_env()
    policy = make_policy(load_bundle(checkpoint / "policy.safetensors"), Spaces.of(env))
    network = policy.chip_network()
    file = Path(chosen["file"] or checkpoint.parent.parent / "policy.nir")
    nir_files.write(network, file)
    inputs = _network_inputs(policy, env, int(chosen["decisions"]))
    close(env)
    _show(network, np.stack(inputs, 1), file)


def _network_inputs(policy: Policy, env: gym.Env, decisions: int) -> list[np.ndarray]:
    """Inputs of the network in decisions of greedy episodes."""
    recorder = policy.network_runner = InputRecorder()
    while (so_far := len(recorder.inputs)) < decisions:
        episode_return(policy, env, seed=so_far, longest=decisions - so_far)
    return recorder.inputs


def _show(network: ChipNetwork, inputs: np.ndarray, file: Path) -> None:
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
    console = Console(markup=False, emoji=False)
    console.print(table)
    console.print(
        f"estimated by {PER_OPERATION} pJ a synaptic operation and {PER_UPDATE:g} pJ a neuron update, Loihi"
        " (Davies et al. 2018)",
        soft_wrap=True,
    )
    console.print(f"written: {file}", soft_wrap=True)
