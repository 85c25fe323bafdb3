"""`./swm` as a user types it, bad input first."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from test.conftest import TINY
from test.ros.graph import children

ROOT = Path(__file__).resolve().parents[2]


def swm(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(ROOT / "swm"), *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=environment.pop("cwd", ROOT),
        env={k: v for k, v in os.environ.items() if k != "SWM_ACTIVE"} | environment,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "algorithm:=popsn"), "unknown algorithm 'popsn'; did you mean 'popsan'"),
        (("train", "env:=HalfCheeta-v5"), "did you mean 'HalfCheetah-v5'"),
        (("train", "btach:=3"), "unknown parameter 'btach'; did you mean 'batch'"),
        (("train", "batch:=1"), "batch:=1 is outside 2..65536"),
        (("train", "discount:=1.5"), "discount:=1.5 is outside 0..1"),
        (("train", "steps:=soon"), "steps:=soon is not a whole number"),
        (("train", "rate_hz:=fast"), "rate_hz:=fast is not a number"),
        (("train", "steps=100"), "'steps=100' is not of the form name:=value"),
        (("train", "resume:=/nowhere"), "no checkpoint in /nowhere"),
        (("train", "params_file:=/nowhere.yaml"), "does not exist"),
        (("evaluate",), "checkpoint:= is missing"),
        (("evaluate", "checkpoint:=/nowhere"), "no checkpoint in /nowhere"),
        (
            ("train", "--in-process", "env:=Rover-v0", "battery:=own"),
            "battery:=own has no effect without nodes",
        ),
        (("dream", "checkpoint:=/nowhere"), "no checkpoint in /nowhere"),
        (("launch", "trian.launch.py"), "did you mean 'train.launch.py'"),
        (("bench", "popsam"), "did you mean 'popsan'"),
        (("shell", "no-such-command"), "no command 'no-such-command'"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message):
    ended = swm(*arguments)
    assert ended.returncode == 2, ended
    assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1, ended.stderr
    assert message in ended.stderr


def test_a_run_is_never_overwritten(tmp_path):
    (tmp_path / "config.yaml").write_text("{}")
    (tmp_path / "policies").mkdir()
    ended = swm("train", f"run:={tmp_path}")
    assert ended.returncode == 2 and "is a run already" in ended.stderr


def test_a_discrete_environment_is_refused_with_the_reason(tmp_path):
    ended = swm("train", "env:=CartPole-v1", f"run:={tmp_path / 'run'}")
    assert ended.returncode == 2
    assert "continuous actions" in ended.stderr and "choose another env:=" in ended.stderr


def test_a_wrong_parameter_file_is_refused_by_the_node(tmp_path):
    for text, message in (("btach: 3", "did you mean 'batch'"), ("discount: 3.0", "outside 0..1")):
        file = tmp_path / "parameters.yaml"
        file.write_text(f"/**/dreamer:\n  ros__parameters:\n    {text}\n")
        ended = swm("train", f"params_file:={file}", f"run:={tmp_path / 'run'}")
        assert ended.returncode == 2 and message in ended.stderr, ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_no_node_outlives_its_console(tmp_path, number):
    """Not when Ctrl-C is pressed at once, the terminal is closed, or the console killed."""
    command = [
        str(ROOT / "swm"),
        "train",
        f"run:={tmp_path / 'run'}",
        *(f"{k}:={v}" for k, v in TINY.items()),
    ]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as console:
        deadline = time.monotonic() + 60
        while len(nodes := children(console.pid, "spiking_wm_ros.nodes.")) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        console.send_signal(number)
        _, told = console.communicate(timeout=30)
    while any(Path(f"/proc/{node}").exists() for node in nodes):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "error:" not in told
    assert console.returncode == (-9 if number == signal.SIGKILL else 0)


def test_training_in_one_process_that_is_stopped_keeps_what_it_has(tmp_path):
    run, given = tmp_path / "run", [f"{k}:={v}" for k, v in (TINY | {"steps": 100_000}).items()]
    with subprocess.Popen(
        [str(ROOT / "swm"), "train", "--in-process", f"run:={run}", *given],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as training:
        try:
            deadline = time.monotonic() + 60
            while not (run / "episodes.csv").exists():
                assert time.monotonic() < deadline and training.poll() is None
                time.sleep(0.05)
            training.send_signal(signal.SIGINT)
            told, _ = training.communicate(timeout=30)
        finally:
            training.kill()
    assert training.returncode == 0 and "resume it by resume:=" in told, told
    assert [path.name for path in (run / "checkpoints").iterdir()]


def test_arguments_are_listed():
    shown = swm("train", "--show-args").stdout
    for name in ("algorithm", "env", "resume", "popsan_dream", "updates_per_step", "dream.threshold"):
        assert name in shown
    assert "checkpoint" in swm("launch", "evaluate.launch.py", "--show-args").stdout


def test_options_are_listed_with_values_and_where_they_come_from():
    """From the command line, also by a flat name; from a preset; from its environment's file; defaults."""
    given = ("algorithm:=popsan_dream", "critic.lr:=1e-4", "evaluate_every:=70", "capacity_j:=20")
    lines = swm("train", "--show-args", *given).stdout.splitlines()
    # one space before an option, more before the next line of a description
    shown = {
        found[1]: " ".join(found[2].split()) for line in lines if (found := re.match(r" (\S+)(.*)", line))
    }
    assert re.match(r"0\.0001 0\.\.1 command line learning rate of the critics", shown["critic.lr"])
    assert re.match(r"70 .*command line", shown["evaluation.every"])
    assert re.match(r"20\.0 .*command line", shown["capacity_j"])
    assert re.match(r"\d+ .*(preset popsan_dream|in InvertedPendulum-v5)", shown["dream.every"])
    assert re.match(r"\d+ 1\.\. all in InvertedPendulum-v5", shown["steps"])
    assert re.match(r"0\.99 0\.\.1 default", shown["discount"])
    refused = swm("train", "--show-args", "critic.rl:=1")
    assert refused.returncode == 2 and "did you mean 'critic.lr'" in refused.stderr


