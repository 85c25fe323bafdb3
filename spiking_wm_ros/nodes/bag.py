"""MCAP files of serialised ROS messages, split by size and time, and readable after a crash.

Messages are grouped in small chunks, which are written several times per second (`Bag.flush`). A killed
process loses the last chunk and the index at the end of the file; `messages` does not need the index.

Importing this module raises `UserError` if the extra ``bags`` is not installed.
"""

import importlib
import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ament_index_python.packages import get_package_share_directory
from rclpy.serialization import deserialize_message
from spiking_wm_msgs.msg import Transition as TransitionMessage

from spiking_wm.core.contract import Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.extras import missing_extra
from spiking_wm.core.spaces import Spaces
from spiking_wm_ros.nodes.bad_messages import BadMessage
from spiking_wm_ros.nodes.messages import from_transition

with missing_extra():
    from mcap.exceptions import McapError
    from mcap.records import Channel, Message, Schema
    from mcap.stream_reader import StreamReader
    from mcap.writer import MCAP0_MAGIC, CompressionType, Writer
    from zstandard import ZstdError  # mcap requires it

_TRANSITION = "spiking_wm_msgs/msg/Transition"
_CHUNK = 64 * 1024  # bytes
_MOST_KEPT = 64 * 1024 * 1024  # bytes of messages in memory while nothing can be written
_SEPARATOR = "=" * 80 + "\n"
_NO_PACKAGE = ("bool", "byte", "char", "float", "double", "int", "uint", "string", "wstring")


class Recorded(NamedTuple):
    """A message of a bag."""

    topic: str
    kind: str  # message type, such as spiking_wm_msgs/msg/Action
    time: int  # arrival time, in nanoseconds since 1970
    data: bytes  # CDR
    published: int  # by the publisher's clock, in nanoseconds since 1970


class Bag:
    """Writes messages to a folder of MCAP files. While the disk is full, it keeps them in memory.

    Args:
        folder: of ``bag_0000.mcap`` and so on; made if missing.
        split_bytes, split_seconds: size and age at which the next file begins.

    Raises:
        UserError: if the folder cannot be written.
    """

    def __init__(self, folder: Path, split_bytes: float, split_seconds: float):
        self._folder, self._bytes, self._seconds = folder, split_bytes, split_seconds
        self._files = self._messages = self._written = 0
        self._kept: list[Recorded] = []  # not flushed to a file yet
        self._stream: BinaryIO | None = None
        self.lost = 0  # messages, because too many were kept
        self.reason = ""  # why nothing can be written now; empty: it can
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise UserError(
                f"{folder} cannot be written ({error.strerror}): free some disk, or choose another folder"
            ) from None

    def write(self, topic: str, kind: str, data: bytes, now: int, published: int | None = None) -> None:
        """Add a message, in memory; the next file begins if it is time.

        Args:
            topic: its topic.
            kind: its type, such as spiking_wm_msgs/msg/Action.
            data: the message as CDR.
            now: when it arrived, in nanoseconds since 1970.
            published: when it was published; None: at the same time.
        """
        if self._stream and (
            self._stream.tell() > self._bytes or time.monotonic() - self._began > self._seconds
        ):
            self._end_file()
            with suppress(OSError):  # else `flush` opens it
                self._open()
        self._kept.append(Recorded(topic, kind, now, data, now if published is None else published))
        self._messages += 1

    def flush(self) -> bool:
        """Write all messages so far to the file.

        Returns:
            False if that is impossible now. A later call then writes the messages to a new file; beyond 64 MB
            the oldest are lost.
        """
        try:
            self._write_kept()
            self.reason = ""
        except OSError as error:
            self.reason = error.strerror or str(error)
            self._abandon()
        return not self.reason

    def _open(self) -> None:
        self._path = self._folder / f"bag_{self._files:04d}.mcap"
        self._stream = self._path.open("xb")
        self._writer = Writer(self._stream, chunk_size=_CHUNK, compression=CompressionType.ZSTD)
        self._writer.start(profile="ros2")
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._flushed = 0  # size of the file after the last flush
        self._began, self._files = time.monotonic(), self._files + 1

    def _write_kept(self) -> None:
        if self._kept and self._stream is None:
            self._open()
        for message in self._kept:
            self._add(message)
        if self._stream:
            self._writer.flush()
            self._stream.flush()
            self._flushed = self._stream.tell()
        self._kept.clear()

    def _add(self, message: Recorded) -> None:
        topic, kind, now, data, published = message
        if topic not in self._channels:
            if kind not in self._schemas:
                text = definition(kind).encode()
                self._schemas[kind] = self._writer.register_schema(kind, "ros2msg", text)
            self._channels[topic] = self._writer.register_channel(topic, "cdr", self._schemas[kind])
        self._counts[topic] = self._counts.get(topic, 0) + 1
        self._writer.add_message(self._channels[topic], now, data, published, self._counts[topic])

    def _abandon(self) -> None:
        """Leave the file as it was after the last flush, and keep what came later within limits."""
        if self._stream:
            with suppress(OSError):
                self._stream.close()
            self._stream = None
            os.truncate(self._path, self._flushed)
            self._written += self._flushed
            if not self._flushed:
                self._path.unlink()
                self._files -= 1
        size = sum(len(message.data) for message in self._kept)
        while size > _MOST_KEPT:
            size -= len(self._kept.pop(0).data)
            self.lost += 1

    def figures(self) -> dict[str, int]:
        """Numbers of messages, bytes and files, for diagnostics."""
        written = self._written + (self._stream.tell() if self._stream else 0)
        return {"messages": self._messages, "bytes": written, "files": self._files}

    def _end_file(self) -> None:
        """Write all messages so far, and finish the file."""
        if not self.flush() or self._stream is None:
            return
        try:
            self._writer.finish()
            self._written += self._stream.tell()
            self._stream.close()
            self._stream = None
        except OSError:  # it has all messages, but no index
            self._abandon()

    def close(self) -> None:
        """Write all messages, and finish the last file.

        Raises:
            UserError: if that is impossible.
        """
        self._end_file()
        if self._kept:
            raise UserError(
                f"the last {len(self._kept)} messages are not recorded in {self._folder} ({self.reason}):"
                " free some disk space"
            )


