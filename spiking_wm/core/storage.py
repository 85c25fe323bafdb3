"""Files of tensors and JSON facts (safetensors, without pickle), with a checksum over every byte."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from importlib import import_module
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from spiking_wm.core.errors import UserError

if TYPE_CHECKING:  # torch is loaded only to read or write tensors
    from torch import Tensor

# entries of the header: checksum and facts; only facts, as versions 0.1 and 0.2 wrote
_SEALED, _UNSEALED = "sealed", "facts"
_UNSET = b"0" * 64  # stands for the checksum while it is computed
_FLOATS = ("F16", "F32", "F64")
_NO_INPUT_YET = "inputs"  # tensors named so may be infinite


def pack(tensors: "Mapping[str, Tensor | np.ndarray]", facts: Mapping[str, Any]) -> bytes:
    """Serialise tensors and facts (JSON types) as a safetensors file; equal input gives equal bytes.

    The header's entry ``sealed`` is the SHA-256 of the file, with 64 zeros for itself, and then the facts.

    Raises:
        UserError: if a tensor holds NaN or infinity.
    """
    from safetensors.torch import save
    from torch import as_tensor

    plain = {name: as_tensor(tensor).detach().cpu().contiguous() for name, tensor in tensors.items()}
    for name, tensor in plain.items():
        if tensor.is_floating_point() and not _sound(name, tensor):
            raise UserError(f"{name} holds NaN or infinity: learning diverged, try a lower learning rate")
    content = save(plain, {_SEALED: _UNSET.decode() + json.dumps(facts, sort_keys=True)})
    at = content.index(_UNSET)  # facts are behind it
    return b"".join((content[:at], _checksum(content, at), content[at + len(_UNSET) :]))


def load(path: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Read tensors and facts of a file written with `pack`.

    Raises:
        UserError: if the file is missing, truncated, altered or of another kind, or holds NaN or infinity.
    """
    facts = load_facts(path)
    with _opened(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118


def load_facts(path: Path) -> dict[str, Any]:
    """Read the facts only, but check the whole file; does not load torch.

    Raises:
        UserError: as `load`.
    """
    with _opened(path, "np") as file:
        metadata = file.metadata() or {}
        facts = metadata[_UNSEALED] if _UNSEALED in metadata else _unsealed(path, metadata[_SEALED])
        for name in file.keys():  # noqa: SIM118
            if file.get_slice(name).get_dtype() in _FLOATS and not _sound(name, file.get_tensor(name)):
                raise UserError(f"{path} is damaged ({name} holds NaN or infinity): use an older checkpoint")
        return json.loads(facts)


def _unsealed(path: Path, sealed: str) -> str:
    """The facts of a header's entry, if its checksum is that of the file."""
    checksum, facts = sealed[: len(_UNSET)].encode(), sealed[len(_UNSET) :]
    with path.open("rb") as file:
        content = mmap(file.fileno(), 0, access=ACCESS_READ)
    at = content.find(checksum)  # the header comes first
    if at < 0 or _checksum(content, at) != checksum:
        raise ValueError("its checksum is another one")
    return facts


def _checksum(content: bytes | mmap, at: int) -> bytes:
    """SHA-256 in hexadecimal of a file's content, with zeros for the checksum that is at a position."""
    view = memoryview(content)
    digest = sha256(view[:at])
    digest.update(_UNSET)
    digest.update(view[at + len(_UNSET) :])
    return digest.hexdigest().encode()


def _sound(name: str, values: "Tensor | np.ndarray") -> bool:
    """True if all values are finite, or infinite where that is a mark."""
    xp = np if isinstance(values, np.ndarray) else import_module("torch")
    if name.rpartition("/")[2] == _NO_INPUT_YET:
        return not xp.isnan(values).any()
    return bool(xp.isfinite(values).all())


@contextmanager
def _opened(path: Path, framework: str) -> "Iterator[safe_open]":
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: give the folder of a run or of a checkpoint") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}): give another one") from None
    except UserError:
        raise
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged or not ours ({error}): use an older checkpoint") from None
