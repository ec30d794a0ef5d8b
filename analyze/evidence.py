"""The raw events that a finding rests on."""

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from tracekit.analyze.blocks import BlockIO, BlockStream, measured, read_blocks, spans
from tracekit.analyze.census import take_census
from tracekit.analyze.columns import NULL, Bools, Ints, arrow_bools, encoded, ints, known, number_of
from tracekit.analyze.patterns import MAX_ANCESTORS, parent_name
from tracekit.analyze.processes import Lives
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
        return Where((pattern.event,), pattern.start_ns - origin_ns, pattern.end_ns - origin_ns, tuple(fields.items()))
    mine = (lives.start_ns >= pattern.start_ns) & (lives.start_ns <= pattern.end_ns) & _in_scope(pattern.scope, lives)
    end_ns = int(np.max(lives.exit_ns[mine], initial=pattern.end_ns))
    pids = tuple(np.unique(lives.pid[mine]).tolist())
    begin_ns = lives.started_ns[mine & (lives.started_ns != NULL)]
    start_ns = min(int(np.min(begin_ns, initial=pattern.start_ns)), pattern.start_ns)
    return Where(EVENTS["process"][1:], start_ns - origin_ns, end_ns - origin_ns, pids=pids)


def _in_scope(scope: dict[str, str], lives: Lives) -> Bools:
    inside = np.ones(len(lives), dtype=np.bool_)
    for name, codes in (("path", lives.path), ("comm", lives.comm), ("cgroup", lives.cgroup)):
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
    for rows in trace.batches(*where.events, columns=SCHEMA.names, start_ns=start_ns, end_ns=end_ns):
        chosen = _chosen(rows, where, selection) if io is None else io.chosen(rows)
        if chosen.any():
            yield rows.filter(arrow_bools(chosen))


def _needs_pairs(where: Where) -> bool:
    return where.failed or where.metric is not None


def _chosen(rows: pa.RecordBatch, where: Where, selection: Selection) -> Bools:
    chosen = np.ones(len(rows), dtype=np.bool_)
    fields = list(where.fields)
    if FAMILY_OF[where.events[0]] == "open" and selection.comm is not None:
        fields.append(("comm", selection.comm))
    for column, value in fields:
        names, codes = encoded(rows, column)
        chosen &= codes == (NULL if value is None else max(number_of(names, value), 0))
        chosen &= value is None or number_of(names, value) != NULL
    if where.pids is not None:
        chosen &= np.isin(ints(rows, "pid"), where.pids)
    if where.failed:
        chosen &= (ints(rows, "ret") < 0) & known(rows, "ret")
    if where.metric == "open":
        duration_ns = ints(rows, "duration_ns")
        chosen &= (duration_ns >= where.low_ns) & (duration_ns <= where.high_ns)
    return chosen


class _Requests:
    """The events of the requests that a finding is about, by their times and disks."""

    def __init__(self, trace: Trace, selection: Selection, where: Where) -> None:
        windows = Windows.of(read_windows(trace), "block")
        stream = BlockStream(take_census(trace, selection, "block"), windows)
        self._disks = stream.names["disk"]
        times = ("complete_ns",) if where.failed else _TIMES
        found: list[Ints] = [np.zeros(0, dtype=np.int64)]
        for _, blocks in read_blocks(trace, selection, stream):
            mine = blocks[blocks.failed if where.failed else _of_latency(blocks, where, windows)]
            found += [_key(getattr(mine, name), mine.disk.codes) for name in times]
        self._keys = np.unique(np.concatenate(found))

    def chosen(self, rows: pa.RecordBatch) -> Bools:
        """Which rows are among them."""
        return np.isin(_key(ints(rows, "ts_ns"), self._disks.codes(rows, "disk").codes), self._keys)


def _of_latency(blocks: BlockIO, where: Where, windows: Windows) -> Bools:
    """The requests whose latency is in a range, as the distribution has them."""
    begin, end, rival = next(one[1:] for one in spans(blocks) if one[0] == where.metric)
    latency_ns = end - begin
    chosen = measured(begin, end, rival, windows)
    return np.asarray(chosen & (latency_ns >= where.low_ns) & (latency_ns <= where.high_ns))


def _key(ts_ns: Ints, disk: Ints) -> Ints:
    """One number for a time and a disk; of more disks than these two may be the same."""
    return (ts_ns << 8) | (disk & 0xFF)
