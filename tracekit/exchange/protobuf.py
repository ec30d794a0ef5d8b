"""Protocol buffers, a column at a time: a field of many messages is an Arrow array of bytes, empty where it is absent.

Of the wire format only what Perfetto's messages here need: integers, and what has a length.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_INTEGER, _WITH_LENGTH = 0, 2
_SEVEN = np.arange(10, dtype=np.uint64) * np.uint64(7)


def varints(values: npt.NDArray[Any]) -> pa.Array:
    """Integers of at most 64 bits in as few groups of seven bits as they need; negative ones need ten."""
    raw = np.ascontiguousarray(values).astype(np.int64, copy=False).view(np.uint64)
    width = max((int(raw.max(initial=0)).bit_length() + 6) // 7, 1)
    shifted = raw[:, None] >> _SEVEN[:width]
    more = shifted >= 128
    kept = np.concatenate([np.ones((len(raw), 1), np.bool_), more[:, :-1]], axis=1)
    groups = (shifted & np.uint64(127)).astype(np.uint8) | (more.astype(np.uint8) << 7)
    ends = np.cumsum(kept.sum(axis=1))
    return _binary(groups[kept], np.concatenate([[0], ends]))


def integer(number: int, values: npt.NDArray[Any], absent: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """A field of integers."""
    made = join(tag(number, _INTEGER), varints(values))
    return made if absent is None else where(~absent, made)


def message(number: int, *parts: pa.Array | bytes) -> pa.Array:
    """A field that is a message of these fields, or a string; it is absent where a part is null."""
    body = join(*parts)
    size = varints(pc.fill_null(pc.binary_length(body), 0).to_numpy())
    made = join(tag(number, _WITH_LENGTH), size, body)
    return pc.fill_null(made, b"")


def text(number: int, value: str) -> bytes:
    """A field that is the same string in all messages."""
    encoded = value.encode()
    return tag(number, _WITH_LENGTH) + bytes(varints(np.array([len(encoded)]))[0].as_py()) + encoded


def tag(number: int, kind: int) -> bytes:
    """What stands before a field."""
    return bytes(varints(np.array([number << 3 | kind]))[0].as_py())


def join(*parts: pa.Array | bytes) -> pa.Array:
    """Fields behind each other; null where one is null."""
    arrays = [pa.scalar(part, pa.binary()) if isinstance(part, bytes) else part.cast(pa.binary()) for part in parts]
    return pc.binary_join_element_wise(*arrays, pa.scalar(b"", pa.binary()))


def where(present: npt.NDArray[np.bool_], made: pa.Array) -> pa.Array:
    """A field that some messages have."""
    return pc.if_else(pa.array(present), made, pa.scalar(b"", pa.binary()))


def raw(made: pa.Array) -> memoryview:
    """All of an array, one behind the other."""
    if not len(made):
        return memoryview(b"")
    _, offsets, data = made.buffers()
    ends = np.frombuffer(offsets, np.int32)[made.offset : made.offset + len(made) + 1]
    return memoryview(data)[int(ends[0]) : int(ends[-1])] if data is not None else memoryview(b"")


def _binary(data: npt.NDArray[np.uint8], offsets: npt.NDArray[Any]) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)
