"""Settings of a process that computes."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def prepare_to_compute(threads: int = 1) -> None:
    """Use ``threads`` threads, and keep freed memory instead of giving it back to the system.

    By default glibc maps every large array anew, and the page faults cost a learning step as much
    time as its arithmetic.
    """
    torch.set_num_threads(threads)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc; others need no such hint
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        libc.mallopt(_M_TOP_PAD, 64 << 20)


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Within it, matrix products have a precision as `torch.set_float32_matmul_precision` takes it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
