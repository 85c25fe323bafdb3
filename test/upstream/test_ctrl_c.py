"""Ctrl-C under `ros2 launch`, at any moment of a training."""

import time

import pytest

from test.test_command_faults import loads, until
from test.upstream.launching import LONG, Terminal, need_ros2

need_ros2()

UP = "Default logging verbosity"  # before, Python loads ros2 itself, and ends with its traceback
MOMENTS = [round(15 * number / 19, 1) for number in range(20)]  # seconds


@pytest.fixture
def training(tmp_path):
    run = f"run:={tmp_path / 'run'}"
    made = Terminal(["ros2", "launch", "spiking_wm_ros", "train.launch.py", run, *LONG], tmp_path)
    made.run = tmp_path / "run"
    made.shows(UP)
    yield made
    made.close()


@pytest.mark.parametrize("seconds", MOMENTS)
def test_ctrl_c_ends_all_with_what_was_learned(training, seconds):
    time.sleep(max(0.0, training.began + seconds - time.monotonic()))
    training.press_ctrl_c()
    pressed = time.monotonic()
    code = training.ended()
    print(f"{seconds} s: {len(training.nodes())} nodes, ended after {time.monotonic() - pressed:.1f} s")
    assert code == 0, training.shown
    assert "Traceback" not in training.shown and "[ERROR]" not in training.shown, training.shown
    assert not training.left()
    if training.run.exists():
        assert loads(training.run), training.shown
        assert "everything is in" in training.shown
        evaluated = (training.run / "evaluations.csv").exists()
        assert (training.run / "report.html").exists()
        assert (training.run / "curve.png").exists() == evaluated


def test_a_later_one_skips_the_report(training):
    training.shows("has mean return")
    training.press_ctrl_c()
    training.shows("[dreamer-3]: process has finished cleanly")
    training.press_ctrl_c()  # `launch` is to lose no event of its nodes by this one
    until(lambda: any("cli.conclude" in process for process in training.left()))
    training.press_ctrl_c()
    assert training.ended() == 0, training.shown
    assert "without a report" in training.shown and "Traceback" not in training.shown
    assert loads(training.run) and not training.left()
