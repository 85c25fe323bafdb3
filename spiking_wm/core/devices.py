"""Devices that networks are trained on; policies act on the CPU."""

from typing import TYPE_CHECKING

from spiking_wm.core.errors import UserError

if TYPE_CHECKING:  # options name devices, and are read where torch is not loaded
    import torch

DEVICES = ("cpu", "cuda")


def learning_device(name: str) -> "torch.device":
    """The torch device of a name in `DEVICES`.

    Raises:
        UserError: if torch finds no such device.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "device:=cuda: torch finds no GPU here: set device:=cpu, or install a torch that is built"
            " for your CUDA into .venv (pytorch.org)"
        )
    return torch.device(name)
