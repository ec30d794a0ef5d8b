"""Columns of a trace as numpy arrays: null is -1 in integers and in the codes of strings."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tracekit.analyze.kernels import columns as kernels
from tracekit.analyze.kernels.columns import NULL as NULL
from tracekit.analyze.kernels.columns import Column
from tracekit.analyze.kernels.compiled import Bools as Bools
from tracekit.analyze.kernels.compiled import Ints as Ints

Floats: TypeAlias = npt.NDArray[np.float64]

#: What a reader sees of null.
UNKNOWN = "?"
#: Stands for all names that are not looked at one by one; no name of the kernel's has a NUL.
OTHERS = "\0others"
_TABLE = 1 << 22
Rows: TypeAlias = pa.Table | pa.RecordBatch


@dataclass(frozen=True)
class Codes:
    """Strings as numbers: `names[code]`, and -1 for null."""

    codes: Ints
    names: tuple[str, ...]

    def __getitem__(self, chosen: Any) -> "Codes":
        return Codes(self.codes[chosen], self.names)

    def __len__(self) -> int:
        return len(self.codes)

    def name(self, code: int) -> str | None:
        """The string of a code; null for -1."""
        return None if code < 0 else self.names[code]

    def strings(self) -> Any:
        """The strings themselves, as an array of objects; null is None, and so is what is not looked at one by one."""
        used, number = np.arange(len(self.names)), self.codes
        if len(self.names) > len(self.codes):
            used, number = np.unique(self.codes, return_inverse=True)
        names = (self.name(code) for code in used.tolist())
        return np.array([*(None if name == OTHERS else name for name in names), None], dtype=object)[number]

    def first(self, most: int) -> "Codes":
        """The same with only so many names, the first; the last code stands for the others."""
        if len(self.names) <= most + 1:
            return self
        return Codes(np.minimum(self.codes, most), (*self.names[:most], OTHERS))

    def named(self) -> Ints:
        """The codes, with -1 for names that are not looked at one by one as well."""
        if self.names[-1:] != (OTHERS,):
            return self.codes
        return taken(np.append(np.arange(len(self.names) - 1), NULL), self.codes)

    def is_in(self, *names: str) -> Bools:
        """Which elements are one of `names`."""
        return np.array([*(name in names for name in self.names), False])[self.codes]

    @staticmethod
    def of(strings: Iterable[str]) -> "Codes":
        """Codes of plain strings; the empty string is null."""
        found, codes = np.unique(np.array(list(strings), dtype=object), return_inverse=True)
        names = tuple(str(name) for name in found)
        if names[:1] == ("",):
            return Codes(codes.astype(np.int64) - 1, names[1:])
        return Codes(codes.astype(np.int64), names)


class Names:
    """A fixed list of names, and the codes of a column's strings in it: those of other names are the last code.

    Attributes:
        all: the names, and `OTHERS` at the end.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.all = (*names, OTHERS)
        self._array = arrow_strings(names)
        self._last: tuple[pa.Array, Ints] | None = None

    def codes(self, rows: Rows, name: str, out: Ints | None = None) -> Codes:
        """The codes of a string column, put where they are wanted, if somewhere."""
        dictionary, raw = indices(rows, name)
        return Codes(translated(raw, self._places(dictionary), out), self.all)

    def _places(self, names: pa.Array) -> Ints:
        """The code of each name; pieces of a trace often have the same names in the same order."""
        if self._last is None or not names.equals(self._last[0]):
            place = ints_of(pc.index_in(names, value_set=self._array))
            self._last = names, np.where(place == NULL, len(self._array), place)
        return self._last[1]


# `pa.array` imports pandas to see whether it was given one of its objects, which takes as long as a small report.


def arrow_ints(values: Ints, null: int | None = None) -> pa.Array:
    """Integers as Arrow has them, without a copy; those that are `null` are."""
    valid = None if null is None else pa.py_buffer(np.packbits(values != null, bitorder="little"))
    return pa.Array.from_buffers(pa.int64(), len(values), [valid, pa.py_buffer(np.ascontiguousarray(values))])


