"""Atomic writes of files and checkpoints, digests, and file locks."""

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from spiking_wm.core.errors import UserError
from spiking_wm.core.storage import load_facts

_GIVEN_UP, _UNFINISHED = ".given_up_", ".unfinished_"
_SAVED, _FAILED = "step_", "failed_"  # of checkpoint folders; the others are not taken as the newest one
_FILES = ("agent.safetensors", "policy.safetensors", "episode.safetensors")  # of a checkpoint


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file atomically: readers see either the old content or the new, also after a crash.

    Raises:
        OSError: if it cannot be written (disk full, for example); the old file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")  # no `mkstemp`: others may read it
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def append_atomically(path: Path, content: bytes) -> None:
    """Append to a file all of the content or, if that is impossible, nothing.

    Raises:
        OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except BaseException:
            os.ftruncate(file.fileno(), size)
            raise


def append_traceback(path: Path, error: BaseException) -> None:
    """Append the time and the traceback of an exception to a log file, if it can be written."""
    told = "".join(traceback.format_exception(error))
    with suppress(OSError):
        append_atomically(path, f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{told}\n".encode())


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

    A learner that failed leaves its state in ``failed_STEP_NUMBER``, which `all` does not name: whatever
    made it fail may have damaged it.

    Args:
        path: the folder that holds them; `save` creates it.
        keep: number of newest checkpoints to keep.
    """

    def __init__(self, path: Path, keep: int = 2):
        self.path, self._keep = path, keep

    def all(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(self.path.glob(f"{_SAVED}*"))

    def failed(self) -> list[Path]:
        """States of learners that failed, oldest first."""
        return sorted(self.path.glob(f"{_FAILED}*"))

    def give_up_after(self, checkpoint: Path) -> None:
        """Make a checkpoint the newest one: rename later ones, which the next `save` deletes."""
        if checkpoint.parent.resolve() != self.path.resolve():
            return
        for later in self.all():
            if later.name.removeprefix(_SAVED) > checkpoint.name.removeprefix(_SAVED).removeprefix(_FAILED):
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
        final = self._write(_SAVED, self.all(), step, files)
        for old in (*self.path.glob(f"{_GIVEN_UP}*"), *self.all()[: -self._keep]):
            shutil.rmtree(old)
        return final

    def save_failed(self, step: int, files: Mapping[str, bytes]) -> Path:
        """Write the state of a learner that failed, as `save`, and delete those from before."""
        before = self.failed()
        final = self._write(_FAILED, before, step, files)
        for old in before:
            shutil.rmtree(old)
        return final

    def _write(self, prefix: str, others: list[Path], step: int, files: Mapping[str, bytes]) -> Path:
        self.path.mkdir(parents=True, exist_ok=True)
        for leftover in self.path.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover)
        # a step can be saved more than once, as before and after a dream
        same_step = [path for path in others if path.name.startswith(f"{prefix}{step:010d}_")]
        number = int(same_step[-1].name.rsplit("_", 1)[1]) + 1 if same_step else 0
        final, unfinished = (self.path / f"{p}{step:010d}_{number:04d}" for p in (prefix, _UNFINISHED))
        try:
            unfinished.mkdir()
            for name, content in files.items():
                write_atomically(unfinished / name, content)
            os.replace(unfinished, final)
        except OSError:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        return final


def newest_checkpoint(path: Path) -> Path:
    """The checkpoint itself if ``path`` is one, else the newest undamaged one of the run in ``path``.

    Names damaged ones that are newer, on stderr.

    Raises:
        UserError: if there is no checkpoint, or all are damaged.
    """
    if path.name.startswith((_SAVED, _FAILED)) and path.is_dir():
        check_checkpoint(path)
        return path
    folder = CheckpointFolder(path / "checkpoints")
    if not folder.all():
        failed = "".join(f", or {state}, which a learner that failed has left" for state in folder.failed())
        raise UserError(f"no checkpoint in {path}: give the folder of a run, as runs/NAME{failed}")
    damaged: list[UserError] = []
    for checkpoint in reversed(folder.all()):
        try:
            check_checkpoint(checkpoint)
        except UserError as error:
            damaged.append(error)
            continue
        for newer in damaged:
            print(f"warning: {newer}; {checkpoint} is taken", file=sys.stderr, flush=True)
        return checkpoint
    raise UserError(f"all checkpoints of {path} are damaged: {damaged[0]}")


def check_checkpoint(path: Path) -> None:
    """Check all files of a checkpoint.

    Raises:
        UserError: if one is missing or damaged.
    """
    for name in _FILES:
        load_facts(path / name)
