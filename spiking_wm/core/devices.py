"""What networks learn on; they act on the CPU, a decision at a time."""

import torch

from spiking_wm.core.errors import UserError

DEVICES = ("cpu", "cuda")


def learning_device(name: str) -> torch.device:
    """The device of `DEVICES`.

    Raises:
        UserError: if it is not on this machine, or torch cannot use it.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "device:=cuda: torch finds no GPU here: set device:=cpu, or install a torch that is built"
            " for your CUDA into .venv (pytorch.org)"
        )
    return torch.device(name)
