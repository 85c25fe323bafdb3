"""Spiking neurons, layers of them, codes between numbers and spikes, and local plasticity rules.

Shape letters: ``T`` ticks (time steps of the network within one decision), ``M`` members of an ensemble,
``B`` batch, ``N`` neurons, ``P`` neurons per population.

Neuron models are functions with explicit state and one calling convention::

    spikes, state = neuron(drive, ticks, ..., state=None)

- ``drive``: input currents ``[T, ..., N]``, or ``[1, ..., N]`` if they are the same at every tick.
- ``ticks``: ``T``.
- ``...``: parameters (tensors that are learned) and constants (named tuples of numbers).
- ``state``: a named tuple, the state before the first tick; ``None`` is the state of rest.
- Returns spikes ``[T, ..., N]`` (0 or 1) of every tick, and the state after the last tick. Running ``T1``
  ticks, then ``T2`` from the returned state, gives what ``T1 + T2`` ticks give. `lif.alif` has a second
  output at every tick: it returns `lif.ALIFOutput` in place of spikes.

| module | neurons |
|---|---|
| `lif` | current-based LIF (`clif`, PopSAN) and recurrent adaptive LIF (`alif`, world models) |
| `integrate_and_fire` | (leaky) integrate-and-fire (`fire`, deep spiking Q-networks) |
| `compartments` | one to three compartments, as modules: ``neurons(drive, state, ticks)`` |
| `recurrent` | recurrent LIF network with plasticity, in NumPy: updates its `Activity` in place |

Neurons are defined in PyTorch, tick by tick, for any device and precision. For float32 on the CPU, fused
kernels compute the same (numba, modules ``*_kernels``). `surrogate` has the gradients of spikes, `probe`
records spikes of any neuron.
"""
