"""What happened in each of equal stretches of a recording: by how much these differ, two recordings may by chance."""

import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tracekit.analyze.blocks import BlockStream, measured, read_blocks, spans
from tracekit.analyze.census import take_census
from tracekit.analyze.columns import NULL, Codes, Ints
from tracekit.analyze.families import tell_processes
from tracekit.analyze.kernels.binning import BINS, BINS_PER_OCTAVE, bin_of, low_edge
from tracekit.analyze.opens import Opens, read_opens
from tracekit.analyze.processes import Lives
from tracekit.analyze.selection import Selection
from tracekit.analyze.spread import Grouping
from tracekit.analyze.windows import Windows, read_windows
from tracekit.analyze.workload import error_name
from tracekit.trace import Trace

#: Into so many stretches a recording is divided.
STRETCHES = 32
#: Values are counted in bins of a 32nd of an octave, or 2 %.
_WIDE = BINS_PER_OCTAVE // 32
WIDE_BINS = BINS // _WIDE
#: The fields of a group and their values, sorted by field; nothing for all.
Group = tuple[tuple[str, str], ...]
#: What is wanted of opens that fail, by command and error, as if it were a metric.
FAILURES = "open.failed"


def edges() -> Ints:
    """Where each wide bin begins, and the last one ends, in nanoseconds."""
    return low_edge(np.minimum(np.arange(WIDE_BINS + 1) * _WIDE, BINS - 1))


@dataclass(frozen=True)
class Stretches:
    """A part of a recording, stretch by stretch.

    Attributes:
        length_ns: of a stretch.
        values: of each metric and group how many values lie in which bin, of shape (`STRETCHES`, `WIDE_BINS`).
        starts: of each program, by path or comm, how often it started, of shape (`STRETCHES`,).
        opens: of each command and of all how many files it opened or tried to, likewise.
        failures: of each command and error and of all, how many of these opens failed, likewise.
        issues: of each disk and op and of all, how many requests were issued, likewise.
        running: the commands of processes that ran already when it began.
    """

    length_ns: float
    values: Mapping[tuple[str, Group], Ints]
    starts: Mapping[Group, Ints]
    opens: Mapping[Group, Ints]
    failures: Mapping[Group, Ints]
    issues: Mapping[Group, Ints]
    running: frozenset[str]


class _Clock:
    """Which stretch a time is in."""

    def __init__(self, trace: Trace, selection: Selection) -> None:
        self.start_ns, end_ns = selection.span(trace)
        self.length_ns = max(end_ns - self.start_ns, 1) / STRETCHES

    def stretch(self, ts_ns: Ints) -> Ints:
        """What begins before or after all of them belongs to the first or last."""
        return np.clip(((ts_ns - self.start_ns) / self.length_ns).astype(np.int64), 0, STRETCHES - 1)


class _Groups:
    """Of all values, and of each group, what is counted."""

    def __init__(self, groups: Iterable[Group], width: int) -> None:
        by_fields: dict[tuple[str, ...], list[Group]] = {}
        for group in groups:
            by_fields.setdefault(tuple(name for name, _ in group), []).append(group)
        self._counted = [_Counted(fields, mine, width) for fields, mine in by_fields.items()]

    def add(self, columns: Mapping[str, Codes], place: Ints) -> None:
        """Count elements at their places in (stretch, width)."""
        for counted in self._counted:
            counted.add(columns, place)

    def found(self) -> Iterator[tuple[Group, Ints]]:
        """The counts of each group, of shape (`STRETCHES`, width)."""
        for counted in self._counted:
            yield from zip(counted.groups, counted.counts, strict=False)


class _Counted:
    """Groups of the same fields; the last of the counts are those of no group."""

    def __init__(self, fields: tuple[str, ...], groups: list[Group], width: int) -> None:
        self.groups, self._fields = groups, fields
        self.counts = np.zeros((len(groups) + 1, STRETCHES, width), dtype=np.int64)

    def add(self, columns: Mapping[str, Codes], place: Ints) -> None:
        number: Ints | int = 0
        if self._fields:
            known = [columns[name].names for name in self._fields]
            values = [tuple(value for _, value in group) for group in self.groups]
            there = [at for at, value in enumerate(values) if all(map(operator.contains, known, value))]
            grouping = Grouping(self._fields, tuple(values[at] for at in there), ())
            number = np.array([*there, len(values)])[grouping.of(columns)]
        np.add.at(self.counts.reshape(-1), number * self.counts[0].size + place, 1)


class _Failures:
    """How many opens failed, by command and error."""

    def __init__(self, groups: list[Group]) -> None:
        self.groups = _Groups(groups, 1)
        self._names = tuple(sorted({error for group in groups for field, error in group if field == "error"}))

    def add(self, failed: Opens, stretch: Ints) -> None:
        """Count opens that failed."""
        numbers, each = np.unique(-failed.ret, return_inverse=True)
        place = {name: at for at, name in enumerate(self._names)}
        codes = np.array([place.get(error_name(number), NULL) for number in numbers.tolist()], dtype=np.int64)[each]
        self.groups.add({"comm": failed.comm, "error": Codes(codes, self._names)}, stretch)