def messages(folder: Path) -> Iterator[Recorded]:
    """All messages of a bag in order of arrival, also if its recorder was killed.

    Raises:
        UserError: if the folder has no MCAP files, or one is damaged before its end.
    """
    files = sorted(folder.glob("*.mcap")) if folder.is_dir() else [folder]
    if not files or not files[0].is_file():
        raise UserError(f"{folder} holds no .mcap files: give a folder as runs/NAME/bags/…")
    for file in files:
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        with file.open("rb") as stream:
            records = StreamReader(stream, validate_crcs=True).records
            try:
                for record in records:
                    if isinstance(record, Schema):
                        schemas[record.id] = record
                    elif isinstance(record, Channel):
                        channels[record.id] = record
                    elif isinstance(record, Message):
                        channel = channels[record.channel_id]
                        kind = schemas[channel.schema_id].name
                        when, published = record.log_time, record.publish_time
                        yield Recorded(channel.topic, kind, when, record.data, published)
            except (McapError, ZstdError, struct.error, ValueError) as error:
                # a killed recorder leaves a file without an end, whose last record is cut off
                if stream.read(1) or _finished(file):
                    raise UserError(
                        f"{file} is damaged ({error}): it is no MCAP file, or was changed"
                    ) from None


def transitions(folder: Path, spaces: Spaces) -> Iterator[Transition]:
    """Recorded transitions of training, in order.

    Args:
        folder: folder of the bag.
        spaces: the environment's spaces; the transitions must fit them.

    Raises:
        UserError: as `messages`; if there are no transitions, or they do not fit.
    """
    found = 0
    for message in messages(folder):
        if message.kind != _TRANSITION:
            continue
        recorded = deserialize_message(message.data, TransitionMessage)
        try:
            transition = from_transition(recorded, spaces.action.dtype)
        except BadMessage as error:
            raise UserError(f"{folder} has a transition with {error}: record it again") from None
        shapes = transition.observation.shape, transition.action.shape
        if shapes != (spaces.observation.shape, spaces.action.shape):
            raise UserError(
                f"{folder} has observations and actions of shapes {shapes}, not {spaces.observation.shape}"
                f" and {spaces.action.shape}: it was recorded in another env:="
            )
        if not transition.evaluation:
            found += 1
            yield transition
    if not found:
        raise UserError(f"{folder} holds no transitions of training: record some by record:=true")


def _finished(file: Path) -> bool:
    if file.stat().st_size < len(MCAP0_MAGIC):  # the recorder was killed before the first write
        return False
    with file.open("rb") as stream:
        stream.seek(-len(MCAP0_MAGIC), 2)
        return stream.read() == MCAP0_MAGIC


def message_class(kind: str) -> type:
    """The Python class of a message type, as ``std_msgs/msg/Bool``.

    Raises:
        ImportError, AttributeError: if there is none.
    """
    package, _, name = kind.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), name)


def definition(kind: str) -> str:
    """The definition of a message type and of all types it contains, in MCAP's ``ros2msg`` encoding."""
    parts, waiting = {}, [kind]
    while waiting:
        name = waiting.pop(0)
        if name not in parts:
            package, message = name.split("/")[0], name.split("/")[-1]
            file = Path(get_package_share_directory(package)) / "msg" / f"{message}.msg"
            parts[name] = file.read_text()
            waiting += _made_of(parts[name], package)
    first, *others = parts
    blocks = [f"MSG: {_short(name)}\n{parts[name]}" for name in others]
    return _SEPARATOR.join([parts[first], *blocks])


def _made_of(text: str, package: str) -> list[str]:
    """Message types of the fields of a definition."""
    found = []
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if not words or "=" in "".join(words[:2]):  # nothing, or a constant
            continue
        kind = words[0].split("[")[0].split("<")[0]
        if kind.rstrip("0123456789") in _NO_PACKAGE:
            continue
        found.append(kind if "/" in kind else f"{package}/{kind}")
    return [f"{name.split('/')[0]}/msg/{name.split('/')[-1]}" for name in found]


def _short(name: str) -> str:
    return f"{name.split('/')[0]}/{name.split('/')[-1]}"
