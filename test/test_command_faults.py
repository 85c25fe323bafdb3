"""`./swm` when it is stopped at any stage, without nodes."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spiking_wm.core.errors import UserError
from spiking_wm.core.files import newest_checkpoint
from spiking_wm.core.storage import load_facts
from spiking_wm_ros.cli.__main__ import main
from spiking_wm_ros.graph.claims import claim_graph, domain
from spiking_wm_ros.graph.ends import (
    exit_code,
    failed_while_ending,
    failure,
    failure_while_ending,
    how_it_ended,
)
from spiking_wm_ros.graph.parts import NodeSpec, ResolvedGraph
from spiking_wm_ros.viewer.port import listening
from test.conftest import TINY

ROOT = Path(__file__).resolve().parents[1]
LONG = [f"{k}:={v}" for k, v in (TINY | {"steps": 100_000}).items()]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "spiking_wm_ros.cli", *arguments]


def until(condition, seconds: float = 60.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
    return found


def loads(run: Path) -> bool:
    """Whether the newest checkpoint of a run loads."""
    return bool(load_facts(newest_checkpoint(run) / "agent.safetensors"))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "policy was killed (SIGKILL; if nobody did it, memory ran out)"),
        (-11, "policy was killed (SIGSEGV)"),
        (143, "policy was stopped (SIGTERM)"),
        (2, "policy ended with an error, see above"),
        (1, "policy ended unexpectedly (exit code 1), see above"),
        (0, "policy ended unexpectedly (exit code 0), see above"),
        (255, "policy was stopped (signal 127)"),
    ],
)
def test_the_end_of_a_node_in_words(code, words):
    assert how_it_ended("policy", code) == words


@pytest.mark.parametrize(
    ("nodes", "ended", "message", "code"),
    [
        ("bridge policy dreamer", {"dreamer": 0}, "", None),
        ("bridge policy", {"bridge": 0}, "", None),
        ("bridge policy dreamer", {"bridge": 0}, "bridge ended unexpectedly", 1),
        ("bridge policy dreamer", {"dreamer": -9}, "dreamer was killed (SIGKILL", 1),
        ("bridge policy dreamer", {"dreamer": 2, "policy": -9}, "start it again", 2),
        (
            "gate robot",
            {"gate": -9},
            "gate was killed (SIGKILL; if nobody did it, memory ran out): the robot",
            1,
        ),
        ("viewer", {"viewer": 143}, "viewer was stopped (SIGTERM): start it again", 1),
    ],
)
def test_a_graph_that_ends_too_early_says_why(tmp_path, nodes, ended, message, code):
    resolved = ResolvedGraph([NodeSpec(name, {}) for name in nodes.split()], tmp_path)
    failed = failure(resolved, ended)
    assert message in failed and bool(message) == bool(failed)
    if failed:
        assert exit_code(ended) == code


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("bridge", 2, "bridge ended with an error, see above: what was learned is saved"),
        ("recorder", 1, "recorder ended unexpectedly (exit code 1), see above: what was learned is saved"),
        ("dreamer", 2, "dreamer ended with an error, see above: start it again"),
        ("dreamer", -9, "dreamer was killed (SIGKILL; if nobody did it, memory ran out): start it again"),
        ("bridge", -9, ""),  # its environment hangs, which is told; nothing is lost
        ("policy", 143, ""),
        ("policy", -15, ""),  # before it had a handler
        ("policy", 0, ""),
    ],
)
def test_a_node_that_fails_when_it_is_asked_to_end_is_an_error(tmp_path, name, code, message):
    resolved = ResolvedGraph([NodeSpec(node, {}) for node in ("bridge", "policy", "dreamer")], tmp_path)
    assert failed_while_ending(name, code) == bool(message)
    if message:
        assert failure_while_ending(resolved, {name: code}) == message


def test_with_a_checkpoint_the_next_step_is_to_resume(tmp_path):
    (tmp_path / "checkpoints" / "step_0000000010_0000").mkdir(parents=True)
    resolved = ResolvedGraph([NodeSpec(name, {}) for name in ("bridge", "dreamer")], tmp_path)
    assert failure(resolved, {"bridge": -9}).endswith(f": go on by ./swm train resume:={tmp_path}")


def ignoring(*numbers: int):
    def ignore() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    return ignore


def started(*arguments: str, ignored: tuple[int, ...] = (), **given) -> subprocess.Popen:
    """A command whose signals are at their defaults, except those that are ignored."""
    return subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=ignoring(*ignored),
        **given,
    )


def catches(process: subprocess.Popen, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    caught = next(line.split()[1] for line in status if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_anything_is_started_ends_it_in_one_line(tmp_path, number):
    with started("train", f"run:={tmp_path / 'run'}", *LONG, ignored=(signal.SIGINT,)) as process:
        until(lambda: catches(process, number))
        process.send_signal(number)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert told == f"stopped by {number.name}\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_training_leaves_a_checkpoint(tmp_path, number):
    """Also where SIGINT was inherited as ignored, as in the background of a script."""
    run = tmp_path / "run"
    arguments = ("train", "--in-process", f"run:={run}", *LONG)
    with started(*arguments, ignored=(signal.SIGINT,)) as process:
        until(lambda: (run / "episodes.csv").exists())
        process.send_signal(number)
        told, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert f"resume it by resume:={run}" in told and "Traceback" not in errors
    assert loads(run)


HANGS = """
import gymnasium, numpy, pathlib, time
class Hangs(gymnasium.Env):
    observation_space, action_space = gymnasium.spaces.Box(-1, 1, (2,)), gymnasium.spaces.Box(-1, 1, (1,))
    steps = 0
    def reset(self, **_):
        return numpy.zeros(2, numpy.float32), {}
    def step(self, action):
        self.steps += 1
        if self.steps == 70:
            pathlib.Path(__file__).with_name("hangs").touch()
            while True:  # one long sleep could begin just after a signal
                time.sleep(0.1)
        return numpy.zeros(2, numpy.float32), 1.0, False, self.steps % 20 == 0, {}
