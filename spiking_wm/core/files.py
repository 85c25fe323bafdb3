"""Files and folders that appear whole or not at all, and that one process has at a time."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from spiking_wm.core.errors import UserError

_GIVEN_UP = ".given_up_"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that readers and crashes see the old one or the new one.

    Raises:
        OSError: if it cannot be written (disk full, say); the old file then stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sha256(path: Path) -> str:
    """Digest of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def lock(path: Path) -> IO[bytes]:
    """Lock a file, made if need be, for this process until what is returned is closed.

    Raises:
        BlockingIOError: if another process has locked it.
        OSError: if it cannot be written.
    """
    locked = path.open("ab")
    try:
        fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        locked.close()
        raise
    return locked


class CheckpointFolder:
    """Checkpoints by step; a folder named ``step_*`` is whole, anything else is rubbish.

    Args:
        path: the folder, made if need be.
        keep: how many of the newest are kept.
    """

    def __init__(self, path: Path, keep: int = 2):
        self.path, self._keep = path, keep

    def all(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        return sorted(self.path.glob("step_*"))

    def give_up_after(self, checkpoint: Path) -> None:
        """From now on one of these is the newest; those after it go when the next one is saved."""
        for later in self.all():
            if checkpoint.parent.resolve() == self.path.resolve() and later.name > checkpoint.name:
                os.replace(later, later.with_name(f"{_GIVEN_UP}{later.name}"))

    def save(self, step: int, files: Mapping[str, bytes]) -> Path:
        """Write a checkpoint and drop the oldest ones.

        Raises:
            OSError: if it cannot be written; the older checkpoints then stay.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for rubbish in (*self.path.glob(".unfinished_*"), *self.path.glob(f"{_GIVEN_UP}*")):
            shutil.rmtree(rubbish)
        unfinished = self.path / f".unfinished_{step}"
        # one step can be saved more than once: before and after a dream, say
        same_step = [path for path in self.all() if path.name.startswith(f"step_{step:010d}_")]
        number = int(same_step[-1].name.rsplit("_", 1)[1]) + 1 if same_step else 0
        final = self.path / f"step_{step:010d}_{number:04d}"
        try:
            unfinished.mkdir()
            for name, content in files.items():
                write_atomically(unfinished / name, content)
            os.replace(unfinished, final)
        except OSError:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        for old in self.all()[: -self._keep]:
            shutil.rmtree(old)
        return final


def newest_checkpoint(path: Path) -> Path:
    """The checkpoint that ``path`` means: itself, or the newest of a run.

    Raises:
        UserError: if there is none.
    """
    if path.name.startswith("step_") and path.is_dir():
        return path
    found = CheckpointFolder(path / "checkpoints").all()
    if not found:
        raise UserError(f"no checkpoint in {path}: give the folder of a run, as runs/NAME")
    return found[-1]
