"""Every algorithm learns, to the bit, what it learned when its snapshot was recorded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECORDED = Path(__file__).parent / "golden" / "snapshots.json"
# arithmetic that all x86-64 processors do alike
PORTABLE = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Haswell",
    "OMP_NUM_THREADS": "1",
}
ELSEWHERE = 0.02  # relative difference of sizes that is allowed on a processor that rounds differently


def record() -> dict:
    command = [sys.executable, "-m", "test.golden.record"]
    return json.loads(subprocess.check_output(command, env=os.environ | PORTABLE, text=True))


@pytest.mark.timeout(900)
def test_snapshots_are_those_recorded():
    recorded, found = json.loads(RECORDED.read_text()), record()
    before, now = recorded["snapshots"], found["snapshots"]
    assert now.keys() == before.keys()
    different = [name for name in before if now[name]["sha256"] != before[name]["sha256"]]
    if recorded["processor"] != found["processor"]:  # there a rounding may differ all the same
        different = [
            n for n in different if now[n]["size"] != pytest.approx(before[n]["size"], rel=ELSEWHERE)
        ]
    assert not different


if __name__ == "__main__":
    RECORDED.write_text(json.dumps(record(), indent=1) + "\n")
