"""Policies as they are."""

from spiking_wm.chips.backends.host.options import Options
from spiking_wm.core.contract import Policy


class Backend:
    """Leaves networks where they are."""

    fault = ""

    def __init__(self, options: Options):
        self.options = options

    def place(self, policy: Policy) -> None:
        """Have the policy's network run here."""

    def retire(self, policy: Policy | None) -> None:
        """Give back what a policy that acts no more held; of all of them, for None."""

    def figures(self) -> dict[str, float | str]:
        """For diagnostics."""
        return {}
