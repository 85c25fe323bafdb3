"""The library in an environment of its own, as `pip install .` makes it: no ROS, nothing else."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = """
import importlib.util, spiking_wm
run = spiking_wm.train("popsan_dream", "InvertedPendulum-v5", steps=600, seed=0, evaluation={"episodes": 1})
policy = spiking_wm.load_policy(run)
print(spiking_wm.evaluate(policy, episodes=1).mean >= 1)
spiking_wm.dream(run, rollouts=100)
print(run.evaluations[-1].step, run.plot().axes[0].get_xlabel(), spiking_wm.make("Rover-v0").spec.id)
print([name for name in ("rclpy", "typer", "ale_py", "spikingjelly") if importlib.util.find_spec(name)])
try:
    spiking_wm.make("atari/Breakout-v0")
except spiking_wm.UserError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(900)
def test_pip_installs_it_and_it_trains(tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    plain = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AMENT", "LD_"))
    }
    # of a copy: building leaves folders behind
    copy = tmp_path / "source"
    kept = subprocess.check_output(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, text=True
    )
    for name in filter(None, kept.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("results/", "docs/", "test/")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    command = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", copy]
    subprocess.run(command, env=plain, check=True, capture_output=True, text=True)
    told = subprocess.check_output([python, "-c", EXAMPLE], env=plain, cwd=tmp_path, text=True)
    assert [line for line in told.splitlines() if "━" not in line] == [  # but progress bars
        "True",
        "600 environment steps (lines: dreams) Rover-v0",
        "[]",
        "ale_py is not installed: pip install 'spiking_wm_ros[atari]'",
    ]
    assert Path(sys.executable) != python
