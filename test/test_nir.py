"""Networks as NIR files, and what they cost on chips."""

import subprocess
import sys
from pathlib import Path

import nir
import numpy as np
import pytest
import torch
from spikingjelly.activation_based.nir_exchange import import_from_nir

from spiking_wm.agents.dqn.network import QNetwork
from spiking_wm.agents.dqn.options import NetworkOptions
from spiking_wm.agents.popsan.network import PopSAN, chip_layers
from spiking_wm.chips.network import ChipNetwork, Layer
from spiking_wm.chips.nir import read, write
from spiking_wm.chips.operations import count
from spiking_wm.chips.reference import trains_of
from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import resolve
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from test.conftest import ENV

ROOT = Path(__file__).resolve().parents[1]


def popsan() -> ChipNetwork:
    torch.manual_seed(0)
    net = PopSAN(5, 3)
    with torch.no_grad():
        for layer in net.layers:
            layer.weight *= 3
    return ChipNetwork(chip_layers(net.state_dict()), 5)


def pictures(neuron: str) -> ChipNetwork:
    torch.manual_seed(0)
    sizes = NetworkOptions(neuron=neuron, channels=(6, 8), kernels=(3, 2), strides=(1, 2), hidden=20, ticks=4)
    return ChipNetwork(QNetwork((8, 7, 3), 4, sizes).chip_layers(), 4, reach=255.0)


NETWORKS = pytest.mark.parametrize(
    "network", [popsan(), pictures("lif"), pictures("if")], ids=["popsan", "lif", "if"]
)


def inputs_of(network: ChipNetwork, count: int) -> np.ndarray:
    ticks = 1 if network.reach else network.ticks
    drawn = np.random.default_rng(0).random((ticks, count, network.layers[0].inputs)) < 0.3
    return drawn * (network.reach or 1.0)


@NETWORKS
def test_what_is_read_is_exactly_what_was_written(network, tmp_path):
    write(network, tmp_path / "a.nir")
    again = read(tmp_path / "a.nir")
    assert again[1:] == network[1:] and len(again.layers) == len(network.layers)
    for mine, theirs in zip(again.layers, network.layers):
        for name, value in mine._asdict().items():
            np.testing.assert_array_equal(value, getattr(theirs, name), err_msg=name)


@NETWORKS
def test_spikingjelly_reads_the_file_and_fires_the_same_spikes(network, tmp_path):
    write(network, tmp_path / "a.nir")
    inputs = inputs_of(network, 7)
    want = trains_of(network, inputs)[-1]
    assert 0.02 < want.mean() < 0.8
    model, state, spikes = import_from_nir(tmp_path / "a.nir", dtype=torch.float64), None, []
    for tick in np.broadcast_to(inputs, (network.ticks, *inputs.shape[1:])):
        seen = torch.from_numpy(tick.copy())
        if network.reach:
            seen = seen.unflatten(-1, network.layers[0].shape).permute(0, 3, 1, 2)
        with torch.no_grad():
            fired, state = model(seen, state)
        spikes.append(fired.numpy())
    np.testing.assert_array_equal(np.stack(spikes), want)


def test_files_that_are_something_else_are_refused(tmp_path):
    (tmp_path / "text.nir").write_text("no HDF5")
    graph = nir.NIRGraph.from_list(nir.Affine(np.ones((2, 3)), np.zeros(2)), nir.I(np.ones(2)))
    graph.metadata = {"ticks": 5, "reach": 0.0, "dt": 1e-4}
    nir.write(tmp_path / "other.nir", graph)
    for name, told in (
        ("missing", "not a spiking network"),
        ("text", "not a spiking network"),
        ("other", "has a I"),
    ):
        with pytest.raises(UserError, match=told):
            read(tmp_path / f"{name}.nir")
    recurrent = Layer(None, np.zeros(2), 0.5, 0.5, 0.0, recurrent=np.ones((2, 2)))
    with pytest.raises(UserError, match="NIR cannot describe neurons"):
        write(ChipNetwork((recurrent,), 1, carried=True), tmp_path / "recurrent.nir")
    with pytest.raises(UserError, match="NIR cannot describe neurons"):
        write(pictures("lif_soft"), tmp_path / "soft.nir")


def test_operations_are_those_that_one_counts_by_hand():
    rng = np.random.default_rng(0)
    first = Layer(rng.normal(size=(4, 6)) * (rng.random((4, 6)) < 0.7), np.zeros(4), 0.5, 0.75, 0.5)
    second = Layer(rng.normal(size=(3, 4)), np.zeros(3), 0.5, 0.75, 0.5)
    network, inputs = ChipNetwork((first, second), 5), (rng.random((5, 9, 6)) < 0.4).astype(float)
    trains = trains_of(network, inputs)
    for layer, before, fired, cost in zip(
        network.layers, (inputs, trains[0]), trains, count(network, inputs)
    ):
        operations = 0
        for tick in before:
            for decision in tick:
                for i, spike in enumerate(decision):
                    operations += sum(1 for weight in layer.weights[:, i] if weight != 0 and spike)
        assert cost.synaptic_operations == pytest.approx(operations / 9) and operations
        assert cost.spikes == pytest.approx(fired.sum() / 9)
        assert cost.updates == 5 * layer.neurons and cost.synapses == (layer.weights != 0).sum()
        assert cost.energy == pytest.approx((23.6 * operations / 9 + 81 * cost.updates) / 1000)


def export(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "spiking_wm_ros.cli", "export", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_a_run_is_exported_with_what_it_costs(tmp_path, tiny):
    run = Run.create(tmp_path / "run", resolve("popsan", ENV, tiny | {"actor_hidden": [16]}), ENV)
    train(run)
    done = export(f"checkpoint:={run.path}", "decisions:=20")
    assert done.returncode == 0, done.stderr
    assert "a decision, mean of 20" in done.stdout and "pJ a synaptic operation" in done.stdout
    assert [layer.neurons for layer in read(run.path / "policy.nir").layers] == [16, 10]
    for wrong, told in (
        ("format:=onnx", "known: nir"),
        ("decisions:=0", "whole number"),
        ("x:=1", "unknown"),
    ):
        refused = export(f"checkpoint:={run.path}", wrong)
        assert refused.returncode == 2 and told in refused.stderr
    assert "checkpoint:= is missing" in export().stderr
