"""MCAP files of serialised ROS messages, split by size and time, and readable after a crash.

Messages are grouped in small chunks, which are written several times per second (`Bag.flush`). A killed
process loses the last chunk and the index at the end of the file; `messages` does not need the index.

Importing this module raises `UserError` if the extra ``bags`` is not installed.
"""

import importlib
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from ament_index_python.packages import get_package_share_directory
from rclpy.serialization import deserialize_message
from spiking_wm_msgs.msg import Transition as TransitionMessage

from spiking_wm.core.contract import Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.extras import missing_extra
from spiking_wm.core.spaces import Spaces
from spiking_wm_ros.nodes.messages import from_transition

with missing_extra():
    from mcap.exceptions import McapError
    from mcap.records import Channel, Message, Schema
    from mcap.stream_reader import StreamReader
    from mcap.writer import MCAP0_MAGIC, CompressionType, Writer
    from zstandard import ZstdError  # mcap requires it

_TRANSITION = "spiking_wm_msgs/msg/Transition"
_CHUNK = 64 * 1024  # bytes
_SEPARATOR = "=" * 80 + "\n"
_NO_PACKAGE = ("bool", "byte", "char", "float", "double", "int", "uint", "string", "wstring")


class Recorded(NamedTuple):
    """A message of a bag."""

    topic: str
    kind: str  # message type, such as spiking_wm_msgs/msg/Action
    time: int  # arrival time, in nanoseconds since 1970
    data: bytes  # CDR


class Bag:
    """Writes messages to a folder of MCAP files.

    Args:
        folder: of ``bag_0000.mcap`` and so on; made if missing.
        split_bytes, split_seconds: size and age at which the next file begins.

    Raises:
        UserError: if the folder cannot be written.
    """

    def __init__(self, folder: Path, split_bytes: float, split_seconds: float):
        self._folder, self._bytes, self._seconds = folder, split_bytes, split_seconds
        self._files = self._messages = self._written = 0
        self.failed = False  # a write failed; no more is written
        with self._writing():
            folder.mkdir(parents=True, exist_ok=True)
            self._open()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failed = True
            raise UserError(
                f"{self._folder} cannot be written ({error.strerror}): free some disk, or choose another"
                " folder"
            ) from None

    def _open(self) -> None:
        self._stream = (self._folder / f"bag_{self._files:04d}.mcap").open("xb")
        self._writer = Writer(self._stream, chunk_size=_CHUNK, compression=CompressionType.ZSTD)
        self._writer.start(profile="ros2")
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._began, self._files = time.monotonic(), self._files + 1

    def write(self, topic: str, kind: str, data: bytes, now: int) -> None:
        """Add a message.

        Raises:
            UserError: if it cannot be written; the file then ends with the last flushed message.
        """
        with self._writing():
            self._write(topic, kind, data, now)

    def _write(self, topic: str, kind: str, data: bytes, now: int) -> None:
        if self._stream.tell() > self._bytes or time.monotonic() - self._began > self._seconds:
            self._finish()
            self._open()
        if topic not in self._channels:
            if kind not in self._schemas:
                text = definition(kind).encode()
                self._schemas[kind] = self._writer.register_schema(kind, "ros2msg", text)
            self._channels[topic] = self._writer.register_channel(topic, "cdr", self._schemas[kind])
        self._counts[topic] = self._counts.get(topic, 0) + 1
        self._writer.add_message(self._channels[topic], now, data, now, self._counts[topic])
        self._messages += 1

    def flush(self) -> None:
        """Write all messages so far to the file.

        Raises:
            UserError: as `write`.
        """
        with self._writing():
            self._writer.flush()
            self._stream.flush()

    def figures(self) -> dict[str, int]:
        """Numbers of messages, bytes and files, for diagnostics."""
        written = self._written + (0 if self._stream.closed else self._stream.tell())
        return {"messages": self._messages, "bytes": written, "files": self._files}

    def _finish(self) -> None:
        self._writer.finish()
        self._written += self._stream.tell()
        self._stream.close()

    def close(self) -> None:
        """Finish the last file, if it can be written.

        Raises:
            UserError: as `write`.
        """
        if self.failed:
            with suppress(OSError):
                self._stream.close()
        elif not self._stream.closed:
            with self._writing():
                self._finish()


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
                        yield Recorded(channel.topic, kind, record.log_time, record.data)
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
        transition = from_transition(
            deserialize_message(message.data, TransitionMessage), spaces.action.dtype
        )
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
