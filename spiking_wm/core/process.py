"""Settings of a process that computes, or that acts in real time.

torch takes two seconds to load, and most nodes do not compute: it is loaded where it is used.
"""

import ctypes
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

# before a command: it runs when nobody else has something to do, also if who starts it acts in real time
LOWEST = [*(["chrt", "--other", "0"] if shutil.which("chrt") else []), "nice", "-n", "19"]
_REAL_TIME_PRIORITY = 10  # of 1 to 99; above all that has none, below drivers
_WAKE_UP = Path("/dev/cpu_dma_latency")  # while it is open, processors wake up within what was written to it
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def prepare_to_compute(threads: int = 1) -> None:
    """Use ``threads`` threads, keep freed memory, and take numbers below 1e-38 for 0.

    By default glibc maps every large array anew, and the page faults cost a learning step as much
    time as its arithmetic. Gradients that have become so small on their way back through spikes and time
    are worth nothing, and to calculate with them takes several times as long.
    """
    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc; others need no such hint
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        libc.mallopt(_M_TOP_PAD, 64 << 20)


def act_in_real_time() -> bool:
    """Have all threads of this process run ahead of ordinary ones; False where that is not allowed.

    It takes the right to (root, CAP_SYS_NICE, or ``rtprio`` in limits.conf). Without it nodes that act
    share the processor with a dreamer, and their periods jitter more. Where ``/dev/cpu_dma_latency`` may
    be written, processors do not sleep between two commands either, until this process ends; in a
    virtual machine one that sleeps has to wait for the host to wake up.
    """
    _stay_awake()
    try:
        for thread in os.listdir("/proc/self/task"):
            os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(_REAL_TIME_PRIORITY))
    except (AttributeError, OSError):  # not Linux, or not allowed
        return False
    return True


@cache
def _stay_awake() -> int | None:
    """A file that is held open, by the Linux interface of PM QoS."""
    try:
        held = os.open(_WAKE_UP, os.O_WRONLY)
        os.write(held, struct.pack("i", 0))
    except OSError:  # not Linux, or not allowed
        return None
    return held


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


def products_in_bfloat16() -> bool:
    """Whether precision is medium here, and the processor has products of bfloat16; convolutions ask."""
    import torch

    return torch.get_float32_matmul_precision() == "medium" and torch.cpu.get_capabilities().get(
        "avx512_bf16", False
    )
