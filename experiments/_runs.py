"""Runs of an experiment, trained side by side, each in a process of its own at the lowest priority.

As a program it trains the run in the folder given: from the newest checkpoint, if there is one, until the run
is finished, SIGTERM comes, or the experiment that started it is gone. In the last two cases it saves.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from _kept import check_unchanged
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import Setup
from spiking_wm.core.process import LOWEST, interrupted
from spiking_wm.runs.config import done, is_run, options_of, read_config
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train

ROOT = Path(__file__).resolve().parents[1]
LOG, COMMITS = "log.txt", "commits.txt"  # of a run: what it printed; commits of this repository it ran at
_POLL = 0.5  # seconds


class Planned(NamedTuple):
    """A run that an experiment needs: its folder, its options and the environment's id."""

    path: Path
    setup: Setup
    env: str

    @property
    def finished(self) -> bool:
        """True if all its steps and its last evaluation are done."""
        saved = Run(self.path).checkpoints.all()
        return bool(saved) and done(saved[-1], self.setup.schedule)

    @property
    def steps_done(self) -> int:
        """Steps up to the end of its last training episode, or all if it is finished."""
        if self.finished:
            return self.setup.schedule.steps
        return max((int(row["step"]) for row in Run(self.path).table("episodes")), default=0)

    @property
    def commits(self) -> list[str]:
        """Commits of this repository at which it was trained."""
        file = self.path / COMMITS
        return file.read_text().split() if file.exists() else []


def check_begun(planned: Planned, with_options: bool = True) -> None:
    """Check that the run in the folder, if there is one, was begun as planned, but for its number of steps.

    Args:
        planned: the run.
        with_options: compare all options, not only algorithm and environment.

    Raises:
        UserError: if it was not, naming what differs, or the folder holds something else.
    """
    path, setup = planned.path, planned.setup
    if not is_run(path):
        if path.exists() and any(path.iterdir()):
            raise UserError(f"{path} is not a run: choose another folder:=")
        return
    config = read_config(path)
    wanted = {"algorithm": setup.algorithm, "env": planned.env}
    before = {"algorithm": config.algorithm, "env": config.env}
    if with_options:
        wanted |= options_of(setup) | {"steps": 0}
        before |= config.options | {"steps": 0}
    check_unchanged(path, wanted, before)


def train_all(planned: Sequence[Planned], processes: int) -> bool:
    """Train runs that are not finished, in the order given, with a progress bar; Ctrl-C lets them save.

    Args:
        planned: the runs; `check_begun` has passed for each.
        processes: how many are trained at a time.

    Returns:
        True if all are finished, False if an interrupt came first.

    Raises:
        UserError: if runs failed (the others are trained nevertheless), or another process learns in one.
    """
    waiting = [run for run in planned if not run.finished]
    running: list[tuple[Planned, subprocess.Popen]] = []
    steps = {run.path: run.steps_done for run in planned}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    total = sum(run.setup.schedule.steps for run in planned)
    with interrupted() as stopped, Progress(*columns, speed_estimate_period=300) as progress:
        bar = progress.add_task("", total=total, completed=sum(steps.values()))
        try:
            while (waiting or running) and not stopped():
                while waiting and len(running) < processes:
                    running.append((waiting[0], _start(waiting.pop(0))))
                time.sleep(_POLL)
                steps |= {run.path: run.steps_done for run, _ in running}
                running = [(run, process) for run, process in running if process.poll() is None]
                ended = len(planned) - len(waiting) - len(running)
                text = f"{ended} of {len(planned)} runs ended"
                progress.update(bar, completed=sum(steps.values()), description=text)
        finally:
            for _, process in running:
                process.terminate()
            for _, process in running:
                process.wait()
    unfinished = [run for run in planned if not run.finished]
    if unfinished and not stopped():
        raise UserError("; ".join(f"{run.path} failed: {_last_line(run.path / LOG)}" for run in unfinished))
    return not unfinished


def _start(planned: Planned) -> subprocess.Popen:
    """Start or resume a run; it is out of reach of the terminal's Ctrl-C, which `train_all` hands on.

    Raises:
        UserError: if another process learns in it.
    """
    path = planned.path
    if is_run(path):
        Run(path).lock().close()  # waits for a process whose experiment was killed, which still saves
        if not Run(path).checkpoints.all():  # stopped before the first one
            shutil.rmtree(path)
    run = Run.create(path, planned.setup, planned.env)
    if _commit() not in planned.commits:
        (path / COMMITS).write_text("\n".join([*planned.commits, _commit()]))
    python_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    with (path / LOG).open("ab") as log:
        return subprocess.Popen(
            [*LOWEST, sys.executable, __file__, str(run.path)],
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": python_path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


@cache
def _commit() -> str:
    """The commit of this repository, with ``-dirty`` if files differ from it; ``unknown`` if none."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _last_line(log: Path) -> str:
    lines = log.read_text().splitlines() if log.exists() else []
    return f"{lines[-1]} (all of it: {log})" if lines else "it printed nothing"


def main() -> None:
    """Train the run in the folder given by the first argument."""
    run, experiment, step = Run(sys.argv[1]), os.getppid(), 0
    saved = run.checkpoints.all()
    dreams = run.config.resolve().schedule.dream

    def count(now: int) -> None:
        nonlocal step
        step = now

    with interrupted() as stopped:
        # a dream that were cut short would not be made up for: the run would not go on bit for bit
        train(
            run,
            saved[-1] if saved else None,
            on_step=count,
            stopped=lambda: (stopped() or os.getppid() != experiment) and not dreams.due(step),
        )


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
