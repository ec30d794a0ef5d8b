"""Columns of a trace: to int64, to codes, and how often codes occur."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tracekit.analyze.kernels.compiled import Bools, Bytes, Ints, Ints32, Raw, compiled

NULL = -1


class Column(NamedTuple):
    """An Arrow column of integers: its values, and which are not null, as bits from `offset` on; no bits for all."""

    raw: Raw
    valid: Bytes
    offset: int

    def known(self) -> Bools:
        """Which values are not null."""
        if not len(self.valid):
            return np.ones(len(self.raw), dtype=np.bool_)
        bits = np.unpackbits(self.valid, bitorder="little")
        return bits[self.offset : self.offset + len(self.raw)].view(np.bool_)

    def numbers(self) -> Ints:
        """As int64; null is -1."""
        values = self.raw.astype(np.int64)
        return values if not len(self.valid) else np.where(self.known(), values, NULL)


@compiled
def widen(column: Column, out: Ints) -> int:
    """A column of integers as int64."""
    out[:] = column.numbers()
    return 0


@compiled
def negative(column: Column, out: Bools) -> int:
    """Which values are below zero; null is not."""
    out[:] = (column.raw < 0) & column.known()
    return 0


@compiled
def translate(column: Column, table: Ints, out: Ints) -> int:
    """`table[code]` for a column of codes."""
    out[:] = np.append(table, NULL)[column.numbers()]
    return 0


@compiled
def count_pairs(one: Column, other: Column, width: int, chosen: Bools, counts: Ints) -> int:
    """Count the pairs of codes of two columns.

    Args:
        width: how many codes the other one has, null included.
        chosen: the rows to count; empty for all.
        counts: to add to, a row of `width` for each code of the one; null comes first.
    """
    place = (one.numbers() + 1) * width + other.numbers() + 1
    np.add.at(counts, place[chosen] if len(chosen) else place, 1)
    return 0


@compiled
def take(values: Ints, rows: Ints, out: Ints) -> int:
    """`values[row]` for each row; null for null."""
    out[:] = np.append(values, NULL)[rows]
    return 0


@compiled
def weave(values: Ints, more: Ints, at: Ints, out: Ints) -> int:
    """More values among others, each before that at its place, which are sorted."""
    out[:] = np.insert(values, at, more)
    return 0


@compiled
def order_rows(rows: Ints, size: int, order: Ints) -> int:
    """The order of distinct rows below `size`."""
    place = np.full(size, NULL, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    found = place[np.flatnonzero(place != NULL)]
    order[: len(found)] = found
    return len(found)


@compiled
def append_digit(keys: Ints, codes: Ints, size: int) -> int:
    """Make each key that of a longer tuple: `key * size + code + 1`."""
    keys *= size
    keys += codes + 1
    return 0


@compiled
def encode(keys: Ints, out: Ints, distinct: Ints) -> int:
    """Number keys in order of appearance.

    Args:
        out: the number of each, to fill; of no meaning if there are too many.
        distinct: the keys by number, to fill.

    Returns:
        How many distinct keys there are; one more than `distinct` holds for anything above that.
    """
    found = pa.Array.from_buffers(pa.int64(), len(keys), [None, pa.py_buffer(keys)]).dictionary_encode()
    size = len(found.dictionary)
    if size <= len(distinct):
        distinct[:size] = found.dictionary.to_numpy()
        out[:] = found.indices.to_numpy()
    return min(size, len(distinct) + 1)


@compiled
def count_codes(codes: Ints32, counts: Ints) -> int:
    """How often each code occurs, to add to; null comes first."""
    np.add.at(counts, codes + 1, 1)
    return 0


@compiled
def count_in_time(
    codes: Ints32, begin: Ints, times_ns: Ints, start_ns: int, cells: float, most: int, counts: Ints
) -> int:
    """Count events by code and cell of time.

    Args:
        codes: null is the last code of all.
        begin: where the counts of each code begin.
        times_ns: of each event.
        start_ns: when the first cell begins; what is before is in it.
        cells: how many there are in a nanosecond.
        most: the last cell; what is behind is in it.
        counts: to add to.
    """
    cell = ((times_ns - start_ns) * cells).clip(0, most).astype(np.int64)
    np.add.at(counts, begin[codes] + cell, 1)
    return 0


@compiled
def classify(values: Ints, edges: Ints, out: Ints) -> int:
    """The class of each value: the last of the sorted edges that it reaches; null below the first."""
    out[:] = np.searchsorted(edges, values, side="right") - 1
    return 0
