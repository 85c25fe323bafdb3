"""Matrix products for training."""

from torch import Tensor

from spiking_wm.core.process import products_in_bfloat16


def factor(x: Tensor) -> Tensor:
    """``x`` as `product` takes it: a tensor that is a factor several times is rounded once.

    With reduced precision on a CPU that has it, in bfloat16; else ``x`` itself.
    """
    return x.bfloat16() if products_in_bfloat16() else x


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` in float32, without gradients, of float32 tensors or what `factor` made of them.

    In bfloat16 the result is rounded too. PyTorch rounds the factors alone, which takes 1.6 times as long.
    """
    return (factor(a) @ factor(b)).float()
