"""Backend that runs the networks of policies on simulated chips; encoder and decoder stay on the host."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from spiking_wm.chips.backends.loihi_sim.options import Options
from spiking_wm.chips.backends.loihi_sim.simulator import ChipGone, Simulator
from spiking_wm.chips.network import ChipNetwork
from spiking_wm.chips.nir import read
from spiking_wm.core.contract import Policy
from spiking_wm.core.errors import UserError
from spiking_wm.neurons import probe

_REMEMBERED = 4  # number of decision sequences kept at a time


class Backend:
    """Starts one simulated chip per policy. A new chip can start while an older policy still acts."""

    def __init__(self, options: Options):
        self.options = options
        self._chips: dict[Policy, Simulator] = {}
        self._acting: Simulator | None = None

    def place(self, policy: Policy) -> None:
        """Start a chip for the network of a policy, and wait until it runs.

        Raises:
            UserError: if chips cannot run the network, lava-nc is missing, or the chip does not start.
        """
        chip = Simulator(self._network(policy), self.options)
        try:
            chip.wait()
        except ChipGone as error:
            chip.close()
            raise UserError(f"the simulated Loihi does not start ({error}): policy_backend:=host") from None
        self._chips[policy] = self._acting = chip
        policy.network_runner = _OnChip(chip, self.options.fallback)

    @property
    def fault(self) -> str:
        """Fault of the newest chip; empty if there is none."""
        gone = self._acting.gone if self._acting else ""
        return f"the simulated Loihi is gone: {gone}" if gone else ""

    def _network(self, policy: Policy) -> ChipNetwork:
        own = policy.chip_network()
        if not self.options.nir:
            return own
        given = read(Path(self.options.nir))
        sizes, wanted = ([(layer.inputs, layer.neurons) for layer in n.layers] for n in (given, own))
        if sizes != wanted or given.ticks != own.ticks:
            raise UserError(
                f"{self.options.nir} has layers of {sizes} inputs and neurons and {given.ticks} ticks, the"
                f" policy {wanted} and {own.ticks}: export the network of this policy"
            )
        return given

    def retire(self, policy: Policy | None) -> None:
        """Stop the chip of a policy that no longer acts; for None, all chips."""
        for placed in [policy] if policy else [*self._chips]:
            if placed in self._chips:
                self._chips.pop(placed).close()

    def figures(self) -> dict[str, float | str]:
        """Values for diagnostics: where the network runs, and the mean time of a decision in ms."""
        acting = self._acting.figures if self._acting else {"decisions": 0, "seconds": 0.0}
        mean = acting["seconds"] / max(acting["decisions"], 1)
        where = f"loihi_sim {self.options.precision}"
        return {"runs_on": "host" if self.fault else where, "chip_ms": round(1000 * mean, 2)}


class _OnChip:
    """Network runner on a chip. Returns None once the chip has stopped, so that the policy runs the network.

    A course is a sequence of decisions in which each continues from the policy state of the previous one. A
    policy state that no decision on this chip returned starts a new course, with neurons at rest.
    """

    def __init__(self, chip: Simulator, fallback: str):
        self._chip, self._fallback = chip, fallback
        self._courses: dict[int, tuple[Any, int]] = {}  # by the id of its policy state
        self._number = itertools.count()

    def __call__(self, inputs: np.ndarray, before: Any, after: Any) -> np.ndarray | None:
        """Spikes ``[T, N]`` of the last layer; None if the chip has stopped and ``fallback`` is host."""
        known, course = self._courses.pop(id(before), (None, 0))
        fresh = known is None
        if fresh:
            course = next(self._number)
        try:
            trains = self._chip.run(inputs, course, fresh)
        except ChipGone as error:
            if self._fallback == "none":
                raise UserError(
                    f"the simulated Loihi is gone: {error}; set fallback:=host to continue on the host"
                ) from None
            return None
        if after is not None:
            self._courses[id(after)] = after, course
            while len(self._courses) > _REMEMBERED:
                self._courses.pop(next(iter(self._courses)))
        for train in trains:
            probe.fired(train[:, None])
        return trains[-1]
