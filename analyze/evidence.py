"""The raw events that a finding rests on."""

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from tracekit.analyze.blocks import BlockIO, BlockStream, measured, read_blocks, spans
from tracekit.analyze.census import take_census
from tracekit.analyze.columns import NULL, Bools, Ints, arrow_bools, encoded, ints, known, number_of
from tracekit.analyze.groups import MAX_ANCESTORS, labels, parent_name
from tracekit.analyze.kernels.pairing import SECTOR_BYTES
from tracekit.analyze.processes import Lives, Periods
from tracekit.analyze.results import Pattern, Where
from tracekit.analyze.selection import Selection
from tracekit.analyze.windows import Windows, read_windows
from tracekit.schema import EVENTS, FAMILY_OF, SCHEMA
from tracekit.trace import Trace

_PID = re.compile(r"\(pid (\d+)\)$")
_TIMES = ("start_ns", "first_issue_ns", "issue_ns", "complete_ns", "end_ns")


def where_of_pattern(pattern: Pattern, lives: Lives, origin_ns: int) -> Where:
    """The events of a pattern: of processes the whole lives of those that started in it.

    Args:
        origin_ns: when the recording began.
    """
    if pattern.event != "exec":
        fields = {name: value for name, value in pattern.scope.items() if name in ("comm", "path", "cgroup", "disk")}
        start_ns, end_ns = pattern.start_ns - origin_ns, pattern.end_ns - origin_ns
        return Where((pattern.event,), start_ns, end_ns, tuple(fields.items()), rhythm=pattern)
    return replace(where_of_lives(started_in(pattern, lives), lives, origin_ns), rhythm=pattern)


def started_in(pattern: Pattern, lives: Lives) -> Bools:
    """Which lives are the process starts of a pattern."""
    during = (lives.start_ns >= pattern.start_ns) & (lives.start_ns <= pattern.end_ns)
    return np.asarray(during & in_scope(pattern.scope, lives))


def where_of_lives(mine: Bools, lives: Lives, origin_ns: int) -> Where:
    """What some processes did from beginning to end, and nothing of others that had their pids.

    Args:
        origin_ns: when the recording began.
    """
    again = np.append((lives.pid[1:] == lives.pid[:-1]) & (lives.pid[1:] != NULL), False)[: len(lives)]
    begin_ns = np.maximum(lives.begin_ns, origin_ns)
    last_ns = int(np.max([lives.tried_ns[mine], lives.exit_ns[mine]], initial=origin_ns))
    # Where its end was not seen, a life goes on until its pid is used again.
    until_ns = np.where(again, np.minimum(np.roll(begin_ns, -1) - 1, last_ns), last_ns)
    end_ns = np.where(lives.exit_ns != NULL, lives.exit_ns, until_ns)
    begin_ns = np.where(np.roll(again, 1), np.maximum(begin_ns, np.roll(end_ns, 1) + 1), begin_ns)
    # Where pids are unknown, each event is a life of its own.
    begin_ns = np.where(lives.pid == NULL, np.maximum(lives.tried_ns, lives.exit_ns), begin_ns)
    end_ns = np.where(lives.pid == NULL, begin_ns, end_ns)
    told = np.stack((lives.pid[mine], begin_ns[mine] - origin_ns, end_ns[mine] - origin_ns))
    start_ns = int(np.min(told[1], initial=last_ns - origin_ns))
    return Where(EVENTS["process"][1:], start_ns, last_ns - origin_ns, lives=told)


def in_scope(scope: dict[str, str], lives: Lives) -> Bools:
    """Which lives are in the scope of a pattern."""
    inside = np.ones(len(lives), dtype=np.bool_)
    for name, codes in (("path", lives.path), ("comm", labels(lives)), ("cgroup", lives.cgroup)):
        if name in scope and "parent" not in scope:
            inside &= codes.is_in(scope[name])
    if "parent" in scope:
        pid = _PID.search(scope["parent"])
        tops = np.flatnonzero(lives.pid == (int(pid[1]) if pid else NULL))
        named = np.zeros(len(lives), dtype=np.bool_)
        named[[life for life in tops.tolist() if parent_name(lives, life) == scope["parent"]]] = True
        inside &= _below(named, lives)
    return inside


def _below(tops: Bools, lives: Lives) -> Bools:
    """Which lives have one of these above them."""
    found, above = np.zeros(len(lives), dtype=np.bool_), lives.parent
    for _ in range(MAX_ANCESTORS):
        known = above != NULL
        found |= known & tops[above]
        above = np.where(known, lives.parent[above], NULL)
    return found


