"""A network as Lava processes: synapses are `Dense` or `Sparse`, neurons `processes.RestingLIF` or `Soma`.

Synapses have a delay of one tick, so layer ``k`` is ``k + 1`` ticks behind the input. With ``L`` layers a
decision of ``T`` ticks takes ``T + L``; every layer is reset when the first spikes of a decision reach it.
"""

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, issparse, vstack

from spiking_wm.chips.backends.loihi_sim import lava
from spiking_wm.chips.backends.loihi_sim.fixed_point import (
    MOST_BIAS,
    FixedLayer,
    bias_by_neuron,
    fixed,
    message_unit,
    with_bias,
)
from spiking_wm.chips.backends.loihi_sim.options import Options
from spiking_wm.chips.backends.loihi_sim.processes import RestingLIF, Soma, WholeInjector
from spiking_wm.chips.network import ChipNetwork, Layer

_MESSAGE_BITS = 16  # size of messages with a value
_BEHIND = 2  # ticks from an input to the first layer


class Chip:
    """A compiled network that runs in processes of Lava.

    Args:
        network: the network.
        options: precision and bits.
        probes: return the spikes of all layers, not only of the last.
    """

    def __init__(self, network: ChipNetwork, options: Options, probes: bool = False):
        self.network, self.options = network, options
        self._whole = options.precision == "fixed_pt"
        self._fixed: list[FixedLayer | None] = [None] * len(network.layers)
        if self._whole:
            self._fixed = [*fixed(network, options)]
        self._unit = message_unit(network, options) if self._whole else 1.0
        self._steps = 1 if network.carried else network.ticks + len(network.layers)
        first = network.layers[0]
        self._biased = bias_by_neuron(first)
        self._width = first.inputs + self._biased
        self._input = lava.Injector(shape=(self._width,), buffer_size=2 * self._steps)
        source, self._neurons, outputs = self._input.out_port, [], []
        for k, (layer, whole) in enumerate(zip(network.layers, self._fixed)):
            fires_always = k + 1 < len(network.layers) and bias_by_neuron(network.layers[k + 1])
            connect = self._connect_soma if network.carried else self._connect
            neurons = connect(k, layer, whole, source, fires_always)
            self._neurons.append(neurons)
            source = neurons.s_out
            if probes or layer is network.layers[-1]:
                extractor = lava.Extractor(shape=source.shape, buffer_size=2 * self._steps)
                source.connect(extractor.in_port)
                outputs.append((k, layer.neurons, extractor))
        self._outputs = outputs
        models = {
            lava.Injector: WholeInjector if self._whole else lava.PyLoihiInjectorModel,
            lava.Extractor: lava.PyLoihiExtractorModel,
        }
        self._config = lava.Loihi2SimCfg(select_tag=options.precision, exception_proc_model_map=models)
        self._neurons[0].create_runtime(run_cfg=self._config)
        self.run(np.zeros((1, first.inputs)))  # starts the processes; states can be set from then on

    def _connect(
        self, k: int, layer: Layer, whole: FixedLayer | None, source: Any, fires_always: bool
    ) -> Any:
        """Make synapses and neurons of a layer that starts every decision at rest; returns the neurons."""
        weights: Any = whole.weights if whole else with_bias(layer)
        graded = bool(self.network.reach) and k == 0
        kind = lava.Sparse if issparse(weights) else lava.Dense
        if fires_always:
            weights = _with_row(weights)
        messages = _MESSAGE_BITS if graded else 0
        synapses = kind(weights=weights, num_message_bits=messages, **_synapses(whole))
        constants = _constants(layer, whole)
        if fires_always:
            mantissa, exponent = MOST_BIAS if whole else (2 * layer.threshold, 0)
            constants["bias_mant"] = np.append(constants["bias_mant"], mantissa)
            constants["bias_exp"] = np.append(constants["bias_exp"], exponent)
        neurons = RestingLIF(
            shape=(weights.shape[0],),
            reset_interval=self._steps,
            reset_offset=(k + _BEHIND) % self._steps,
            start=whole.start if whole else layer.start,
            taken=whole.reset if whole else layer.reset,
            **constants,
        )
        source.connect(synapses.s_in)
        synapses.a_out.connect(neurons.a_in)
        return neurons

    def _connect_soma(
        self, k: int, layer: Layer, whole: FixedLayer | None, source: Any, fires_always: bool
    ) -> Any:
        """Make recurrent neurons with current inputs; they keep their state between decisions."""
        constants = _constants(layer, whole)
        constants["v"] = whole.start if whole else layer.start
        taken = whole.reset if whole else layer.reset
        neurons = Soma(shape=(layer.neurons,), taken=taken, **constants)
        recurrent = whole.recurrent if whole else layer.recurrent
        self._recurrent = lava.Dense(weights=recurrent, **_synapses(whole))
        source.connect(neurons.i_in)
        neurons.s_out.connect(self._recurrent.s_in)
        self._recurrent.a_out.connect(neurons.a_in)
        return neurons

    def run(self, inputs: np.ndarray) -> list[np.ndarray]:
        """Run one decision.

        Args:
            inputs: spikes ``[T, inputs]``, or constant numbers or currents ``[1, inputs]``.

        Returns:
            Spikes ``[T, N]`` of the last layer; with ``probes`` of every layer.
        """
        for row in self._sent(inputs):
            self._input.send(row)
        self._neurons[0].run(condition=lava.RunSteps(self._steps), run_cfg=self._config)
        trains = []
        for k, width, output in self._outputs:
            all_steps = np.stack([output.receive() for _ in range(self._steps)])
            behind = 0 if self.network.carried else k + 1
            trains.append(all_steps[behind : behind + self.network.ticks, :width].astype(np.uint8))
        return trains

    def _sent(self, inputs: np.ndarray) -> np.ndarray:
        """The input of each of Lava's time steps, ``[steps, inputs]``."""
        reach, ticks, whole = self.network.reach, self.network.ticks, self._fixed[0]
        if whole and self.network.carried:
            inputs = np.round(inputs * whole.scale)
        elif self._whole and reach:
            inputs = np.round(inputs.clip(-reach, reach) / self._unit)
        sent = np.zeros((self._steps, self._width), np.int32 if self._whole else float)
        sent[:ticks, : inputs.shape[1]] = inputs
        if self._biased:
            sent[:ticks, -1] = 1
        return sent

    def saturated(self) -> list[int]:
        """Number of saturated potentials of each layer so far."""
        return [int(neurons.saturated.get()[0]) for neurons in self._neurons]

    def state(self) -> list[np.ndarray]:
        """State of the neurons that keep it between decisions."""
        return [variable.get() for variable in self._variables()]

    def load(self, state: list[np.ndarray] | None) -> None:
        """Set a `state`; ``None`` sets all neurons to rest."""
        if state is None:
            layer, whole = self.network.layers[0], self._fixed[0]
            start = whole.start if whole else layer.start
            state = [np.zeros(layer.neurons), np.full(layer.neurons, start), np.zeros(layer.neurons)]
        for variable, values in zip(self._variables(), state):
            variable.set(values.astype(int) if self._whole else values)

    def _variables(self) -> tuple:
        return self._neurons[0].u, self._neurons[0].v, self._recurrent.a_buff

    def stop(self) -> None:
        """End all processes."""
        self._neurons[0].stop()


