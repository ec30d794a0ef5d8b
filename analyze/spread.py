"""What is kept of the values of a metric while they go by: enough to tell everything about their distribution.

Histograms by group, how often each attribute's values occur in which part of the distribution, and the greatest values
one by one. Its size does not depend on how many values there are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracekit.analyze.columns import NULL, Bools, Codes, Ints
from tracekit.analyze.combinations import Combined, Table
from tracekit.analyze.contrast import Field
from tracekit.analyze.histogram import Histograms
from tracekit.analyze.kernels import distributions as kernels
from tracekit.analyze.kernels.binning import COARSE_BINS
from tracekit.analyze.outliers import looked_at

TIME_SLOTS = 256
#: Columns of integers, -1 for null, of codes, whose names are always the same, or of objects.
Details = Callable[[Ints], dict[str, Any]]


@dataclass(frozen=True)
class Frame:
    """The time that is looked at: its start and its length, and what times are counted from when they are told."""

    start_ns: int
    duration_ns: int
    origin_ns: int

    @property
    def slot_ns(self) -> int:
        """How long one of the `TIME_SLOTS` is."""
        return self.duration_ns // TIME_SLOTS + 1


@dataclass(frozen=True)
class Sample:
    """Values of one metric and what is known of each.

    Attributes:
        details: what else the rows of the greatest values are told with, from the positions of some values.
        known: what may set modes and outliers apart.
    """

    values: Ints
    start_ns: Ints
    known: Combined
    details: Details

    def only(self, chosen: Bools) -> "Sample":
        """The part of the sample where `chosen` is true."""
        if chosen.all():
            return self
        where = np.flatnonzero(chosen)
        return Sample(
            self.values[where],
            self.start_ns[where],
            self.known[where],
            lambda positions: self.details(where[positions]),
        )


@dataclass(frozen=True)
class Grouping:
    """A way of dividing values into groups, by one attribute or several.

    Attributes:
        groups: the values of the attributes that make each group; what is in none of them is one more.
        counts: how many values each group has at most.
        rare: how many groups are not told one by one.
    """

    fields: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    counts: tuple[int, ...]
    rare: int = 0

    def __len__(self) -> int:
        return len(self.groups) + 1

    def of(self, attributes: Mapping[str, Codes]) -> Ints:
        """The number of the group of each value."""
        columns = [attributes[name] for name in self.fields]
        if not columns:
            return np.zeros(len(next(iter(attributes.values()))), dtype=np.int64)
        place = np.full([len(column.names) + 1 for column in columns], len(self.groups))
        for number, group in enumerate(self.groups):
            place[tuple(column.names.index(name) + 1 for column, name in zip(columns, group, strict=True))] = number
        key = columns[0].codes + 1
        for column in columns[1:]:
            key = key * (len(column.names) + 1) + column.codes + 1
        return np.asarray(place.reshape(-1)[key])


class Greatest:
    """The greatest values of each group, one by one; equal ones by their time.

    Attributes:
        floor: of each group; what is below it is not among the greatest.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = np.array(sizes)
        everything, nothing = np.iinfo(np.int64).min, np.iinfo(np.int64).max
        self.floor = np.where(self._sizes > 0, everything, nothing)
        self._columns: dict[str, Any] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._added: list[dict[str, Any]] = []
        self._waiting = 0

    def add(self, chosen: Ints, group: Ints, sample: Sample) -> None:
        """Keep those that may be among the greatest, of some positions and their groups."""
        if len(chosen) > 2 * int(self._sizes.sum()):
            top = self._top(group, sample.values[chosen], sample.start_ns[chosen])
            chosen, group = chosen[top], group[top]
        if not len(chosen):
            return
        columns: dict[str, Any] = {
            "group": group,
            "value": sample.values.take(chosen),
            "start_ns": sample.start_ns.take(chosen),
        }
        # In half the memory: they are copied often.
        codes = {name: codes.codes.take(chosen).astype(np.int32) for name, codes in sample.known.attributes.items()}
        columns |= {f"attribute {name}": column for name, column in codes.items()}
        for name, column in sample.details(chosen).items():
            columns[f"detail {name}"] = column.codes.astype(np.int32) if isinstance(column, Codes) else column
            if isinstance(column, Codes):
                self._names[f"detail {name}"] = column.names
        self._added.append(columns)
        self._waiting += len(chosen)
        if self._waiting > int(self._sizes.sum()):
            self._prune()

    def _prune(self) -> None:
        parts = [self._columns, *self._added] if self._columns else self._added
        self._added, self._waiting = [], 0
        if not parts:
            return
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        top = self._top(whole["group"], whole["value"], whole["start_ns"])
        self._columns = {name: column.take(top) for name, column in whole.items()}
        for one, mine in enumerate(
            self._columns["value"][self._columns["group"] == one] for one in range(len(self._sizes))
        ):
            if len(mine) and len(mine) == self._sizes[one]:
                self.floor[one] = mine.min()

    def _top(self, group: Ints, values: Ints, start_ns: Ints) -> Ints:
        """The positions of the greatest of each group."""
        return np.concatenate(
            [self._top_of(one, np.flatnonzero(group == one), values, start_ns) for one in range(len(self._sizes))]
        )

    def _top_of(self, one: int, mine: Ints, values: Ints, start_ns: Ints) -> Ints:
        spare = len(mine) - int(self._sizes[one])
        if spare <= 0 or not self._sizes[one]:
            return mine[: self._sizes[one]]
        least = np.partition(values[mine], spare)[spare]
        above, equal = mine[values[mine] > least], mine[values[mine] == least]
        earliest = equal[np.argsort(start_ns[equal], kind="stable")]
        return np.concatenate([above, earliest[: int(self._sizes[one]) - len(above)]])

    def __getitem__(self, group: int) -> dict[str, Any]:
        """The greatest values of a group and what is known of them, the greatest first."""
        self._prune()
        if not self._columns:
            return {"value": np.zeros(0, dtype=np.int64), "start_ns": np.zeros(0, dtype=np.int64)}
        mine = np.flatnonzero(self._columns["group"] == group)
        mine = mine[np.lexsort((self._columns["start_ns"][mine], -self._columns["value"][mine]))]
        found = {name: column[mine] for name, column in self._columns.items()}
        return found | {name: Codes(found[name], names).strings() for name, names in self._names.items()}


