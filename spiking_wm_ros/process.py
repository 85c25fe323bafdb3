"""Settings of a process that computes, or that acts in real time.

torch takes two seconds to load, and most nodes do not compute: it is loaded where it is used.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_REAL_TIME_PRIORITY = 10  # of 1 to 99; above all that has none, below drivers
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def prepare_to_compute(threads: int = 1) -> None:
    """Use ``threads`` threads, and keep freed memory instead of giving it back to the system.

    By default glibc maps every large array anew, and the page faults cost a learning step as much
    time as its arithmetic.
    """
    import torch

    torch.set_num_threads(threads)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc; others need no such hint
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        libc.mallopt(_M_TOP_PAD, 64 << 20)


def act_in_real_time() -> bool:
    """Have all threads of this process run ahead of ordinary ones; False where that is not allowed.

    It takes the right to (root, CAP_SYS_NICE, or ``rtprio`` in limits.conf). Without it nodes that act
    share the processor with a dreamer, and their periods jitter more.
    """
    try:
        for thread in os.listdir("/proc/self/task"):
            os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(_REAL_TIME_PRIORITY))
    except (AttributeError, OSError):  # not Linux, or not allowed
        return False
    return True


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Within it, matrix products have a precision as `torch.set_float32_matmul_precision` takes it."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