def _synapses(whole: FixedLayer | None) -> dict:
    """Arguments of fixed-point synapses; mantissas are already rounded to their bits."""
    if not whole:
        return {}
    return {"weight_exp": whole.exponent, "num_weight_bits": 8, "sign_mode": lava.SignMode.MIXED}


def _constants(layer: Layer, whole: FixedLayer | None) -> dict:
    """Constants and initial state of neurons, by Lava's names."""
    decays: tuple[float, float]
    numbers: tuple[Any, ...]
    if whole:
        exponents = np.full(layer.neurons, whole.bias_exponent)
        decays = whole.current_decay, whole.membrane_decay
        numbers = (0, *decays, whole.threshold, whole.bias, exponents)
    else:
        bias = np.zeros(layer.neurons) if bias_by_neuron(layer) else layer.biases()
        decays = 1 - layer.current_decay, 1 - layer.membrane_decay
        numbers = (0.0, *decays, layer.threshold, bias, np.zeros(layer.neurons, int))
    rest, *others = numbers
    return {"u": rest, "v": rest} | dict(zip(("du", "dv", "vth", "bias_mant", "bias_exp"), others))


def _with_row(weights: "np.ndarray | csr_matrix") -> "np.ndarray | csr_matrix":
    """Add a row of zeros, for a neuron without inputs."""
    if issparse(weights):
        return vstack([weights, csr_matrix((1, weights.shape[1]), dtype=weights.dtype)]).tocsr()
    return np.vstack([weights, np.zeros((1, weights.shape[1]), weights.dtype)])