def raw_events(trace: Trace, selection: Selection, where: Where) -> Iterator[pa.RecordBatch]:
    """The rows of a trace that a finding rests on, as the trace has them, a piece at a time.

    Raises:
        TraceError: the file is damaged.
    """
    io = _Requests(trace, selection, where) if FAMILY_OF[where.events[0]] == "block" and _needs_pairs(where) else None
    start_ns, end_ns = (None if at is None else trace.start_ns + at for at in (selection.start_ns, selection.end_ns))
    if where.start_ns is not None:
        start_ns = trace.start_ns + where.start_ns
    if where.end_ns is not None:
        end_ns = trace.start_ns + where.end_ns + 1
    lived = None if where.lives is None else periods_of(where, trace.start_ns)
    for rows in trace.batches(*where.events, columns=SCHEMA.names, start_ns=start_ns, end_ns=end_ns):
        chosen = _chosen(rows, where, selection, lived) if io is None else io.chosen(rows)
        if chosen.any():
            yield rows.filter(arrow_bools(chosen))


def _needs_pairs(where: Where) -> bool:
    return where.failed or where.metric is not None


def _chosen(rows: pa.RecordBatch, where: Where, selection: Selection, lived: Periods | None) -> Bools:
    chosen = np.ones(len(rows), dtype=np.bool_)
    fields = list(where.fields)
    if FAMILY_OF[where.events[0]] == "open" and selection.comm is not None:
        fields.append(("comm", selection.comm))
    for column, value in fields:
        names, codes = encoded(rows, column)
        chosen &= codes == (NULL if value is None else max(number_of(names, value), 0))
        chosen &= value is None or number_of(names, value) != NULL
    if lived is not None:
        chosen &= lived.at(ints(rows, "pid"), ints(rows, "ts_ns")) != NULL
    if where.failed:
        chosen &= (ints(rows, "ret") < 0) & known(rows, "ret")
    if where.metric == "open":
        duration_ns = ints(rows, "duration_ns")
        chosen &= (duration_ns >= where.low_ns) & (duration_ns <= where.high_ns)
    return chosen


def periods_of(where: Where, origin_ns: int) -> Periods:
    """When the processes lived that something is about."""
    assert where.lives is not None
    pid, begin_ns, end_ns = where.lives
    return Periods(pid, begin_ns + origin_ns, end_ns + origin_ns)


class _Requests:
    """The events of the requests that a finding is about, by their times and disks.

    Those between the first issue of a request and its last are of the same disk and end at the same sector.
    """

    def __init__(self, trace: Trace, selection: Selection, where: Where) -> None:
        windows = Windows.of(read_windows(trace), "block")
        stream = BlockStream(take_census(trace, selection, "block"), windows)
        self._disks = stream.names["disk"]
        times = ("complete_ns",) if where.failed else _TIMES
        found: list[Ints] = [np.zeros(0, dtype=np.int64)]
        again: list[Ints] = [np.zeros((3, 0), dtype=np.int64)]
        for _, blocks in read_blocks(trace, selection, stream):
            mine = blocks[blocks.failed if where.failed else _of_latency(blocks, where, windows)]
            found += [_key(getattr(mine, name), mine.disk.codes) for name in times]
            mine = mine[mine.requeued & (not where.failed)]
            place = _key(_stop(mine.sector, mine.bytes), mine.disk.codes)
            again.append(np.stack((place, mine.first_issue_ns, mine.issue_ns)))
        self._keys = np.unique(np.concatenate(found))
        place, first_ns, last_ns = np.concatenate(again, axis=1)
        self._places = np.unique(place)
        self._again = Periods(np.searchsorted(self._places, place), first_ns, last_ns)

    def chosen(self, rows: pa.RecordBatch) -> Bools:
        """Which rows are among them."""
        ts_ns, disk = ints(rows, "ts_ns"), self._disks.codes(rows, "disk").codes
        place = _among(self._places, _key(_stop(ints(rows, "sector"), ints(rows, "bytes")), disk))
        return np.asarray((_among(self._keys, _key(ts_ns, disk)) != NULL) | (self._again.at(place, ts_ns) != NULL))


def _of_latency(blocks: BlockIO, where: Where, windows: Windows) -> Bools:
    """The requests whose latency is in a range, as the distribution has them."""
    begin, end, rival = next(one[1:] for one in spans(blocks) if one[0] == where.metric)
    latency_ns = end - begin
    chosen = measured(begin, end, rival, windows)
    return np.asarray(chosen & (latency_ns >= where.low_ns) & (latency_ns <= where.high_ns))


def _among(known: Ints, keys: Ints) -> Ints:
    """Where each key is among those known, which are sorted; -1 where it is not."""
    if not len(known):
        return np.full(len(keys), NULL)
    # Not by np.isin, which would sort those known again for each piece.
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[place] == keys, place, NULL)


def _stop(sector: Ints, size: Ints) -> Ints:
    """The sector behind the last one."""
    return sector + size // SECTOR_BYTES


def _key(at: Ints, disk: Ints) -> Ints:
    """One number for a time or place and a disk; of more disks than these two may be the same."""
    return (at << 8) | (disk & 0xFF)
