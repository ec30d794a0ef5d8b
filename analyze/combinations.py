"""Which combinations of attribute values occur: counted once for each, values are counted for every attribute."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tracekit.analyze.columns import Bools, Codes, Ints, arrow_ints, ints_of

#: A table of combinations that has so many is full; those that follow are numbered in a new one.
FULL = 4096


class Table:
    """Combinations of attribute values, numbered in order of appearance.

    Args:
        names: of each attribute its values.
    """

    def __init__(self, names: Mapping[str, tuple[str, ...]]) -> None:
        self._names = names
        self._numbers: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def numbers(self, attributes: Mapping[str, Codes]) -> Ints:
        """The number of the combination of each element; new ones are taken in."""
        key = np.zeros(1, dtype=np.int64)  # two columns of 256 names and a few classes do not fill it
        for name, values in self._names.items():
            key = key * (len(values) + 1) + (attributes[name].codes + 1)
        distinct = arrow_ints(key).dictionary_encode()
        found = [self._numbers.setdefault(one, len(self._numbers)) for one in ints_of(distinct.dictionary).tolist()]
        return np.array(found, dtype=np.int64)[ints_of(distinct.indices)]

    def attributes(self) -> dict[str, Codes]:
        """The attributes of each combination."""
        key = np.fromiter(self._numbers, dtype=np.int64, count=len(self))
        found = {}
        for name, values in reversed(list(self._names.items())):
            key, code = np.divmod(key, len(values) + 1)
            found[name] = Codes(code - 1, values)
        return found


@dataclass(frozen=True)
class Combined:
    """Attributes of some elements, and of each the number in a table of the combination of their values."""

    attributes: Mapping[str, Codes]
    table: Table
    number: Ints

    def __getitem__(self, chosen: Ints | Bools) -> "Combined":
        return Combined(
            {name: codes[chosen] for name, codes in self.attributes.items()}, self.table, self.number[chosen]
        )


class Combiner:
    """Numbers the combinations of a stream of elements, in one table after another."""

    def __init__(self) -> None:
        self._table: Table | None = None

    def of(self, attributes: Mapping[str, Codes]) -> Combined:
        """Some elements with their combinations; the attributes are always the same, with the same names."""
        if self._table is None or len(self._table) >= FULL:
            names = {name: codes.names for name, codes in attributes.items()}
            self._table = Table(names)
        return Combined(attributes, self._table, self._table.numbers(attributes))