def read_stretches(trace: Trace, selection: Selection, wanted: Mapping[str, list[Group]]) -> Stretches:
    """Count what happened.

    Args:
        wanted: the groups of each metric and of `FAILURES`, () for all of its values.

    Raises:
        TraceError: the file is damaged.
    """
    clock = _Clock(trace, selection)
    values = {metric: _Groups(groups, WIDE_BINS) for metric, groups in wanted.items() if metric != FAILURES}
    issues = _Groups(wanted.get("block.device", []), 1)
    opens = _Groups(wanted.get("open", []), 1)
    _count_blocks(trace, selection, clock, values, issues)
    failures = _Failures(wanted.get(FAILURES, []))
    _count_opens(trace, selection, clock, values, opens, failures)
    lives = tell_processes(trace, selection).lives
    starts = _count_processes(lives, clock, values)
    return Stretches(
        clock.length_ns,
        {(metric, group): counts for metric, groups in values.items() for group, counts in groups.found()},
        starts,
        {group: counts[:, 0] for group, counts in opens.found()},
        {group: counts[:, 0] for group, counts in failures.groups.found()},
        {group: counts[:, 0] for group, counts in issues.found()},
        _running(lives, clock.start_ns),
    )


def _place(clock: _Clock, begin_ns: Ints, value_ns: Ints) -> Ints:
    return clock.stretch(begin_ns) * WIDE_BINS + bin_of(np.maximum(value_ns, 0)) // _WIDE


def _count_blocks(
    trace: Trace, selection: Selection, clock: _Clock, values: Mapping[str, _Groups], issues: _Groups
) -> None:
    if not any(metric.startswith("block.") for metric in values):
        return
    windows = Windows.of(read_windows(trace), "block")
    stream = BlockStream(take_census(trace, selection, "block"), windows, selection.disk)
    for _, blocks in read_blocks(trace, selection, stream):
        issued = blocks[np.flatnonzero(blocks.first_issue_ns != NULL)]
        issues.add({"disk": issued.disk, "op": issued.op}, clock.stretch(issued.first_issue_ns))
        for metric, begin, end, rival in spans(blocks):
            if metric in values:
                chosen = np.flatnonzero(measured(begin, end, rival, windows))
                mine = blocks[chosen]
                columns = {"disk": mine.disk, "op": mine.op, "comm": mine.comm}
                values[metric].add(columns, _place(clock, begin[chosen], (end - begin)[chosen]))


def _count_opens(
    trace: Trace,
    selection: Selection,
    clock: _Clock,
    values: Mapping[str, _Groups],
    opens: _Groups,
    failures: _Failures,
) -> None:
    if "open" not in values:
        return
    for found in read_opens(trace, selection, take_census(trace, selection, "open")):
        opens.add({"comm": found.comm}, clock.stretch(found.ts_ns))
        failed = found[np.flatnonzero(found.failed)]
        if len(failed):
            failures.add(failed, clock.stretch(failed.ts_ns))
        known = found[np.flatnonzero(found.duration_ns != NULL)]
        values["open"].add({"comm": known.comm}, _place(clock, known.ts_ns, known.duration_ns))


def _count_processes(lives: Lives, clock: _Clock, values: Mapping[str, _Groups]) -> dict[Group, Ints]:
    if "process.lifetime" in values:
        known = np.flatnonzero(lives.lifetime_ns != NULL)
        place = _place(clock, lives.started_ns[known], lives.lifetime_ns[known])
        values["process.lifetime"].add({"comm": lives.comm[known]}, place)
    ran = np.flatnonzero(lives.start_ns != NULL)
    stretch = clock.stretch(lives.start_ns[ran])
    return _by_name("path", lives.path[ran], stretch)


def _running(lives: Lives, start_ns: int) -> frozenset[str]:
    still = (lives.begin_ns < start_ns) & ((lives.exit_ns == NULL) | (lives.exit_ns >= start_ns))
    codes = lives.comm.codes[still]
    return frozenset(lives.comm.names[code] for code in np.unique(codes[codes != NULL]).tolist())


def _by_name(field: str, codes: Codes, stretch: Ints) -> dict[Group, Ints]:
    """Of each name that occurs, how often in which stretch."""
    size = len(codes.names)
    known = np.flatnonzero(codes.codes != NULL)
    counts = np.bincount(codes.codes[known] * STRETCHES + stretch[known], minlength=size * STRETCHES)
    table = counts.reshape(size, STRETCHES)
    return {((field, codes.names[at]),): table[at] for at in np.flatnonzero(table.any(axis=1)).tolist()}
