"""Backend that lets policies run their own networks."""

from spiking_wm.chips.backends.host.options import Options
from spiking_wm.core.contract import Policy


class Backend:
    """Runs networks in the policy itself; see `loihi_sim.backend.Backend` for one that does not."""

    fault = ""  # what is wrong with the backend; empty if nothing is

    def __init__(self, options: Options):
        self.options = options

    def place(self, policy: Policy) -> None:
        """Run the network of a policy here."""

    def retire(self, policy: Policy | None) -> None:
        """Release what a policy that no longer acts has in use; for None, what all of them have."""

    def figures(self) -> dict[str, float | str]:
        """Values for diagnostics."""
        return {}
