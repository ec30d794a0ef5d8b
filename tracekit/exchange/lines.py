"""Text of other tools, in bulk: blocks of lines, and what regular expressions find in each, as Arrow columns."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tracekit.exchange.intake import Tally
from tracekit.text import decode

_BLOCK_BYTES = 4 << 20
#: A longer line is none of any tool's.
MOST_LINE_BYTES = 1 << 20

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Block:
    """Lines that follow each other, each with the newline at its end; `first` is the number of the first, from 1."""

    first: int
    lines: pa.Array

    def __len__(self) -> int:
        return len(self.lines)


def blocks(stream: BinaryIO, tally: Tally) -> Iterator[Block]:
    """The lines of a stream, some megabytes at a time. Lines of more than a megabyte make no sense."""
    number, left, skipping = 1, b"", False
    while True:
        raw = stream.read(_BLOCK_BYTES)
        if not raw:
            if left and not skipping:
                yield Block(number, _lines(left + b"\n"))
            return
        if skipping:
            end = raw.find(b"\n")
            if end < 0:
                continue
            raw, skipping, number = raw[end + 1 :], False, number + 1
        left += raw
        end = left.rfind(b"\n") + 1
        if end:
            block = Block(number, _lines(left[:end]))
            yield block
            number, left = number + len(block), left[end:]
        if len(left) > MOST_LINE_BYTES:
            tally.no_sense(number, left[:400])
            left, skipping = b"", True


def _lines(raw: bytes) -> pa.Array:
    if b"\r\n" in raw:
        raw = raw.replace(b"\r\n", b"\n")
    ends = np.flatnonzero(np.frombuffer(raw, np.uint8) == ord("\n"))
    offsets = np.concatenate([[0], ends + 1]).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), ends.size, [None, pa.py_buffer(offsets), pa.py_buffer(raw)])


def found(lines: pa.Array, pattern: str) -> pa.Array:
    """Whether each line has something that meets the pattern."""
    return bools(pc.match_substring_regex(lines, pattern))


def groups(values: pa.Array, pattern: str) -> tuple[Bools, dict[str, pa.Array]]:
    """The named groups of a pattern that each whole value must meet (a newline at its end is no part of it).

    Returns:
        Which do, and of these each group; one that took no part is empty.
    """
    found = pc.extract_regex(values, f"^(?:{pattern})\n?$")
    good = bools(found.is_valid())
    met = found.drop_null() if not good.all() else found
    return good, dict(zip([item.name for item in met.type], met.flatten(), strict=True))


def bools(values: pa.Array) -> Bools:
    """Truth values; null is false."""
    filled: Bools = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return filled


def numbers(texts: pa.Array, kind: pa.DataType | None = None) -> pa.Array:
    """Decimal digits as numbers, int64 by default; nothing is null."""
    return _nothing_is_null(texts).cast(pa.string()).cast(kind or pa.int64())


def hexadecimal(texts: pa.Array) -> tuple[npt.NDArray[np.uint64], Bools]:
    """Hexadecimal digits, at most 16, and whether there are any."""
    there = bools(pc.greater(pc.binary_length(texts), 0))
    filled = pc.if_else(pa.array(there), texts, pa.scalar(b"0", texts.type)).cast(pa.string())
    prefixed = pc.binary_join_element_wise(pa.scalar("0x"), filled, "")
    return prefixed.cast(pa.uint64()).to_numpy(), there


def stamps(seconds: pa.Array, fraction: pa.Array) -> Ints:
    """Nanoseconds of seconds and the digits behind their point, at most nine."""
    digits = np.asarray(pc.binary_length(fraction).to_numpy())
    parts = pc.if_else(pc.equal(pc.binary_length(fraction), 0), pa.scalar(b"0", fraction.type), fraction)
    below = numbers(parts).to_numpy() * 10 ** (9 - digits.astype(np.int64))
    stamped: Ints = numbers(seconds).to_numpy() * 1_000_000_000 + below
    return stamped


def resolution_ns(fraction: pa.Array) -> int:
    """What the last digit behind the point stands for, in nanoseconds."""
    most = pc.max(pc.binary_length(fraction)).as_py()
    return int(10 ** (9 - (most or 0)))


def names(texts: pa.Array) -> pa.Array:
    """Bytes as text that recurs; nothing is null."""
    encoded = _nothing_is_null(texts).dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices, text(encoded.dictionary))


def text(values: pa.Array) -> pa.Array:
    """Bytes as text; what is not UTF-8 shows its bytes as escapes."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        raw = values.cast(pa.binary())
        return pa.array([None if one is None else decode(one) for one in raw.to_pylist()], pa.string())


def _nothing_is_null(texts: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(pc.binary_length(texts), 0), pa.scalar(None, texts.type), texts)


def chosen(columns: dict[str, Any], rows: Bools | Ints) -> dict[str, Any]:
    """Some rows of columns, Arrow's or numpy's."""
    index = pa.array(np.flatnonzero(rows) if rows.dtype == np.bool_ else rows)
    return {
        name: values.take(index) if isinstance(values, pa.Array) else values[index.to_numpy()]
        for name, values in columns.items()
    }
