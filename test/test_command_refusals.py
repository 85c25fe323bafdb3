"""What `./swm` refuses in one line before nodes start."""

import pytest

from spiking_wm_ros.cli.__main__ import main
from spiking_wm_ros.viewer.port import listening
from test.conftest import TINY
from test.test_command_faults import loads, started

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
