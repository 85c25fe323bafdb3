"""Processes for Lava that it has none of.

`Soma` are neurons that its own LIF is not: with currents from outside besides filtered ones, and a reset that
subtracts. `WholeInjector` sends whole numbers, which synapses in whole numbers need.
"""

import numpy as np

from spiking_wm_ros.backends.loihi_sim.lava import (
    CPU,
    AbstractLIF,
    AbstractPyLifModelFixed,
    AbstractPyLifModelFloat,
    Injector,
    InPort,
    LavaPyType,
    LoihiProtocol,
    PyInPort,
    PyLoihiInjectorModel,
    PyOutPort,
    implements,
    requires,
    tag,
)


class Soma(AbstractLIF):
    """LIF neurons; a spike takes ``taken`` from the potential.

    ``a_in`` are currents that the synapses' decay filters, ``i_in`` currents that last one tick.
    """

    def __init__(self, *, shape: tuple[int, ...], vth: float, taken: float, **constants):
        super().__init__(shape=shape, vth=vth, taken=taken, name="", log_config=None, **constants)
        self.i_in = InPort(shape=shape)


@implements(proc=Soma, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class SomaFloat(AbstractPyLifModelFloat):
    """In floating point."""

    i_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def run_spk(self) -> None:
        """One tick."""
        self.subthr_dynamics(self.a_in.recv())
        self.v[:] += self.i_in.recv()
        spikes = self.v > self.proc_params["vth"]
        self.v[spikes] -= self.proc_params["taken"]
        self.s_out.send(spikes)


@implements(proc=Soma, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class SomaFixed(AbstractPyLifModelFixed):
    """In whole numbers, as lava's LIF does it bit by bit."""

    i_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

    def run_spk(self) -> None:
        """One tick."""
        self.scale_bias()
        self.subthr_dynamics(self.a_in.recv().astype(np.int32))
        aligned = np.left_shift(self.i_in.recv().astype(np.int32), self.act_shift)
        self.v[:] = np.clip(self.v + aligned, 1 - self.max_uv_val, self.max_uv_val - 1)
        spikes = self.v > np.left_shift(self.proc_params["vth"], self.vth_shift)
        self.v[spikes] -= self.proc_params["taken"]
        self.s_out.send(spikes)


@implements(proc=Injector, protocol=LoihiProtocol)
@requires(CPU)
class WholeInjector(PyLoihiInjectorModel):
    """Lava's own, of other numbers."""

    in_port: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    out_port: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
