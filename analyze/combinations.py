"""Which combinations of attribute values occur: counted once for each, values are counted for every attribute."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tracekit.analyze.columns import Codes, Ints, Numbers, numbered, taken
from tracekit.analyze.kernels import columns as kernels

#: A table has at most so many combinations; those that follow are numbered in a new one.
FULL = 4096
#: Elements with more combinations than this would fill a table each time.
_MANY = FULL // 2


class Table:
    """Combinations of attribute values, numbered in order of appearance.

    Args:
        names: of each attribute its values.
    """

    def __init__(self, names: Mapping[str, tuple[str, ...]]) -> None:
        self._names = names
        self._numbers = Numbers()

    def __len__(self) -> int:
        return len(self._numbers)

    def keys(self, attributes: Mapping[str, Codes]) -> Ints:
        """One number for the combination of each element."""
        # A few columns of 256 names each and some classes do not fill it.
        key = np.zeros(len(next(iter(attributes.values()))), dtype=np.int64)
        for name, values in self._names.items():
            kernels.append_digit(key, attributes[name].codes, len(values) + 1)
        return key

    def has_room(self, keys: list[int]) -> bool:
        """Whether those that are new can be taken in."""
        return len(self) + sum(key not in self._numbers for key in keys) <= FULL

    def numbers(self, keys: list[int]) -> Ints:
        """The number of each combination; new ones are taken in."""
        return self._numbers.of(keys)

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
    """Attributes of some elements, and of each the number in a table of the combination of their values.

    Attributes:
        table: null where there are too many combinations to gain from numbering them; `number` is empty then.
    """

    attributes: Mapping[str, Codes]
    table: Table | None
    number: Ints

    def __getitem__(self, chosen: Ints) -> "Combined":
        attributes = {name: codes[chosen] for name, codes in self.attributes.items()}
        return Combined(attributes, self.table, self.number if self.table is None else self.number[chosen])


class Combiner:
    """Numbers the combinations of a stream of elements, in one table after another."""

    def __init__(self) -> None:
        self._table: Table | None = None

    def of(self, attributes: Mapping[str, Codes]) -> Combined:
        """Some elements with their combinations; the attributes are always the same, with the same names."""
        names = {name: codes.names for name, codes in attributes.items()}
        self._table = self._table or Table(names)
        keys = self._table.keys(attributes)
        codes = np.empty_like(keys)
        distinct = numbered(keys, _MANY, codes)
        if len(distinct) > _MANY:
            return Combined(attributes, None, np.zeros(0, dtype=np.int64))
        if not self._table.has_room(distinct):
            self._table = Table(names)
        return Combined(attributes, self._table, taken(self._table.numbers(distinct), codes))
