"""What a process asks of the system when it acts in real time, or computes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEVICE = Path("/dev/cpu_dma_latency")
ACT = "from spiking_wm.core.process import act_in_real_time; print(act_in_real_time(), flush=True); input()"


def asked_for() -> int:
    """The wake-up time, in microseconds, that all processes together ask of the processors."""
    with DEVICE.open("rb") as device:
        return int.from_bytes(device.read(4), sys.byteorder, signed=True)


@pytest.mark.skipif(
    not os.access(DEVICE, os.R_OK | os.W_OK), reason="/dev/cpu_dma_latency may not be written here"
)
def test_processors_stay_awake_as_long_as_a_process_acts_in_real_time():
    process = subprocess.Popen(
        [sys.executable, "-c", ACT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    assert asked_for() == 0
    # what is asked for lasts as long as this is open; tests beside this one may ask for the same
    assert str(DEVICE) in {os.readlink(file) for file in Path(f"/proc/{process.pid}/fd").iterdir()}
    process.communicate("\n")
    assert process.returncode == 0


def test_computing_takes_the_smallest_numbers_for_nothing():
    compute = """
import torch
from spiking_wm.core.process import prepare_to_compute
tiny = lambda: float(torch.tensor([1e-30]) * 1e-10)
before = tiny()
prepare_to_compute()
print(before > 0, tiny())
"""
    assert subprocess.check_output([sys.executable, "-c", compute], text=True) == "True 0.0\n"


def test_numpy_does_not_warn_of_them():
    """NumPy 1 would; see `.ci/numpy1`."""
    compute = (
        "import numpy as np; from spiking_wm.core.process import prepare_to_compute\n"
        "prepare_to_compute(); print(np.finfo(np.float32).tiny > 0)"
    )
    command = [sys.executable, "-W", "error::UserWarning", "-c", compute]
    assert subprocess.check_output(command, text=True) == "True\n"


def test_learning_does_without_the_compiler_of_torch():
    """Its import takes as long as torch's own."""
    learn = """
import sys, tempfile, spiking_wm
dream, run = {"every": 30, "after": 30, "rollouts": 8}, tempfile.mkdtemp()
small = {"steps": 60, "warmup": 20, "learn_after": 20, "dream": dream, "model": {"first_updates": 2}}
spiking_wm.train("popsan_dream", "InvertedPendulum-v5", run=run, progress=False, **small)
print("torch._dynamo" in sys.modules)
"""
    assert subprocess.check_output([sys.executable, "-c", learn], text=True) == "False\n"
