"""Arrow's IPC, message by message, so that what a compressed one claims is looked at before memory is taken for it."""

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

#: So much may a message be when unpacked, and what it is packed so many times.
_MOST_BYTES, _MOST_GAIN = 256 << 20, 32
#: What a file begins with; messages follow, and then a footer that says where they are.
MAGIC = b"ARROW1\0\0"
_TAIL = struct.Struct("<I6s")  # length of the footer, and the magic again
_BLOCK = struct.Struct("<qi4xq")  # where a message is, and bytes of what it says of itself and of its body
_DICTIONARY, _ROWS = 2, 3  # kinds of messages


class Messages:
    """A stream for Arrow to read, whose messages were looked at."""

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        self._messages: Iterator[pa.Message] = iter(pa.ipc.MessageReader.open_stream(stream))
        self._left = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        """So many bytes, less at the end."""
        parts = []
        while size:
            if not self._left:
                message = next(self._messages, None)
                if message is None:
                    break
                _check(message)
                self._left = memoryview(message.serialize())
            parts.append(self._left[: size if size > 0 else None])
            self._left = self._left[len(parts[-1]) :]
            size -= len(parts[-1]) if size > 0 else 0
        return b"".join(parts)

    def close(self) -> None:
        """It is closed by whoever opened it."""


def of_file(file: BinaryIO) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The columns of a file, and its rows, each batch looked at before it is read.

    Not every writer has a stream in its files: Polars' first message is none.

    Raises:
        ArrowException, OSError: it is none, or one that claims too much.
    """
    source = pa.PythonFile(file, "r")
    reader = pa.ipc.open_file(source)
    try:
        dictionaries, rows = _blocks(source)
    except (struct.error, ValueError):
        raise pa.ArrowInvalid("its end does not say where its messages are") from None

    def checked() -> Iterator[pa.RecordBatch]:
        for block in dictionaries:
            _check_block(source, *block)
        for number, block in enumerate(rows):
            _check_block(source, *block)
            yield reader.get_batch(number)

    return reader.schema, checked()


def _blocks(source: pa.NativeFile) -> list[list[tuple[int, int, int]]]:
    """Where the dictionaries and the rows of a file are, as its footer says; Arrow has looked whether it is one."""
    size = source.size()
    length = _TAIL.unpack(source.read_at(_TAIL.size, size - _TAIL.size))[0]
    raw = source.read_at(length, size - _TAIL.size - length)
    root, found = _table(raw, _at("<I", raw, 0)), []
    for place in (root(2), root(3)):
        vector = place + _at("<I", raw, place)
        begin = vector + 4
        end = begin + _BLOCK.size * _at("<I", raw, vector)
        found.append([*_BLOCK.iter_unpack(raw[begin:end])] if place else [])
    blocks = [block for part in found for block in part]
    if any(min(block) < 0 for block in blocks) or sum(head + body for _, head, body in blocks) > size:
        raise ValueError("more than there is")
    return found


def _check_block(source: pa.NativeFile, at: int, head: int, body: int) -> None:
    raw = source.read_at(head + body, at)
    try:
        message = pa.ipc.read_message(raw)
    except EOFError:
        raise pa.ArrowInvalid(f"there is no message at {at:,}") from None
    if message.metadata.size + (8 if raw.startswith(b"\xff\xff\xff\xff") else 4) != head:
        raise pa.ArrowInvalid(f"the message at {at:,} is not as long as its end says")
    _check(message)


def _check(message: pa.Message) -> None:
    """Refuse a message that claims to become far more than it is.

    Raises:
        ArrowInvalid: it does.
    """
    try:
        unpacked = _unpacked(message)
    except (struct.error, ValueError, IndexError):
        raise pa.ArrowInvalid("a message that is none") from None
    if message.body is not None and unpacked > _MOST_BYTES + _MOST_GAIN * message.body.size:
        raise pa.ArrowInvalid(f"{message.body.size:,} bytes claim to become {unpacked:,}")


def _unpacked(message: pa.Message) -> int:
    """Bytes that a message says it has, when unpacked; 0 where nothing is packed."""
    raw = message.metadata.to_pybytes()
    root = _table(raw, _at("<I", raw, 0))
    kind, place = _at("<B", raw, root(1)), root(2)
    if kind not in (_DICTIONARY, _ROWS) or not place:
        return 0
    header = _table(raw, place + _at("<I", raw, place))
    if kind == _DICTIONARY:
        header = _table(raw, header(1) + _at("<I", raw, header(1)))
    if not header(2) or not header(3):
        return 0
    vector = header(2) + _at("<I", raw, header(2))
    buffers = np.frombuffer(raw, "<i8", 2 * _at("<I", raw, vector), vector + 4).reshape(-1, 2)
    body = memoryview(message.body)
    return sum(max(_at("<q", body, offset), 0) for offset, length in buffers.tolist() if length >= 8)


def _table(raw: bytes, at: int) -> Any:
    """Where a field of a table in a flatbuffer is, by its number; 0: it is not there."""
    fields = at - _at("<i", raw, at)
    size = _at("<H", raw, fields)

    def field(number: int) -> int:
        offset: int = _at("<H", raw, fields + 4 + 2 * number) if 6 + 2 * number <= size else 0
        return at + offset if offset else 0

    return field


def _at(format: str, raw: bytes | memoryview, at: int) -> int:
    if at < 0:
        raise ValueError(at)
    (value,) = struct.unpack_from(format, raw, at)
    return int(value)