class Spread:
    """The distribution of a metric, for all its values and by groups.

    Args:
        metric: its name.
        most: how many values there are at most.
        groupings: what is told of all values is told from the first one, whose groups and the rest are all there is.
        fields: the attributes.
    """

    def __init__(
        self, metric: str, frame: Frame, most: int, groupings: tuple[Grouping, ...], fields: Mapping[str, Field]
    ) -> None:
        self.metric, self.frame, self.groupings = metric, frame, groupings
        self.fields = {**fields, "time": Field(tuple(str(slot) for slot in range(TIME_SLOTS)))}
        self.values = [Histograms(len(grouping)) for grouping in groupings]
        self._shares = [
            {
                name: np.zeros((len(grouping), len(field.names) + 1, COARSE_BINS), dtype=np.int64)
                for name, field in self.fields.items()
                if index == 0 or name not in grouping.fields
            }
            for index, grouping in enumerate(groupings)
        ]
        self._pending = _Pending(Table({}), groupings)
        self.greatest = [Greatest([looked_at(most)])]
        self.greatest += [Greatest([looked_at(count) for count in grouping.counts] + [0]) for grouping in groupings]
        #: Of each grouping and group the greatest common divisor of its values: 0 for none.
        self.steps = [np.zeros(len(grouping), dtype=np.int64) for grouping in groupings]

    def add(self, sample: Sample) -> None:
        """Take in some values."""
        values, start_ns = sample.values, sample.start_ns
        if not len(values):
            return
        greatest = np.flatnonzero(values >= self.greatest[0].floor[0])
        self.greatest[0].add(greatest, np.zeros(len(greatest), dtype=np.int64), sample)
        candidates = np.empty(len(values), dtype=np.int64)
        number, groups, combined = self._combined(sample)
        for index, group_of in enumerate(groups):
            found = kernels.spread(
                values,
                start_ns,
                number[index],
                group_of,
                self.frame.start_ns,
                self.frame.slot_ns,
                TIME_SLOTS,
                self.values[index].filled,
                self._shares[index]["time"].reshape(-1),
                combined if index == 0 else combined[:0],
                self.steps[index],
                self.greatest[index + 1].floor,
                candidates,
            )
            chosen = candidates[:found].copy()
            self.greatest[index + 1].add(chosen, group_of[number[index][chosen]], sample)

    def _combined(self, sample: Sample) -> tuple[list[Ints], list[Ints], Ints]:
        """For each grouping a number of each value and the group of each number; and where to count the numbers."""
        known = sample.known
        if known.table is None:
            each = self._by_attribute(known.attributes, sample.values)
            return each, [np.arange(len(grouping)) for grouping in self.groupings], np.zeros(0, dtype=np.int64)
        if known.table is not self._pending.table:
            self._pending.settle(self._shares)
            self._pending = _Pending(known.table, self.groupings)
        groups, counts = self._pending.room()
        return [known.number] * len(groups), groups, counts

    def _by_attribute(self, attributes: Mapping[str, Codes], values: Ints) -> list[Ints]:
        groups = [grouping.of(attributes) for grouping in self.groupings]
        for group, shares in zip(groups, self._shares, strict=True):
            for name in shares.keys() & attributes.keys():
                codes, counts = attributes[name].codes, shares[name]
                kernels.count_shares(group, codes, values, counts.shape[1] - 1, counts.reshape(-1))
        return groups

    def shares(self, index: int) -> Mapping[str, Ints]:
        """By attribute, how often each of its values, unknown first, occurs in each coarse bin of each group."""
        self._pending.settle(self._shares)
        return self._shares[index]


