"""Atomic writes of files and checkpoints, digests, and file locks."""

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
    """Write a file atomically: readers see either the old content or the new, also after a crash.

    Raises:
        OSError: if it cannot be written (disk full, for example); the old file stays.
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
    """SHA-256 digest of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def lock(path: Path) -> IO[bytes]:
    """Create a file if necessary, and lock it for this process until the returned file is closed.

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
    """Checkpoints in folders ``step_STEP_NUMBER``. Each is complete; `save` deletes all other folders.

    Args:
        path: the folder that holds them; `save` creates it.
        keep: number of newest checkpoints to keep.
    """

    def __init__(self, path: Path, keep: int = 2):
        self.path, self._keep = path, keep

    def all(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(self.path.glob("step_*"))

    def give_up_after(self, checkpoint: Path) -> None:
        """Make a checkpoint the newest one: rename later ones, which the next `save` deletes."""
        for later in self.all():
            if checkpoint.parent.resolve() == self.path.resolve() and later.name > checkpoint.name:
                os.replace(later, later.with_name(f"{_GIVEN_UP}{later.name}"))

    def save(self, step: int, files: Mapping[str, bytes]) -> Path:
        """Write a checkpoint atomically, then delete the oldest ones.

        Args:
            step: environment steps so far; several checkpoints of one step are numbered.
            files: contents by file name.

        Returns:
            The folder of the checkpoint.

        Raises:
            OSError: if it cannot be written; the older checkpoints stay.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for leftover in (*self.path.glob(".unfinished_*"), *self.path.glob(f"{_GIVEN_UP}*")):
            shutil.rmtree(leftover)
        unfinished = self.path / f".unfinished_{step}"
        # a step can be saved more than once, as before and after a dream
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
    """The checkpoint itself if ``path`` is one, else the newest of the run in ``path``.

    Raises:
        UserError: if there is no checkpoint.
    """
    if path.name.startswith("step_") and path.is_dir():
        return path
    found = CheckpointFolder(path / "checkpoints").all()
    if not found:
        raise UserError(f"no checkpoint in {path}: give the folder of a run, as runs/NAME")
    return found[-1]