def arrow_bools(values: Bools) -> pa.Array:
    """Truth values as Arrow has them."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))])


def arrow_strings(values: Sequence[str]) -> pa.Array:
    """Strings as Arrow has them."""
    raw = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, raw)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(raw), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(raw))])


def ints(rows: Rows, name: str, out: Ints | None = None) -> Ints:
    """An integer column as int64, put where it is wanted, if somewhere; null is -1."""
    return ints_of(_one(rows.column(name)), out)


def ints_of(column: pa.Array, out: Ints | None = None) -> Ints:
    """Integers as int64, put where they are wanted, if somewhere; null is -1."""
    raw = raw_of(column)
    if out is None and raw.raw.dtype == np.int64 and not len(raw.valid):
        return raw.raw  # type: ignore[return-value]
    found = np.empty(len(column), dtype=np.int64) if out is None else out
    kernels.widen(raw, found)
    return found


def raw_of(column: pa.Array) -> Column:
    """Integers as Arrow has them."""
    kind = np.dtype(f"{'i' if pa.types.is_signed_integer(column.type) else 'u'}{column.type.bit_width // 8}")
    bitmap, values = column.buffers() if len(column) else (None, b"")
    whole = np.frombuffer(values, dtype=kind)[column.offset : column.offset + len(column)]
    nothing = np.zeros(0, dtype=np.uint8)
    if not column.null_count:
        return Column(whole, nothing, 0)
    if bitmap is None:  # nothing but nulls
        return Column(whole, np.zeros(len(column) // 8 + 1, dtype=np.uint8), 0)
    return Column(whole, np.frombuffer(bitmap, dtype=np.uint8), column.offset)


def raw(rows: Rows, name: str) -> Column:
    """An integer column as Arrow has it."""
    return raw_of(_one(rows.column(name)))


def known(rows: Rows, name: str) -> Bools:
    """In which rows a column is not null."""
    return raw(rows, name).known()


def below_zero(rows: Rows, name: str) -> Bools:
    """In which rows a column of integers is not null and below zero."""
    column = raw(rows, name)
    found = np.empty(len(column.raw), dtype=np.bool_)
    kernels.negative(column, found)
    return found


def number_of(dictionary: pa.Array, name: str) -> int:
    """The place of a string in a dictionary; -1 if it is not there."""
    return int(ints_of(pc.index_in(arrow_strings((name,)), value_set=dictionary))[0])


def indices(rows: Rows, name: str) -> tuple[Any, Column]:
    """A string column, dictionary-encoded or not: its distinct strings, and of each row the number."""
    column = rows.column(name)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    array = _one(column)
    return array.dictionary, raw_of(array.indices)


def encoded(rows: Rows, name: str) -> tuple[Any, Ints]:
    """The same with the numbers as int64; null is -1."""
    dictionary, raw = indices(rows, name)
    numbers = np.empty(len(raw.raw), dtype=np.int64)
    kernels.widen(raw, numbers)
    return dictionary, numbers


def translated(column: Column, table: Ints, out: Ints | None = None) -> Ints:
    """Of each code what stands for it in the table, put where it is wanted, if somewhere; null is -1."""
    found = np.empty(len(column.raw), dtype=np.int64) if out is None else out
    kernels.translate(column, table, found)
    return found


def taken(values: Ints, rows: Ints) -> Ints:
    """The value of each row; null of null."""
    found = np.empty(len(rows), dtype=np.int64)
    kernels.take(values, rows, found)
    return found


def codes(rows: Rows, name: str) -> Codes:
    """A string column as codes of its own; names are sorted, so that results do not depend on order."""
    dictionary, raw = indices(rows, name)
    order = ints_of(pc.sort_indices(dictionary))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return Codes(translated(raw, place), tuple(dictionary.take(arrow_ints(order)).to_pylist()))


def _one(column: pa.Array | pa.ChunkedArray) -> Any:
    if isinstance(column, pa.Array):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    if column.num_chunks == 0:
        return pa.nulls(0, column.type)
    column = column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column
    return pa.concat_arrays(column.chunks)


def dense(keys: Ints) -> Ints:
    """Numbers from 0 on, without holes, for arbitrary keys; in the order of the keys."""
    if not len(keys):
        return keys
    low, high = int(keys.min()), int(keys.max())
    if high - low > _TABLE:
        return np.unique(keys, return_inverse=True)[1].astype(np.int64)
    present = np.zeros(high - low + 1, dtype=np.int64)
    present[keys - low] = 1
    return (np.cumsum(present) - 1)[keys - low]


def busiest(codes: Codes) -> Iterator[tuple[str, Ints]]:
    """Each name with the positions that have it, the most frequent first, then by name; null is `?`."""
    counts = np.bincount(codes.codes + 1, minlength=len(codes.names) + 1)
    order = np.argsort(codes.codes, kind="stable")
    ends = np.cumsum(counts)
    for slot in np.argsort(-counts, kind="stable"):
        if counts[slot]:
            name = codes.name(int(slot) - 1)
            yield UNKNOWN if name is None else name, order[ends[slot] - counts[slot] : ends[slot]]


def limited(codes: Codes, most: int) -> Codes:
    """The same with so many names, the most frequent; the last code stands for the others."""
    counts = np.bincount(codes.codes + 1, minlength=len(codes.names) + 1)[1:]
    chosen = np.argsort(-counts, kind="stable")[:most]
    place = np.full(len(codes.names) + 1, len(chosen), dtype=np.int64)
    place[chosen], place[-1] = np.arange(len(chosen)), NULL
    return Codes(place[codes.codes], (*(codes.names[code] for code in chosen), OTHERS))


def numbered(keys: Ints, most: int, out: Ints) -> list[int]:
    """Put the number of each key, in order of appearance, into `out`: the distinct keys.

    Of more than so many keys one more than that is told, and their numbers are of no meaning.
    """
    distinct = np.empty(most + 1, dtype=np.int64)
    found: list[int] = distinct[: kernels.encode(keys, out, distinct)].tolist()
    return found


class Numbers(dict[int, int]):
    """Numbers from 0 on for keys in order of appearance; a key has the same number for as long as this lives."""

    def of(self, keys: Iterable[int]) -> Ints:
        """The number of each key; new ones are taken in."""
        return np.array([self.setdefault(key, len(self)) for key in keys], dtype=np.int64)


def row_order(rows: Ints, size: int) -> Ints:
    """The order of distinct row numbers below `size`, without sorting them."""
    order = np.empty(len(rows), dtype=np.int64)
    return order[: kernels.order_rows(rows, size, order)]


def distinct_rows(rows: Ints, size: int) -> Ints:
    """Row numbers below `size`, each once, in order."""
    there = np.zeros(size, dtype=np.bool_)
    there[rows] = True
    return np.flatnonzero(there)


def combine(*parts: Ints) -> Ints:
    """One dense number for each distinct tuple of numbers."""
    key = dense(parts[0])
    for part in parts[1:]:
        more = dense(part)
        key = dense(key * (int(more.max(initial=0)) + 1) + more)
    return key


def radix(keys: Ints) -> npt.NDArray[np.unsignedinteger[Any]] | Ints:
    """Dense keys in the smallest type that holds them: numpy sorts 16-bit numbers by radix, which is nearly free."""
    return keys.astype(np.uint16) if int(keys.max(initial=0)) < 1 << 16 else keys
