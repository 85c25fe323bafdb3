"""Lava processes that lava-nc does not provide.

`RestingLIF`: Lava's LIF neurons with a reset to rest at fixed intervals, an optional reset by subtraction
and a counter of saturated potentials. `Soma`: LIF neurons with a second, unfiltered input current and a reset
by subtraction. `WholeInjector`: sends integers, which fixed-point synapses need.
"""

from typing import Any

import numpy as np

from spiking_wm.chips.backends.loihi_sim.lava import (
    CPU,
    AbstractLIF,
    AbstractPyLifModelFixed,
    AbstractPyLifModelFloat,
    Injector,
    InPort,
    LavaPyType,
    LIFReset,
    LoihiProtocol,
    PyInPort,
    PyLoihiInjectorModel,
    PyOutPort,
    Var,
    implements,
    requires,
    tag,
)


class RestingLIF(LIFReset):
    """Lava's LIF neurons, reset to rest (potential ``start``) at fixed intervals.

    A spike subtracts ``taken`` from the potential; with 0 it sets the potential to 0.
    """

    def __init__(self, *, start: float, taken: float, **constants: Any) -> None:
        super().__init__(**constants)
        self.proc_params["start"], self.proc_params["taken"] = start, taken
        self.saturated = Var(shape=(1,), init=0)


@implements(proc=RestingLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class RestingFloat(AbstractPyLifModelFloat):
    """`RestingLIF` in floating point, which never saturates."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    vth: float = LavaPyType(float, float)
    saturated: np.ndarray = LavaPyType(np.ndarray, float)

    def run_spk(self) -> None:
        """Run one tick."""
        _rest_if_due(self)
        super().run_spk()

    def spiking_activation(self) -> np.ndarray:
        """Neurons that spike (bool)."""
        return self.v > self.vth

    def reset_voltage(self, spike_vector: np.ndarray) -> None:
        """Reset the potentials of neurons that spiked."""
        _reset(self, spike_vector)


@implements(proc=RestingLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class RestingFixed(AbstractPyLifModelFixed):
    """`RestingLIF` in fixed point."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    vth: int = LavaPyType(int, np.int32, precision=17)
    saturated: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=24)

    def run_spk(self) -> None:
        """Run one tick."""
        _rest_if_due(self)
        super().run_spk()

    def scale_threshold(self) -> None:
        """Align the threshold with potentials."""
        self.effective_vth, self.isthrscaled = np.left_shift(self.vth, self.vth_shift), True

    def spiking_activation(self) -> np.ndarray:
        """Neurons that spike (bool)."""
        return self.v > self.effective_vth

    def reset_voltage(self, spike_vector: np.ndarray) -> None:
        """Reset the potentials of neurons that spiked."""
        _reset(self, spike_vector)

    def subthr_dynamics(self, activation_in: np.ndarray) -> None:
        """Integrate currents and potentials for one tick, and count saturated potentials."""
        super().subthr_dynamics(activation_in)
        self.saturated[:] += np.count_nonzero(np.abs(self.v) >= self.max_uv_val - 1)


def _rest_if_due(model: "RestingFloat | RestingFixed") -> None:
    of = model.proc_params
    if model.time_step % of["reset_interval"] == of["reset_offset"]:
        model.u[:] = 0
        model.v[:] = of["start"]


def _reset(model: "RestingFloat | RestingFixed", fired: np.ndarray) -> None:
    taken = model.proc_params["taken"]
    model.v[fired] = model.v[fired] - taken if taken else 0


class Soma(AbstractLIF):
    """LIF neurons; a spike subtracts ``taken`` from the potential.

    ``a_in`` are currents that are filtered by the synaptic decay, ``i_in`` currents that last one tick.
    """

    def __init__(self, *, shape: tuple[int, ...], vth: float, taken: float, **constants: Any) -> None:
        super().__init__(shape=shape, vth=vth, taken=taken, name="", log_config=None, **constants)
        self.i_in = InPort(shape=shape)
        self.saturated = Var(shape=(1,), init=0)


@implements(proc=Soma, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class SomaFloat(AbstractPyLifModelFloat):
    """`Soma` in floating point."""

    i_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    saturated: np.ndarray = LavaPyType(np.ndarray, float)

    def run_spk(self) -> None:
        """Run one tick."""
        self.subthr_dynamics(self.a_in.recv())
        self.v[:] += self.i_in.recv()
        spikes = self.v > self.proc_params["vth"]
        self.v[spikes] -= self.proc_params["taken"]
        self.s_out.send(spikes)


@implements(proc=Soma, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class SomaFixed(AbstractPyLifModelFixed):
    """`Soma` in fixed point, bit by bit as Lava's LIF."""

    i_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    saturated: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=24)

    def run_spk(self) -> None:
        """Run one tick."""
        self.scale_bias()
        self.subthr_dynamics(self.a_in.recv().astype(np.int32))
        aligned = np.left_shift(self.i_in.recv().astype(np.int32), self.act_shift)
        self.v[:] = np.clip(self.v + aligned, 1 - self.max_uv_val, self.max_uv_val - 1)
        self.saturated[:] += np.count_nonzero(np.abs(self.v) >= self.max_uv_val - 1)
        spikes = self.v > np.left_shift(self.proc_params["vth"], self.vth_shift)
        self.v[spikes] -= self.proc_params["taken"]
        self.s_out.send(spikes)


@implements(proc=Injector, protocol=LoihiProtocol)
@requires(CPU)
class WholeInjector(PyLoihiInjectorModel):
    """Lava's injector, of integers."""

    in_port: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    out_port: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
