"""Process settings for computation and for acting in real time.

torch is imported inside the functions that need it: the import takes two seconds, and few nodes need it.
"""

import ctypes
import os
import shutil
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# prefix of a command that runs at the lowest priority, even if its parent has real-time priority
LOWEST = [*(["chrt", "--other", "0"] if shutil.which("chrt") else []), "nice", "-n", "19"]
_REAL_TIME_PRIORITY = 10  # of 1 to 99; above ordinary processes, below drivers
_WAKE_UP = Path("/dev/cpu_dma_latency")  # while open, CPUs wake up within the microseconds written to it
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def prepare_to_compute(threads: int = 1) -> None:
    """Set up torch and glibc for fast computation on the CPU.

    - torch uses ``threads`` threads.
    - Denormal numbers (below 1e-38) are flushed to 0. Gradients through many spikes and ticks become that
      small; they do not matter, and arithmetic with them is several times slower.
    - glibc keeps freed memory. By default it maps memory anew for every large array, and the page faults take
      as much time as the arithmetic of an update.
    """
    import torch

    for kind in (np.float32, np.float64):
        np.finfo(kind)  # NumPy 1 measures them at first use, and warns of flushed numbers
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc only
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        libc.mallopt(_M_TOP_PAD, 64 << 20)


def act_in_real_time() -> bool:
    """Give all threads of this process real-time priority (``SCHED_RR``).

    Needs root, CAP_SYS_NICE, or ``rtprio`` in limits.conf. Without it, control periods have more jitter while
    a dreamer runs. If ``/dev/cpu_dma_latency`` is writable, this also keeps the CPUs out of sleep states
    until the process ends, because waking up is slow, above all in virtual machines.

    Returns:
        False if it is not permitted, or the system is not Linux.
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
    """Forbid CPU sleep states (PM QoS interface of Linux) as long as the returned file is open."""
    try:
        latency = os.open(_WAKE_UP, os.O_WRONLY)
        os.write(latency, struct.pack("i", 0))
    except OSError:  # not Linux, or not allowed
        return None
    return latency


@contextmanager
def interrupted() -> Iterator[Callable[[], bool]]:
    """Context in which the first Ctrl-C (SIGINT) or SIGTERM is recorded instead of ending the process.

    Yields a function that returns True once a signal was received. A second signal has its usual effect.
    After SIGTERM the process ends when the context ends.

    Python handles signals in the main thread only; in other threads this context does nothing.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def note(number: int, _: Any) -> None:
        came.append(number)
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield lambda: bool(came)
    finally:
        restore()
        if signal.SIGTERM in came:
            signal.raise_signal(signal.SIGTERM)


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Set `torch.set_float32_matmul_precision` inside the context."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def products_in_bfloat16() -> bool:
    """True if the matmul precision is ``medium`` and the CPU has bfloat16 products (AVX-512 BF16)."""
    import torch

    return torch.get_float32_matmul_precision() == "medium" and _has_bfloat16()


@cache
def _has_bfloat16() -> bool:
    import torch

    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
