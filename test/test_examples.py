"""The examples run as they are."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
TOLD = {
    "load_a_policy": "spikes in",
    "own_algorithm": "step 2000: mean return",
    "own_environment": "mean return before",
    "own_robot": "3 observed values",
    "train_from_python": "Returns(",
}


@pytest.mark.long
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs_and_tells_what_came_of_it(example, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error::DeprecationWarning:spiking_wm", str(example)]
    told = subprocess.run(command, env=environment, cwd=tmp_path, text=True, capture_output=True, timeout=240)
    assert told.returncode == 0, told.stderr
    assert TOLD[example.stem] in told.stdout


@pytest.mark.parametrize("folder", ["examples", "experiments", "bench"])
def test_they_use_public_names_only(folder):
    """No private attribute of anything but ``self``, and no private module or name of the packages."""
    private = re.compile(r"\b(?!self\b)\w+\._[a-z]\w*|from spiking_wm[\w.]* import .*\b_[a-z]")
    used = {
        f"{file.name}: {line.strip()}"
        for file in (ROOT / folder).glob("*.py")
        for line in file.read_text().splitlines()
        if private.search(line)
    }
    assert not used
