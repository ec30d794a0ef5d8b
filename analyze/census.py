"""Who is in a trace: a first pass over the names alone, so that the second one knows whom to look at."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

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
    arrow_bools,
    arrow_ints,
    arrow_strings,
    encoded,
    ints_of,
    number_of,
)
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

    def add(self, names: pa.Array, counts: Ints) -> None:
        """Count distinct names; those that do not occur are passed over."""
        used = np.flatnonzero(counts)
        names, counts = names.take(arrow_ints(used)), counts[used]
        place = ints_of(pc.index_in(names, value_set=self.names))
        known = place != NULL
        self.counts[place[known]] += counts[known]
        if not known.all():
            self.names = pa.concat_arrays([self.names, names.filter(arrow_bools(~known)).cast(pa.string())])
            self.counts = np.append(self.counts, counts[~known])
            self.distinct += int((~known).sum())
        if len(self.counts) > MOST:
            self._keep(MOST // 2)

    def add_codes(self, codes: Codes) -> None:
        """Count the names of some elements."""
        self.add(arrow_strings(codes.names), np.bincount(codes.codes + 1, minlength=len(codes.names) + 1)[1:])

    def _keep(self, most: int) -> None:
        chosen = np.sort(np.argsort(-self.counts, kind="stable")[:most])
        self.names, self.counts = self.names.take(arrow_ints(chosen)), self.counts[chosen]

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
        columns = {name: encoded(rows, name) for name in _COLUMNS[family]}
        names, events = columns.pop("event")
        self.tally(family, "event").add(names, _counts(events, len(names)))
        chosen = _selected(columns, selection)
        if family == "block":
            self._count_pairs(columns.pop("disk"), columns.pop("op"), chosen)
            # Where the source had no starts, what is issued was submitted then.
            started = number_of(names, _STARTED)
            submitted = events == (number_of(names, _ISSUED) if started == NULL else started)
            chosen = submitted if chosen is None else chosen & submitted
        mine = slice(None) if chosen is None else np.flatnonzero(chosen)
        for column, (dictionary, raw) in columns.items():
            self.tally(family, column).add(dictionary, _counts(raw[mine], len(dictionary)))

    def _count_pairs(self, disk: tuple[pa.Array, Ints], op: tuple[pa.Array, Ints], chosen: Bools | None) -> None:
        """Disks and ops together, and each for itself."""
        (disks, of_disk), (ops, of_op) = disk, op
        if chosen is not None:
            of_disk, of_op = of_disk[chosen], of_op[chosen]
        size = len(ops) + 1
        counts = np.bincount((of_disk + 1) * size + of_op + 1, minlength=(len(disks) + 1) * size).reshape(-1, size)
        self.tally("block", "disk").add(disks, counts.sum(axis=1)[1:])
        self.tally("block", "op").add(ops, counts.sum(axis=0)[1:])
        for one, other in np.argwhere(counts[1:, 1:]).tolist():
            self.pairs[disks[one].as_py(), ops[other].as_py()] += int(counts[one + 1, other + 1])


def _counts(codes: Ints, size: int) -> Ints:
    """How often each code occurs; null, which is -1 and so counted last, is left out."""
    counts = np.zeros(size + 1, dtype=np.int64)
    np.add.at(counts, codes, 1)
    return counts[:-1]


def _selected(columns: Mapping[str, tuple[pa.Array, Ints]], selection: Selection) -> Bools | None:
    """Which rows are those of the command or disk that was asked for; null for all."""
    chosen = None
    for column, name in (("comm", selection.comm), ("disk", selection.disk)):
        if name is not None and column in columns:
            dictionary, raw = columns[column]
            its = (raw == number_of(dictionary, name)) & (raw != NULL)
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
