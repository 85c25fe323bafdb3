"""Scalars for TensorBoard.

TensorBoard's own writer has a thread that ends at the first failed write, with all that it holds; this one
keeps what it could not write.
"""

import io
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from spiking_wm.core.files import append_atomically

_EVERY = 5.0  # seconds between two writes


class ScalarsFile:
    """An event file of TensorBoard.

    Args:
        folder: of event files; made at the first write.
    """

    def __init__(self, folder: Path):
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        now = time.time()
        self._path = folder / f"events.out.tfevents.{now:.6f}.{socket.gethostname()}.{os.getpid()}"
        self._unwritten = io.BytesIO()
        self._records = RecordWriter(self._unwritten)
        self._written = 0.0  # time
        self._records.write(self._event(wall_time=now, file_version="brain.Event:2").SerializeToString())

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add values by name, in memory."""
        for name, value in values.items():
            summary = self._summary(value=[self._summary.Value(tag=name, simple_value=value)])
            event = self._event(wall_time=time.time(), step=step, summary=summary)
            self._records.write(event.SerializeToString())

    @property
    def due(self) -> bool:
        """True if the last write is some seconds ago."""
        return time.monotonic() > self._written + _EVERY

    def write(self) -> None:
        """Write what was added.

        Raises:
            OSError: if that is impossible; it is then kept.
        """
        self._written = time.monotonic()
        append_atomically(self._path, self._unwritten.getvalue())
        self._unwritten.seek(0)
        self._unwritten.truncate()


def scalars_file(folder: Path) -> ScalarsFile | None:
    """A new event file in a folder; None if the extra ``tensorboard`` is not installed."""
    try:
        return ScalarsFile(folder)
    except ModuleNotFoundError:
        return None
