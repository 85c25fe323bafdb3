"""Which ROS domain a graph takes, and which of two graphs lives."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spiking_wm.core.errors import UserError
from spiking_wm_ros.graph.claims import claim_graph, domain
from test.test_command_faults import ROOT, until


@pytest.fixture
def no_domain(monkeypatch):
    """ROS_DOMAIN_ID is not set, and is as before afterwards."""
    monkeypatch.setenv("ROS_DOMAIN_ID", "")


def test_a_graph_takes_the_next_free_domain(no_domain):
    namespace = f"test_{os.getpid()}"
    with claim_graph(namespace, anywhere=True), monkey_domain() as first:
        with claim_graph(f"/{namespace}/", anywhere=True), monkey_domain() as second:
            assert second == first + 1
            with claim_graph("another", anywhere=True):
                assert domain() == first
        with claim_graph(namespace, anywhere=True):  # it is free again
            assert domain() == second


@contextlib.contextmanager
def monkey_domain():
    """The domain that was chosen; inside, none is chosen."""
    chosen = domain()
    os.environ["ROS_DOMAIN_ID"] = ""
    yield chosen
    os.environ["ROS_DOMAIN_ID"] = ""


def test_a_domain_that_was_asked_for_is_refused_to_a_second_graph(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "77")
    with claim_graph("one", anywhere=True):
        for _ in range(2):
            with pytest.raises(
                UserError, match=r"another graph runs in ROS domain 77, namespace /one: end it"
            ):
                claim_graph("one", anywhere=True)
        claim_graph("two", anywhere=True).close()
    claim_graph("one", anywhere=False).close()


@pytest.mark.parametrize("given", ["-1", "233", "one", "1.5", "0x1", "²"])
def test_a_domain_that_does_not_exist_is_refused(monkeypatch, given):
    monkeypatch.setenv("ROS_DOMAIN_ID", given)
    with pytest.raises(UserError, match=f"ROS_DOMAIN_ID={given} is not a whole number from 0 to 232"):
        domain()


CLAIMS = """
import os, sys, time
from spiking_wm.core.errors import UserError
from spiking_wm_ros.cli.__main__ import main
from spiking_wm_ros.graph.claims import claim_graph
if os.getuid() == 0:
    os.setuid(int(sys.argv[1]))
try:
    claim = claim_graph("race", anywhere=False)
except UserError:
    sys.exit(2)
print("claimed", flush=True)
time.sleep(60)
"""


def claims(tmp_path: Path, user: int) -> subprocess.Popen:
    environment = os.environ | {"ROS_DOMAIN_ID": "78", "TMPDIR": str(tmp_path)}
    code = (sys.executable, "-c", CLAIMS, str(user))
    return subprocess.Popen(code, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def test_of_graphs_that_start_at_once_one_lives_whatever_its_user(tmp_path):
    racing = [claims(tmp_path / str(number), 65534 - number % 2) for number in range(8)]
    try:
        until(lambda: sum(each.poll() is not None for each in racing) == len(racing) - 1)
        living = [each for each in racing if each.poll() is None]
        assert [each.returncode for each in racing if each not in living] == [2] * (len(racing) - 1)
        assert living[0].stdout.readline() == "claimed\n"
        living[0].kill()
        living[0].wait()
        racing.append(claims(tmp_path, 65534))  # a killed one holds nothing
        assert racing[-1].stdout.readline() == "claimed\n"
    finally:
        for each in racing:
            each.kill()
            each.wait()
            each.stdout.close()


def test_a_claim_lasts_as_long_as_the_nodes_that_inherit_it(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "79")
    with claim_graph("one", anywhere=False) as claim:
        node = subprocess.Popen(("sleep", "60"), pass_fds=(claim.fileno(),))
    try:
        with pytest.raises(UserError):
            claim_graph("one", anywhere=False)
    finally:
        node.kill()
        node.wait()
    claim_graph("one", anywhere=False).close()
