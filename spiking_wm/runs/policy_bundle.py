"""Policy bundles: one file with all that is needed to act (weights, algorithm, options, spaces)."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from spiking_wm.core.contract import Policy, Weights
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import sha256
from spiking_wm.core.options import override
from spiking_wm.core.registry import agent_class, options_class
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.storage import load, load_facts, pack


class Bundle(NamedTuple):
    """Weights of one policy version, with its algorithm, options and spaces (``facts``)."""

    weights: Weights
    facts: dict[str, Any]

    @property
    def version(self) -> int:
        """Version number within its run."""
        return self.facts["version"]


def pack_bundle(weights: Weights, agent: str, options: dict[str, Any], spaces: Spaces, version: int) -> bytes:
    """The content of a bundle file."""
    facts = {"agent": agent, "options": options, "spaces": spaces.to_json(), "version": version}
    return pack(weights, facts)


def load_bundle(path: Path, digest: str | None = None) -> Bundle:
    """Read a bundle.

    Raises:
        UserError: if it is missing, damaged, or has another SHA-256 than ``digest``.
    """
    if digest is not None and path.exists() and sha256(path) != digest:
        raise UserError(f"{path} does not match its SHA-256: publish it again")
    weights, facts = load(path)
    return Bundle(weights, _of_bundle(path, facts))


def bundle_facts(path: Path) -> dict[str, Any]:
    """Algorithm, options, spaces and version of a bundle. Checks the file, but does not load torch.

    Raises:
        UserError: if the file is missing, damaged, or not a bundle.
    """
    return _of_bundle(path, load_facts(path))


def _of_bundle(path: Path, facts: dict[str, Any]) -> dict[str, Any]:
    if not {"agent", "version", "options"} <= facts.keys() or '"period"' not in facts.get("spaces", ""):
        raise UserError(f"{path} is not a policy bundle, or has an unsupported older format: train it again")
    return facts


def make_policy(bundle: Bundle, spaces: Spaces, changed: Mapping[str, Any] = MappingProxyType({})) -> Policy:
    """Make a policy from a bundle.

    Args:
        bundle: the bundle.
        spaces: the environment's spaces.
        changed: options that replace those of the bundle.

    Raises:
        UserError: if the bundle was made for other spaces, or its weights do not fit its options.
    """
    check_spaces(bundle.facts["spaces"], spaces, "policy")
    name = bundle.facts["agent"]
    options = override(options_class(name)(), bundle.facts["options"] | changed)
    policy = agent_class(name).policy_class(options, spaces)
    try:
        policy.load(bundle.weights)
    except (KeyError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"policy version {bundle.version} does not fit its options: {reason}") from None
    return policy


def check_spaces(made_for: str, spaces: Spaces, what: str) -> None:
    """Check that spaces equal those that a policy or checkpoint was made for.

    Raises:
        UserError: if they differ; the message names both.
    """
    # of other versions, in today's form: vectors of bytes and bounds in double precision are float32 now
    if Spaces.from_json(made_for).to_json() != spaces.to_json():
        raise UserError(
            f"the {what} was made for {made_for}, the environment has {spaces.to_json()}: choose the env:="
            f" it was trained in"
        )
