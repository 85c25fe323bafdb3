"""Read and write networks as NIR files (Pedersen et al. 2024), an exchange format for other chips.

NIR describes neurons in continuous time. Files written here assume Euler's method with a step of `DT` per
tick, as in spikingjelly: ``u += dt / tau_syn (w_in s - u)``, ``v += dt / tau_mem (r u - v)``. The order of
picture dimensions is channels first in NIR and channels last in `Layer`.
"""

from pathlib import Path
from typing import Any

import numpy as np

from spiking_wm.chips.network import ChipNetwork, Layer
from spiking_wm.core.errors import UserError
from spiking_wm.core.extras import missing_extra

DT = 1e-4  # seconds per tick; the default of most tools


def write(network: ChipNetwork, path: Path) -> None:
    """Write a network to a file; `read` returns the same network.

    Raises:
        UserError: for neurons that NIR cannot describe, or if the package nir is missing.
    """
    nir = _nir()
    nodes: dict[str, Any] = {}
    edges, last = [], "input"
    pictures = bool(network.layers[0].stride)
    shape = _channels_first(network.layers[0].shape) if pictures else (network.layers[0].inputs,)
    nodes["input"] = nir.Input({"input": np.array(shape)})
    for k, layer in enumerate(network.layers):
        if layer.weights is None or layer.recurrent is not None or layer.reset:
            raise UserError("NIR cannot describe neurons with a reset by subtraction: export another run")
        flat = pictures and not layer.stride
        if flat:
            nodes["flatten"] = nir.Flatten({"input": np.array(shape)}, 0)
            edges.append((last, "flatten"))
            last, pictures = "flatten", False
        weights = layer.weights
        if flat:  # flattened in NIR's order, channels first
            before = network.layers[k - 1]
            weights = weights[:, _order(before)]
        shape = _channels_first((*layer.side, len(layer.bias))) if layer.stride else (layer.neurons,)
        nodes[f"synapses_{k}"] = (
            nir.Conv2d(_channels_first(layer.shape)[1:], weights, layer.stride, (0, 0), (1, 1), 1, layer.bias)
            if layer.stride
            else nir.Affine(weights, layer.bias)
        )
        nodes[f"neurons_{k}"] = _neurons(layer, shape)
        edges += [(last, f"synapses_{k}"), (f"synapses_{k}", f"neurons_{k}")]
        last = f"neurons_{k}"
    nodes["output"] = nir.Output({"output": np.array(shape)})
    facts = {"ticks": network.ticks, "reach": network.reach, "dt": DT}
    nir.write(path, nir.NIRGraph(nodes, [*edges, (last, "output")], metadata=facts))


def read(path: Path) -> ChipNetwork:
    """Read a file of `write`, or one with the same node types and metadata and a single chain of layers.

    Raises:
        UserError: if the file is missing or has other content, or the package nir is missing.
    """
    nir = _nir()
    layers: list[Layer] = []
    pictures = False
    try:
        graph = nir.read(path)
        facts = {name: float(graph.metadata[name]) for name in ("ticks", "reach", "dt")}
        for name in _in_a_row(graph):
            node = graph.nodes[name]
            if isinstance(node, nir.Conv2d | nir.Affine | nir.Linear):
                synapses = node
            elif isinstance(node, nir.IF | nir.LIF | nir.CubaLIF):
                layers.append(_layer(synapses, node, facts["dt"], layers[-1] if pictures else None))
                pictures = isinstance(synapses, nir.Conv2d)
            elif not isinstance(node, nir.Input | nir.Output | nir.Flatten):
                raise UserError(f"{path} has a {type(node).__name__}; only layers of neurons are supported")
    except UserError:
        raise
    except Exception as error:  # nir and h5py raise many types of exceptions
        raise UserError(
            f"{path} is not a spiking network of ./swm export ({' '.join(str(error).split())[:100]})"
        ) from None
    return ChipNetwork(tuple(layers), int(facts["ticks"]), reach=facts["reach"])


def _nir() -> Any:
    """Import the package nir, which takes half a second."""
    with missing_extra():
        import nir
    return nir


def _channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[2], shape[0], shape[1]


def _order(before: Layer) -> np.ndarray:
    """Indices of a convolution's neurons (channels last) in the order of channels first."""
    shape = (*before.side, len(before.bias))
    return np.arange(before.neurons).reshape(shape).transpose(2, 0, 1).ravel()


def _neurons(layer: Layer, shape: tuple[int, ...]) -> Any:
    """The NIR node of a layer's neurons."""
    nir = _nir()

    def all_of(value: float) -> np.ndarray:
        return np.full(shape, value)

    at, rest = all_of(layer.threshold), all_of(0.0)
    if layer.membrane_decay == 1 and layer.current_decay == 0:
        return nir.IF(all_of(1 / DT), at, rest)
    tau = DT / (1 - layer.membrane_decay)
    if layer.current_decay == 0:
        return nir.LIF(all_of(tau), all_of(tau / DT), rest, at, rest)
    synapse = DT / (1 - layer.current_decay)
    return nir.CubaLIF(all_of(synapse), all_of(tau), all_of(tau / DT), rest, at, rest, all_of(synapse / DT))


def _layer(synapses: Any, neurons: Any, dt: float, flattened: Layer | None) -> Layer:
    """Make a layer from a node of synapses and a node of neurons, whose constants must all be equal."""
    weights, current_decay, membrane_decay = np.asarray(synapses.weight, float), 0.0, 1.0
    kind = type(neurons).__name__
    if kind == "LIF":
        membrane_decay = 1 - dt / _same(neurons.tau)
    elif kind == "CubaLIF":
        current_decay, membrane_decay = 1 - dt / _same(neurons.tau_syn), 1 - dt / _same(neurons.tau_mem)
    bias = getattr(synapses, "bias", np.zeros(len(weights)))
    stride = 0
    shape: tuple[int, ...] = ()
    if weights.ndim == 4:
        stride = int(np.ravel(synapses.stride)[0])
        shape = (*map(int, synapses.input_shape), weights.shape[1])
    elif flattened:
        weights = weights[:, np.argsort(_order(flattened))]
    threshold = _same(neurons.v_threshold)
    return Layer(weights, np.asarray(bias, float), current_decay, membrane_decay, threshold, stride, shape)


def _same(values: np.ndarray) -> float:
    first = float(np.ravel(values)[0])
    if (values != first).any():
        raise ValueError("neurons of a layer differ")
    return first


def _in_a_row(graph: Any) -> list[str]:
    """Names of nodes from input to output.

    Raises:
        ValueError: if the graph branches.
    """
    follows = dict(graph.edges)
    if len(follows) != len(graph.edges):
        raise ValueError("it branches")
    names = ["input"]
    while names[-1] in follows and len(names) <= len(graph.nodes):
        names.append(follows[names[-1]])
    return names