def make():
    return Hangs()
"""


@pytest.mark.slow
def test_a_second_signal_ends_an_environment_that_hangs_with_what_was_learned(tmp_path):
    (tmp_path / "hanging.py").write_text(HANGS)
    run, found = tmp_path / "run", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    options = TINY | {"algorithm": "popsan", "env": "hanging:make", "evaluate_every": 0, "run": run}
    arguments = ("train", "--in-process", *(f"{name}:={value}" for name, value in options.items()))
    with started(*arguments, env=os.environ | {"PYTHONPATH": found}) as process:
        until((tmp_path / "hangs").exists)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode in (130, 143) and errors.splitlines()[-1].startswith("stopped by SIG")
    assert "Traceback" not in errors and loads(run)


@pytest.mark.slow
def test_under_nohup_a_closed_terminal_ends_nothing(tmp_path):
    run = tmp_path / "run"
    arguments = ("train", "--in-process", f"run:={run}", *LONG)
    with started(*arguments, ignored=(signal.SIGHUP,)) as process:
        until(lambda: (run / "episodes.csv").exists())
        process.send_signal(signal.SIGHUP)
        size = (run / "episodes.csv").stat().st_size
        until(lambda: (run / "episodes.csv").stat().st_size > size)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0 and loads(run)


@pytest.mark.slow
def test_training_whose_terminal_is_closed_ends_with_a_checkpoint_and_a_report(tmp_path):
    run = tmp_path / "run"
    process, terminal = pty.fork()
    if not process:
        os.chdir(ROOT)
        os.execv(sys.executable, command("train", "--in-process", f"run:={run}", *LONG))
    os.set_blocking(terminal, False)

    def drawn() -> bool:
        """Read what it draws, as a terminal does."""
        with contextlib.suppress(BlockingIOError):
            os.read(terminal, 65536)
        return (run / "episodes.csv").exists()

    until(drawn)
    os.close(terminal)
    _, status = until(lambda: (found := os.waitpid(process, os.WNOHANG))[0] and found)
    assert os.waitstatus_to_exitcode(status) == 0
    assert loads(run) and (run / "report.html").exists()


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


LONG_NAME, LONG_PATH = "x" * 300, "/tmp/" + "folder/" * 700
BAD = {
    "train": [
        ("namespace:=1abc", "namespace:=1abc is no ROS namespace"),
        ("namespace:=a b", "namespace:=a b is no ROS namespace"),
        ("namespace:=a//b", "namespace:=a//b is no ROS namespace"),
        ("namespace:=ä", "namespace:=ä is no ROS namespace"),
        (f"namespace:={LONG_NAME}", "is no ROS namespace"),
        (f"run:={LONG_NAME}", "a path is too long: xxx"),
        (f"run:={LONG_PATH}", "a path is too long: /tmp/folder/"),
        ("run:=/dev/null", "run:=/dev/null cannot be written (Not a directory)"),
        ("run:=/dev/null/run", "run:=/dev/null/run cannot be written (Not a directory)"),
        ("run:=/proc/run", "run:=/proc/run cannot be written"),
        ("run:=\udcff", "is no text in UTF-8"),
        ("viewer_port:=65536", "viewer_port:=65536 is outside 0..65535"),
        ("viewer_port:=-1", "viewer_port:=-1 is not a whole number of 0 or more"),
        ("viewer_port:=http", "viewer_port:=http is not a whole number of 0 or more"),
        ("viewer_port:=", "viewer_port:= is not a whole number of 0 or more"),
        ("rate_hz:=nan", "rate_hz:=nan is not a number of 0 or more"),
        ("rate_hz:=-1", "rate_hz:=-1 is not a number of 0 or more"),
        ("rate_hz:=", "rate_hz:= is not a number of 0 or more"),
        ("rate_hz:=inf", "rate_hz:=inf is outside 0.001..10000"),
        ("rate_hz:=1e9", "rate_hz:=1e+09 is outside 0.001..10000"),
        ("rate_hz:=1e-300", "rate_hz:=1e-300 is outside 0.001..10000"),
        ("steps:=1e30", "steps:=1e+30 is outside"),
        ("steps:=", "steps:= is not a whole number"),
        ("resume:=", "resume:= is empty: give a value, or leave it out"),
        ("bag:=", "bag:= is empty: give a value, or leave it out"),
        ("params_file:=", "params_file:= is empty"),
        ("params_file:=/tmp", "params_file:=/tmp does not exist, or is no file"),
        ("params_file:=/etc/hostname", "/etc/hostname must hold 'name: value' lines"),
        ("algorithm:=", "unknown algorithm ''"),
        ("record:=", "unknown record ''"),
        ("viewer:=maybe", "unknown viewer 'maybe'"),
        ("log_level:=loud", "unknown log_level 'loud'"),
        (":=", "':=' is not of the form name:=value"),
    ],
    "view": [("viewer_port:=99999", "viewer_port:=99999 is outside 0..65535")],
    "evaluate": [
        ("checkpoint:=", "checkpoint:= is missing"),
        (f"checkpoint:={LONG_PATH}", "a path is too long"),
        ("rate_hz:=1e-9", "rate_hz:=1e-09 is outside"),
        (f"episodes:={2**63}", "is not a whole number of 0 or more"),
        ("episodes:=0", "episodes:=0 evaluates nothing: give 1 or more"),
    ],
    "dream": [("checkpoint:=/tmp/[b]", "no checkpoint in /tmp/[b]")],
    "deploy": [("robot:=", "unknown robot ''"), ("policy:=/tmp/[/]", "no checkpoint in /tmp/[/]")],
    "report": [("/tmp/[/]", "/tmp/[/] is not a run"), (LONG_PATH, "a path is too long")],
    "compare": [("/tmp/[/b]", "/tmp/[/b] is not a run"), (LONG_PATH, "a path is too long")],
}


@pytest.mark.parametrize(("verb", "argument", "message"), [(v, *pair) for v in BAD for pair in BAD[v]])
def test_bad_input_is_one_line_before_nodes_start(verb, argument, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["swm", verb, argument])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == 2, told
    assert told.startswith("error: ") and told.count("\n") == 1 and message in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content", "told", "code"),
    [
        (
            "episodes.csv",
            b"step,episode\n1,1\n\x87\xff,\n",
            "error: line 3 of RUN/episodes.csv is damaged",
            2,
        ),
        ("evaluations.csv", b"\x00\x01\x02\n\n1\n", "error: line 2 of RUN/evaluations.csv is damaged", 2),
        ("config.yaml", b"[1, 2]", "error: RUN/config.yaml must hold 'name: value' lines", 2),
        ("config.yaml", b"algorithm: x\nenv: x\noptions: [1]", "error: RUN/config.yaml is damaged or", 2),
    ],
)
def test_damaged_files_of_a_run_are_told_in_one_line(
    tmp_path, monkeypatch, capsys, name, content, told, code
):
    for file, text in (("config.yaml", b"algorithm: popsan\nenv: x\noptions: {seed: 1}"), (name, content)):
        (tmp_path / file).write_bytes(text)
    monkeypatch.setattr("sys.argv", ["swm", "report", str(tmp_path)])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        main()
    errors = capsys.readouterr().err
    assert errors.startswith(told.replace("RUN", str(tmp_path))) and errors.count("\n") == 1
    assert ended.value.code == code
    traces = [file.read_text() for file in tmp_path.glob("swm-error-*.txt")]
    assert [True] * (code == 1) == ["Traceback" in trace for trace in traces]


def test_a_port_in_use_is_refused_before_nodes_start(monkeypatch, capsys):
    with listening(0) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr("sys.argv", ["swm", "view", f"viewer_port:={port}"])
        with pytest.raises(SystemExit):
            main()
    told = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1 cannot be used (Address already in use): give another" in told


@pytest.mark.slow
def test_markup_and_emojis_in_a_path_are_printed_as_they_are(tmp_path):
    run = tmp_path / "[b]bold[/b] [/] :smile:"
    given = {k: v for k, v in TINY.items() if not k.startswith("evaluat")} | {"evaluate_every": 0}
    arguments = ("train", "--in-process", f"run:={run}", *(f"{k}:={v}" for k, v in given.items()))
    with started(*arguments) as process:
        told, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert f"everything is in {run} (" in told and loads(run)
