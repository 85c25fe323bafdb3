"""Tensors in files, without pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from spiking_wm_ros.errors import UserError

if TYPE_CHECKING:  # nodes that only ask where a run stands load no torch
    from numpy import ndarray
    from torch import Tensor


def pack(tensors: "Mapping[str, Tensor | ndarray]", facts: Mapping[str, Any]) -> bytes:
    """Tensors and JSON-able facts as one safetensors file; equal input gives equal bytes."""
    from safetensors.torch import save
    from torch import as_tensor

    plain = {name: as_tensor(tensor).detach().contiguous() for name, tensor in tensors.items()}
    return save(plain, {"facts": json.dumps(facts, sort_keys=True)})


def load(path: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Read what `pack` made.

    Raises:
        UserError: if the file is missing, cut short, or something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, json.loads((file.metadata() or {})["facts"])
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: give the folder of a run or of a checkpoint") from None
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is damaged or not ours ({error}): use an older checkpoint") from None