@pytest.mark.parametrize(
    ("node", "module", "extra"), [("recorder", "mcap", "bags"), ("viewer", "nicegui", "viewer")]
)
def test_a_node_names_the_extra_that_it_lacks(tmp_path, node, module, extra):
    code = f"import sys; sys.modules['{module}'] = None; from spiking_wm_ros.nodes.{node} import main; main()"
    arguments = ["--ros-args", "-p", f"folder:={tmp_path}"] if node == "recorder" else []
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
    assert f"{module} is not installed: pip install 'spiking_wm_ros[{extra}]'" in ended.stderr


def test_train_ends_with_pictures_and_says_where_they_are(tmp_path):
    given = [f"{k}:={v}" for k, v in TINY.items()]
    ended = swm("train", f"run:={tmp_path / 'run'}", *given)
    assert ended.returncode == 0, ended.stderr
    assert "everything is in" in ended.stdout and "curve.png" in ended.stdout
    assert (tmp_path / "run" / "curve.png").stat().st_size > 10_000
    again = swm("train", "--in-process", f"run:={tmp_path / 'two'}", *given)
    assert again.returncode == 0, again.stderr
    one, two = ((tmp_path / name / "episodes.csv").read_text() for name in ("run", "two"))
    assert one == two


@pytest.mark.parametrize(("kind", "name"), [("bench", "popsan"), ("experiment", "rsnn_pong")])
def test_programs_that_are_stopped_end_with_one_line(kind, name, tmp_path):
    with (tmp_path / "told").open("w") as told:
        running = subprocess.Popen(
            [str(ROOT / "swm"), kind, name], stdout=told, stderr=told, cwd=ROOT, start_new_session=True
        )
        try:
            while b"cli.program" not in Path(f"/proc/{running.pid}/cmdline").read_bytes():
                time.sleep(0.1)
            time.sleep(6)
            os.killpg(running.pid, signal.SIGINT)  # as a terminal does
            assert running.wait(30) != 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    said = (tmp_path / "told").read_text()
    assert "stopped" in said and "Traceback" not in said
