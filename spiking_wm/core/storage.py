"""Files of tensors and JSON facts (safetensors, without pickle)."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from spiking_wm.core.errors import UserError

if TYPE_CHECKING:  # torch is loaded only to read or write tensors
    from numpy import ndarray
    from torch import Tensor


def pack(tensors: "Mapping[str, Tensor | ndarray]", facts: Mapping[str, Any]) -> bytes:
    """Serialise tensors and facts (JSON types) as a safetensors file; equal input gives equal bytes."""
    from safetensors.torch import save
    from torch import as_tensor

    plain = {name: as_tensor(tensor).detach().contiguous() for name, tensor in tensors.items()}
    return save(plain, {"facts": json.dumps(facts, sort_keys=True)})


def load(path: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Read tensors and facts of a file written with `pack`.

    Raises:
        UserError: if the file is missing, truncated or of another kind.
    """
    with _opened(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, _facts(file)


def load_facts(path: Path) -> dict[str, Any]:
    """Read the facts only; does not load torch.

    Raises:
        UserError: if the file is missing, truncated or of another kind.
    """
    with _opened(path, "np") as file:
        return _facts(file)


def _facts(file: Any) -> dict[str, Any]:
    return json.loads((file.metadata() or {})["facts"])


@contextmanager
def _opened(path: Path, framework: str) -> "Iterator[safe_open]":
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: give the folder of a run or of a checkpoint") from None
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is damaged or not ours ({error}): use an older checkpoint") from None
