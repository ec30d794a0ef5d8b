"""Columns of a trace as numpy arrays: null is -1 in integers and in the codes of strings."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]

NULL = -1
_TABLE = 1 << 22


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

    def is_in(self, *names: str) -> Bools:
        """Which elements are one of `names`."""
        return np.isin(self.codes, [index for index, name in enumerate(self.names) if name in names])

    @staticmethod
    def of(strings: Iterable[str]) -> "Codes":
        """Codes of plain strings; the empty string is null."""
        found, codes = np.unique(np.array(list(strings), dtype=object), return_inverse=True)
        names = tuple(str(name) for name in found)
        if names[:1] == ("",):
            return Codes(codes.astype(np.int64) - 1, names[1:])
        return Codes(codes.astype(np.int64), names)


def ints(table: pa.Table, name: str) -> Ints:
    """An integer column as int64; null is -1."""
    column = _one(table.column(name)).cast(pa.int64(), safe=False)
    return np.asarray(column.fill_null(NULL).to_numpy(), dtype=np.int64)


def codes(table: pa.Table, name: str) -> Codes:
    """A string column, dictionary-encoded or not; names are sorted, so that results do not depend on order."""
    column = table.column(name)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    array = _one(column)
    raw = np.asarray(array.indices.fill_null(NULL).to_numpy(), dtype=np.int64)
    order = pc.sort_indices(array.dictionary).to_numpy()
    place = np.full(len(order) + 1, NULL, dtype=np.int64)
    place[order] = np.arange(len(order))
    return Codes(place[raw], tuple(array.dictionary.take(order).to_pylist()))


def _one(column: pa.ChunkedArray) -> Any:
    if column.num_chunks == 1:
        return column.chunk(0)
    if column.num_chunks == 0:
        return pa.array([], type=column.type)
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