class _Pending:
    """Values by combination and coarse bin, until they are counted by attribute."""

    def __init__(self, table: Table, groupings: tuple[Grouping, ...]) -> None:
        self.table, self._groupings = table, groupings
        self._groups: list[Ints] = []
        self._known, self._pending = 0, False
        self._counts = np.zeros((0, COARSE_BINS), dtype=np.int64)

    def room(self) -> tuple[list[Ints], Ints]:
        """Of each grouping the group of each combination; and where to count them, by combination and wider bin."""
        if self._known < len(self.table):
            self._grow()
        self._pending = True
        return self._groups, self._counts.reshape(-1)

    def _grow(self) -> None:
        attributes, self._known = self.table.attributes(), len(self.table)
        self._groups = [grouping.of(attributes) for grouping in self._groupings]
        if self._known > len(self._counts):  # twice as many, so that a few more each time are not a copy each time
            more = np.zeros((max(self._known, 2 * len(self._counts)) - len(self._counts), COARSE_BINS), dtype=np.int64)
            self._counts = np.concatenate((self._counts, more))

    def settle(self, shares: Sequence[Mapping[str, Ints]]) -> None:
        """Add what was counted to the shares of each grouping, and begin anew."""
        if not self._pending:
            return
        self._pending = False
        self._grow()
        attributes = self.table.attributes()
        for group, mine in zip(self._groups, shares, strict=True):
            for name in mine.keys() & attributes.keys():
                self._settle(group * mine[name].shape[1] + attributes[name].codes + 1, mine[name])
        self._counts[:] = 0

    def _settle(self, place: Ints, shares: Ints) -> None:
        order = np.argsort(place, kind="stable")
        first = np.flatnonzero(np.diff(place[order], prepend=NULL) != 0)
        shares.reshape(-1, COARSE_BINS)[place[order][first]] += np.add.reduceat(self._counts[order], first)
