"""Devices that networks are trained on; policies act on the CPU."""

from typing import TYPE_CHECKING

from spiking_wm.core.errors import UserError

if TYPE_CHECKING:  # this module must not load torch
    import torch

DEVICES = ("cpu", "cuda")


def learning_device(name: str) -> "torch.device":
    """The torch device for a name in `DEVICES`.

    Raises:
        UserError: if ``cuda`` is set and torch finds no GPU.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "device:=cuda: torch finds no GPU here: set device:=cpu, or install a torch that is built"
            " for your CUDA into the environment (pytorch.org)"
        )
    return torch.device(name)
