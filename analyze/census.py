"""Who is in a trace: a first pass over the names alone, so that the second one knows whom to look at."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracekit.analyze.ahead import ahead
from tracekit.analyze.columns import (
    NULL,
    Bools,
    Codes,
    Ints,
    Names,
    arrow_ints,
    arrow_strings,
    indices,
    ints_of,
    number_of,
)
from tracekit.analyze.kernels import columns as kernels
from tracekit.analyze.kernels.columns import Column
from tracekit.analyze.selection import Selection
from tracekit.schema import EVENTS
from tracekit.trace import Trace

#: A command or path that six in ten of a mode of one in a hundred have is among so many of the most frequent.
LOOKED_AT = 256
#: Of names so many are counted at once; when there are more, the rarer half is forgotten.
MOST = 1 << 16
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "process": ("event",),
    "block": ("event", "comm", "cgroup", "disk", "op"),
    "open": ("event", "comm", "cgroup", "path"),
}
#: Commands submit I/O: who was on the CPU when it was done is not asked.
_STARTED, _ISSUED = "block_start", "block_issue"
#: Distinct strings, and of each row the number.
_Encoded: TypeAlias = tuple[Any, Column]


@dataclass
class Tally:
    """How often names occur.

    Attributes:
        names: those that are known, in order of appearance.
        counts: of each.
        distinct: how many names there are; about so many, once some were forgotten and came again.
    """

    names: pa.Array = field(default_factory=lambda: pa.nulls(0, pa.string()))
    counts: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    distinct: int = 0
    _last: tuple[pa.Array, Ints] | None = field(default=None, init=False, repr=False)

    def add(self, names: pa.Array, counts: Ints) -> None:
        """Count distinct names; those that do not occur are passed over."""
        used, place = counts > 0, self._places(names)
        new = np.flatnonzero(used & (place == NULL))
        if len(new):
            place[new] = len(self.counts) + np.arange(len(new))
            self.names = pa.concat_arrays([self.names, names.take(arrow_ints(new)).cast(pa.string())])
            self.counts = np.append(self.counts, np.zeros(len(new), dtype=np.int64))
            self.distinct += len(new)
        self.counts[place[used]] += counts[used]
        if len(self.counts) > MOST:
            self._keep(MOST // 2)

    def _places(self, names: pa.Array) -> Ints:
        """Where each name is counted; pieces of a trace often have the same names in the same order."""
        if self._last is None or not names.equals(self._last[0]):
            self._last = names, ints_of(pc.index_in(names, value_set=self.names)).copy()
        return self._last[1]

    def add_codes(self, codes: Codes) -> None:
        """Count the names of some elements."""
        self.add(arrow_strings(codes.names), np.bincount(codes.codes + 1, minlength=len(codes.names) + 1)[1:])

    def _keep(self, most: int) -> None:
        chosen = np.sort(np.argsort(-self.counts, kind="stable")[:most])
        self.names, self.counts, self._last = self.names.take(arrow_ints(chosen)), self.counts[chosen], None

    def busiest(self, most: int = LOOKED_AT) -> tuple[str, ...]:
        """The most frequent names, then by name."""
        pairs = zip((-self.counts).tolist(), self.names.to_pylist(), strict=True)
        return tuple(name for _, name in sorted(pairs)[:most])

    def of(self, name: str) -> int:
        """How often a name occurs."""
        place = number_of(self.names, name)
        return 0 if place == NULL else int(self.counts[place])


@dataclass
class Census:
    """How often each name occurs, by family and column; and each event.

    Attributes:
        wanted: names that are looked at, however rare.
        pairs: block events of each disk and op.
    """

    wanted: tuple[str, ...] = ()
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)

    def names(self, family: str, column: str, most: int = LOOKED_AT) -> Names:
        """The names that are wanted, then the most frequent ones: those that are looked at one by one, or more."""
        tally = self.tally(family, column)
        return Names(tuple(dict.fromkeys((*(name for name in self.wanted if tally.of(name)), *tally.busiest(most)))))

    def tally(self, family: str, column: str) -> Tally:
        """How often each name occurs."""
        return self.tallies.setdefault((family, column), Tally())

    def events(self) -> dict[str, int]:
        """Rows of each event that occurs, in the order of the format."""
        found: dict[str, int] = {}
        for family, events in EVENTS.items():
            tally = self.tally(family, "event")
            found |= {event: tally.of(event) for event in events if tally.of(event)}
        return found

    def add(self, family: str, rows: pa.RecordBatch, selection: Selection) -> None:
        """Count the names of some rows of a family that were selected."""
        columns = {name: indices(rows, name) for name in _COLUMNS[family]}
        events = columns.pop("event")
        self.tally(family, "event").add(events[0], np.diagonal(_counts(events, events, None))[1:])
        chosen = _selected(columns, selection)
        if family == "block":
            self._count_pairs(columns.pop("disk"), columns.pop("op"), chosen)
        # Where the source had no starts, what is issued was submitted then.
        started = number_of(events[0], _STARTED)
        submitted = number_of(events[0], _ISSUED) if started == NULL else started
        for column, its in columns.items():
            counts = _counts(events, its, chosen)
            self.tally(family, column).add(
                its[0], (counts[1 + submitted] if family == "block" else counts.sum(axis=0))[1:]
            )

    def _count_pairs(self, disk: _Encoded, op: _Encoded, chosen: Bools | None) -> None:
        """Disks and ops together, and each for itself."""
        (disks, _), (ops, _), counts = disk, op, _counts(disk, op, chosen)
        self.tally("block", "disk").add(disks, counts.sum(axis=1)[1:])
        self.tally("block", "op").add(ops, counts.sum(axis=0)[1:])
        for one, other in np.argwhere(counts[1:, 1:]).tolist():
            self.pairs[disks[one].as_py(), ops[other].as_py()] += int(counts[one + 1, other + 1])


def _counts(one: _Encoded, other: _Encoded, chosen: Bools | None) -> Ints:
    """How often each pair of codes occurs in the rows that are chosen; null is first."""
    (names, column), (other_names, other_column) = one, other
    counts = np.zeros((len(names) + 1, len(other_names) + 1), dtype=np.int64)
    kernels.count_pairs(
        column,
        other_column,
        len(other_names) + 1,
        np.zeros(0, dtype=np.bool_) if chosen is None else chosen,
        counts.reshape(-1),
    )
    return counts


def _selected(columns: Mapping[str, _Encoded], selection: Selection) -> Bools | None:
    """Which rows are those of the command or disk that was asked for; null for all."""
    chosen = None
    for column, name in (("comm", selection.comm), ("disk", selection.disk)):
        if name is not None and column in columns:
            dictionary, raw = columns[column]
            its = (raw.raw == number_of(dictionary, name)) & raw.known()
            chosen = its if chosen is None else chosen & its
    return chosen


def take_census(trace: Trace, selection: Selection, family: str) -> Census:
    """Count the names of a family.

    Raises:
        TraceError: the file is damaged.
    """
    census = Census(tuple(name for name in (selection.comm, selection.disk) if name is not None))
    for rows in ahead(selection.batches(trace, family, _COLUMNS[family])):
        census.add(family, rows, selection)
    return census
