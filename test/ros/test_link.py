"""Runs `link.py`, which cuts the network between a robot and its policy."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def may_make_networks() -> bool:
    """Takes root (or CAP_NET_ADMIN and CAP_SYS_ADMIN) and iproute2."""
    tools = all(map(shutil.which, ("ip", "unshare", "nsenter")))
    return tools and subprocess.run(("unshare", "-n", "true"), capture_output=True).returncode == 0


@pytest.mark.skipif(not may_make_networks(), reason="takes root and iproute2")
def test_a_cut_link_stops_the_rover():
    file = Path(__file__).with_name("link.py")
    ended = subprocess.run((sys.executable, "-m", "pytest", "-s", str(file)), capture_output=True, text=True)
    print(ended.stdout)
    assert ended.returncode == 0 and "1 passed" in ended.stdout, ended.stdout + ended.stderr
