"""Nested dictionaries of tensors as flat ones, as safetensors keeps them."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def flatten(nested: Mapping[Any, Any], prefix: str = "") -> dict[str, Tensor]:
    """Join keys with ``/``; values that are no tensors (an optimiser's constants) are left out."""
    flat = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}/")
        elif isinstance(value, Tensor):
            flat[f"{prefix}{key}"] = value
    return flat


def unflatten(flat: Mapping[str, Tensor]) -> dict[str, Any]:
    """Undo `flatten`; every key becomes a string."""
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, key = path.split("/")
        branch = nested
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[key] = value
    return nested
