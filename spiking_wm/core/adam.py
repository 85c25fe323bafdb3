"""torch's Adam without torch's compiler, whose import takes 1.4 s and 70 MB in every process that learns.

Methods of torch's optimisers import it (torch 2.13) only to keep it from compiling them. Here they are called
without that; what they compute is the same.
"""

import inspect

import torch
from torch.optim import Optimizer


class _Uncompiled(Optimizer):
    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class Adam(_Uncompiled, torch.optim.Adam):
    """`torch.optim.Adam`."""


class AdamW(_Uncompiled, torch.optim.AdamW):
    """`torch.optim.AdamW`."""
