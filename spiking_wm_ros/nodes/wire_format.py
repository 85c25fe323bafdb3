"""Messages from and to their wire format, for topics with a message in every environment step.

rclpy converts a message through a Python object for every message in it, field by field, which takes longer
than its way to another process. Subscriptions with ``raw=True`` hand over bytes instead, and publishers take
them, under every middleware.

The format is CDR, version 1 (OMG, DDS-XTypes 1.3, section 7.4): a header of four bytes, then all fields in
order, each aligned to its size. Strings and sequences begin with their length; strings end with a zero.
"""

import importlib
import struct
from collections import namedtuple
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, NamedTuple

from rclpy.serialization import deserialize_message

from spiking_wm_ros.nodes.bad_messages import BadMessage

_LITTLE_ENDIAN = b"\0\1"  # the header; two bytes of options follow
_HEADER = 4  # bytes
_STRING, _SEQUENCE = "string", "sequence<"
_CODES = {"boolean": "?", "octet": "B", "int8": "b", "uint8": "B", "int16": "h", "uint16": "H"}
_CODES |= {"int32": "i", "uint32": "I", "float": "f", "int64": "q", "uint64": "Q", "double": "d"}


class _Run(NamedTuple):
    """Fields of fixed size, then the length of a string or sequence (except after the last ones)."""

    fields: slice  # among all fields
    layouts: list[struct.Struct]  # by the offset of the first field modulo 8, the largest alignment
    element: int  # bytes of an element of what follows; 0: nothing follows
    is_string: bool


class _Inner(NamedTuple):
    """A message in another one, or the outermost message."""

    fields: slice  # among all fields, with one for each message in it or before it
    view: Callable[..., Any]


class WireFormat:
    """Packs and unpacks messages of a class, whose fields it reads once.

    Args:
        kind: a message class of numbers, strings, sequences of numbers of at most 4 bytes, and of messages
            with such fields.

    Attributes:
        view: a named tuple with the fields of the message; sequences are bytes.

    Raises:
        TypeError: for another field.
    """

    def __init__(self, kind: type):
        types: dict[str, str] = {}
        self._kind = kind
        self._messages = list(_messages(kind, types))
        self.view = self._messages[-1].view
        self._values = attrgetter(*types)
        self._runs = list(_runs(list(types.values())))

    def pack(self, message: Any) -> bytes:
        """The bytes of a message: of a view, of a message of the class, or of any object with its fields.

        Raises:
            struct.error: for a value that its field cannot hold.
        """
        values = self._values(message)
        parts, offset = [_LITTLE_ENDIAN + b"\0\0"], 0
        for fields, layouts, element, is_string in self._runs:
            layout = layouts[offset % 8]
            if not element:
                parts.append(layout.pack(*values[fields]))
                continue
            data = values[fields.stop]
            data = data.encode() + b"\0" if is_string else memoryview(data)
            length = len(data) if is_string else data.nbytes
            parts += layout.pack(*values[fields], length // element), data
            offset += layout.size + length
        return b"".join(parts)

    def unpack(self, data: bytes) -> Any:
        """A view of a message; the message itself if its bytes are in another order.

        Raises:
            BadMessage: if the bytes are no message of the class.
        """
        if data[:2] != _LITTLE_ENDIAN:
            return self._unpack_slowly(data)
        values: list[Any] = []
        offset = 0
        try:
            for _, layouts, element, is_string in self._runs:
                layout = layouts[offset % 8]
                values += layout.unpack_from(data, _HEADER + offset)
                offset += layout.size
                if element:
                    length = values.pop() * element
                    part = data[_HEADER + offset : _HEADER + offset + length]
                    values.append(part[:-1].decode(errors="replace") if is_string else part)
                    offset += length
        except struct.error as error:  # bytes are missing, if only at the end of a field before
            raise BadMessage(str(error)) from None
        for fields, view in self._messages:
            values[fields] = (view(*values[fields]),)
        return values[0]

    def unpacking(self, callback: Callable[[Any], None]) -> Callable[[bytes], None]:
        """The callback of a raw subscription, for one that takes what `unpack` returns."""
        return lambda data: callback(self.unpack(data))

    def _unpack_slowly(self, data: bytes) -> Any:
        try:
            return deserialize_message(data, self._kind)
        except Exception as error:  # the middleware's
            raise BadMessage(f"no {self._kind.__name__}: {error}") from None


def _messages(kind: Any, types: dict[str, str], path: str = "", start: int = 0) -> Iterator[_Inner]:
    """All messages in one, then itself; adds the types of its fields by their paths."""
    fields: dict[str, str] = kind.get_fields_and_field_types()
    for place, (name, type_) in enumerate(fields.items(), start):
        if "/" in type_ and not set(type_) & set("<["):  # not a sequence or array of messages
            package, message = type_.split("/")
            inner = getattr(importlib.import_module(f"{package}.msg"), message)
            yield from _messages(inner, types, f"{path}{name}.", place)
        else:
            types[path + name] = type_
    view = namedtuple(kind.__name__, fields)  # type: ignore[misc]  # fields of any class
    yield _Inner(slice(start, start + len(fields)), view)


def _runs(types: list[str]) -> Iterator[_Run]:
    start, codes = 0, ""
    for place, type_ in enumerate(types):
        if type_ in _CODES:
            codes += _CODES[type_]
            continue
        element = type_.removeprefix(_SEQUENCE).removesuffix(">") if type_ != _STRING else "uint8"
        size = struct.calcsize(f"={_CODES.get(element, 'd')}")
        if size > 4:  # elements would be aligned, but not after the length 0
            raise TypeError(f"no fast conversion of {type_}")
        yield _Run(slice(start, place), _layouts(codes + "I"), size, type_ == _STRING)
        start, codes = place + 1, ""
    yield _Run(slice(start, len(types)), _layouts(codes), 0, False)


def _layouts(codes: str) -> list[struct.Struct]:
    return [struct.Struct("<" + _padded(codes, offset)) for offset in range(8)]


def _padded(codes: str, offset: int) -> str:
    text = ""
    for code in codes:
        size = struct.calcsize(f"={code}")
        text += "x" * (-offset % size) + code
        offset += -offset % size + size
    return text
