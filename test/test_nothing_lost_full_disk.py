"""A full disk, on a small file system in memory: what learning does, and what is kept."""

import random
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import spiking_wm
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import check_checkpoint
from spiking_wm.core.presets import resolve
from spiking_wm.memory.frames import Frames
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from spiking_wm.runs.learning_run import LearningRun
from spiking_wm.training.session import Session
from spiking_wm_ros.cli.conclude import conclude
from test.conftest import ENV, TINY
from test.test_training import assert_same_state, final_state

EVENTFUL = TINY | {"checkpoint_every": 20, "actor_hidden": "[16]", "critic_hidden": "[16]"}
TABLES = ("episodes", "evaluations", "dreams")


class SmallDisk:
    """A file system of some megabytes."""

    def __init__(self, path):
        self.path, self._ballast = path, path / "ballast"

    def fill(self) -> None:
        with suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass
            raise OSError("full")

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", path], capture_output=True
    ).returncode:
        pytest.skip("no right to mount a file system")
    yield SmallDisk(path)
    subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run = start(tmp_path_factory.mktemp("undisturbed") / "run")
    train(run)
    return run


def start(path, options=EVENTFUL):
    return Run.create(path, resolve("popsan_dream", ENV, options), ENV)


def without_times(rows):
    return [{k: v for k, v in row.items() if k not in ("seconds", "began")} for row in rows]


def assert_all_is_there(run, whole):
    assert_same_state(final_state(run), final_state(whole))
    for table in TABLES:
        assert without_times(run.table(table)) == without_times(whole.table(table)) != []
    boards = [EventAccumulator(str(r.path / "tensorboard")).Reload() for r in (run, whole)]
    tags = boards[0].Tags()["scalars"]
    assert tags == boards[1].Tags()["scalars"] != []
    for tag in tags:
        one, two = ([(s.step, s.value) for s in board.Scalars(tag)] for board in boards)
        assert one == two
    assert [path.name for _, *pair in run.around_dreams() for path in pair] == [
        path.name for _, *pair in whole.around_dreams() for path in pair
    ]
    check_checkpoint(run.newest())


@pytest.mark.parametrize("seed", range(4))
def test_learning_goes_on_while_the_disk_is_full_and_then_all_is_written(disk, undisturbed, seed, capsys):
    rng = random.Random(seed)
    full = rng.randrange(1, 110)
    free = rng.randrange(full, 119)
    run = start(disk.path / "run")

    def on_step(step: int) -> None:
        if step == full:
            disk.fill()
        if step == free:
            disk.free()

    train(run, on_step=on_step)
    assert_all_is_there(run, undisturbed)
    if free > full + 21:
        assert "is not written (No space left on device)" in capsys.readouterr().out


@pytest.mark.parametrize("seed", range(4))
def test_or_it_waits_for_room(disk, undisturbed, seed):
    full = random.Random(seed).randrange(1, 110)
    run = start(disk.path / "run", EVENTFUL | {"on_full_disk": "wait"})
    freed = []

    def on_step(step: int) -> None:
        if step == full and not freed:
            disk.fill()
            freed.append(threading.Timer(0.3, disk.free))
            freed[0].start()

    train(run, on_step=on_step)
    assert_all_is_there(run, undisturbed)


@pytest.mark.parametrize("full", ["go_on", "wait"])
def test_a_run_that_could_not_save_says_so_and_keeps_the_checkpoint_from_before(disk, full):
    run = start(disk.path / "run", EVENTFUL | {"on_full_disk": full})
    stopped = []

    def on_step(step: int) -> None:
        if step == 70:
            disk.fill()
            threading.Timer(0.5, lambda: stopped.append(True)).start()  # whoever waits is stopped

    with pytest.raises(UserError) as raised:
        train(run, on_step=on_step, stopped=lambda: full == "wait" and bool(stopped))
    told = str(raised.value)
    assert told.startswith(f"not saved in {run.path}: ") and "the checkpoint" in told and "\n" not in told
    assert "No space left on device" in told and "goes on from step_0000000060" in told
    disk.free()
    check_checkpoint(run.newest())
    learner = train(start(run.path), run.newest())
    assert learner.step == 120


def test_without_room_from_the_start_nothing_begins(disk):
    disk.fill()
    with pytest.raises(UserError, match="cannot be written"):
        start(disk.path / "run")
    with pytest.raises(UserError, match="cannot be made|cannot be written"):
        spiking_wm.train("popsan", ENV, run=disk.path / "other", progress=False)


def test_options_of_a_run_that_cannot_be_written_are_as_they_were(disk):
    run = start(disk.path / "run")
    before = (run.path / "config.yaml").read_bytes()
    disk.fill()
    with pytest.raises(UserError, match="cannot be written .No space left on device"):
        start(run.path, EVENTFUL | {"steps": 240})
    assert (run.path / "config.yaml").read_bytes() == before
    disk.free()
    assert Run(run.path).config.options["steps"] == 120


def test_policies_act_from_memory_and_are_gone_afterwards(disk):
    run, paths = start(disk.path / "run"), []
    learning = LearningRun(run, Session(ENV, 0, 10).spaces, None, lambda _, path: paths.append(path))
    disk.fill()
    for _ in range(8):
        learning.learner.release()
    assert not run.policies.exists() or not list(run.policies.iterdir())
    assert len(paths) == 8 and not paths[0].exists() and paths[-1].exists()
    disk.free()
    learning.close()
    assert [path.name for path in run.policies.iterdir()] == ["policy_000008.safetensors"]
    assert not paths[-1].exists()


def test_a_replay_file_has_its_room_from_the_start(disk):
    """To write to a mapped page that the disk has no room for would kill the learner (SIGBUS)."""
    frames = Frames(1000, (84, 84, 1), torch.uint8, file=str(disk.path / "replay"))
    disk.fill()
    frames.fields["picture"].fill_(1)
    with pytest.raises(UserError, match="has no room for 7 MB .No space left on device"):
        Frames(1000, (84, 84, 1), torch.uint8, file=str(disk.path / "other"))
    assert not (disk.path / "other").exists()


def test_pictures_and_report_are_whole_or_as_before(disk, undisturbed):
    from shutil import copytree

    copytree(undisturbed.path, disk.path / "run")
    conclude(disk.path / "run", Console())
    before = {p.name: p.read_bytes() for p in (disk.path / "run").iterdir() if p.suffix in (".png", ".html")}
    assert before.keys() >= {"curve.png", "report.html"}
    disk.fill()
    with pytest.raises(UserError, match="report and pictures of .* are not written .No space left on device"):
        conclude(disk.path / "run", Console())
    assert all((disk.path / "run" / name).read_bytes() == content for name, content in before.items())


def test_the_command_ends_with_another_code_than_0_and_says_so(disk):
    """The disk is full but for what the run needs to begin."""
    disk.fill()
    with (disk.path / "ballast").open("rb+") as file:
        file.truncate(file.seek(0, 2) - 96 * 1024)
    where = f"run:={disk.path / 'run'}"
    options = [f"{name}:={value}" for name, value in (EVENTFUL | {"steps": 60}).items()]
    command = [sys.executable, "-m", "spiking_wm_ros.cli", "train", "--in-process", where, *options]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2 and "everything is in" not in ended.stdout
    (error,) = ended.stderr.splitlines()
    assert error.startswith("error: not saved in ") and "No space left on device" in error
    assert error.endswith(f"start it again by {where}")
