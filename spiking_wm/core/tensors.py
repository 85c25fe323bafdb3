"""Flatten nested dictionaries of tensors for safetensors, and undo it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def flatten(nested: Mapping[Any, Any], prefix: str = "") -> dict[str, Tensor]:
    """Join nested keys with ``/``; values that are not tensors (constants of an optimiser) are left out."""
    flat: dict[str, Tensor] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}/")
        elif isinstance(value, Tensor):
            flat[f"{prefix}{key}"] = value
    return flat


def unflatten(flat: Mapping[str, Tensor]) -> dict[str, Any]:
    """Undo `flatten`; all keys are strings."""
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, key = path.split("/")
        branch = nested
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[key] = value
    return nested


def restore_optimiser(optimiser: torch.optim.Optimizer, kept: Mapping[str, Any]) -> None:
    """Load an optimiser's ``state_dict`` that went through `flatten` and `unflatten`."""
    states = {int(k): {n: x.clone() for n, x in v.items()} for k, v in kept.get("state", {}).items()}
    optimiser.load_state_dict(optimiser.state_dict() | {"state": states})
    for parameter, state in optimiser.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape:  # files have no strides, and fused updates need equal ones
                state[name] = torch.empty_like(parameter).copy_(value)
