"""Speed of the machine during a benchmark, to compare results of different days."""

import statistics
import time
from collections.abc import Callable

import torch


def median_ms(call: Callable[[], object], runs: int, warmup: int = 3) -> float:
    """Median time of a call in milliseconds."""
    for _ in range(warmup):
        call()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


def gflops() -> float:
    """float32 matrix products per second on the threads in use, 1024 x 1024, in GFLOP/s."""
    a = torch.rand(1024, 1024)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    speed = 2 * 1024**3 / median_ms(lambda: a @ a, 15) / 1e6
    torch.set_float32_matmul_precision(before)
    return speed
