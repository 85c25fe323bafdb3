"""Backend with which policies run their own networks."""

from spiking_wm.chips.backends.host.options import Options
from spiking_wm.core.contract import Policy


class Backend:
    """Leaves the network to the policy. `loihi_sim.backend.Backend` has the same methods and uses a chip."""

    fault = ""  # what is wrong with the backend; empty if nothing is

    def __init__(self, options: Options):
        self.options = options

    def place(self, policy: Policy) -> None:
        """Run the network of a policy with this backend (here: nothing to do)."""

    def retire(self, policy: Policy | None) -> None:
        """Free the resources of a policy that no longer acts; for None, of all policies."""

    def figures(self) -> dict[str, float | str]:
        """Values for diagnostics."""
        return {}
