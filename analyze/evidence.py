"""The raw events that a finding rests on."""

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracekit.analyze.blocks import BlockStream, read_blocks
from tracekit.analyze.census import take_census
from tracekit.analyze.columns import NULL, Bools, Ints, ints
from tracekit.analyze.patterns import MAX_ANCESTORS, parent_name
from tracekit.analyze.processes import Lives
from tracekit.analyze.results import Pattern, Where
from tracekit.analyze.selection import Selection
from tracekit.analyze.windows import Windows, read_windows
from tracekit.schema import EVENTS, SCHEMA
from tracekit.trace import Trace

#: Which times of a request a metric lies between, in the attributes of `BlockIO`.
_ENDS = {
    "block.device": ("issue_ns", "complete_ns"),
    "block.queue": ("start_ns", "first_issue_ns"),
    "block.total": ("start_ns", "end_ns"),
}
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
    ends = _ENDS.get(where.metric or "")
    times = None if ends is None else _times_of_requests(trace, selection, where, *ends)
    start_ns, end_ns = selection.span(trace)
    start_ns = start_ns if where.start_ns is None else trace.start_ns + where.start_ns
    end_ns = end_ns if where.end_ns is None else trace.start_ns + where.end_ns
    for rows in trace.batches(*where.events, columns=SCHEMA.names, start_ns=start_ns, end_ns=end_ns + 1):
        chosen = _chosen(rows, where)
        if times is not None:
            chosen &= np.isin(ints(rows, "ts_ns"), times)
        if chosen.any():
            yield rows.filter(pa.array(chosen))


def _chosen(rows: pa.RecordBatch, where: Where) -> Bools:
    chosen = np.ones(len(rows), dtype=np.bool_)
    for column, value in where.fields:
        chosen &= _is(pc.equal(rows.column(column), value))
    if where.pids is not None:
        chosen &= _is(pc.is_in(rows.column("pid"), value_set=pa.array(where.pids, pa.int32())))
    if where.failed:
        chosen &= _is(pc.less(rows.column("ret"), 0))
    if where.metric == "open":
        duration_ns = ints(rows, "duration_ns")
        chosen &= (duration_ns >= where.low_ns) & (duration_ns <= where.high_ns)
    return chosen


def _is(truth: pa.Array) -> Bools:
    return np.asarray(truth.fill_null(False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _times_of_requests(trace: Trace, selection: Selection, where: Where, begin: str, end: str) -> Ints:
    """The times of all events of the requests whose latency, from one time to another, is in a range."""
    stream = BlockStream(take_census(trace, selection, ("block",)), Windows.of(read_windows(trace), "block"))
    found: list[Ints] = []
    for _, blocks in read_blocks(trace, selection, stream):
        known = (getattr(blocks, begin) != NULL) & (getattr(blocks, end) != NULL)
        latency_ns = getattr(blocks, end) - getattr(blocks, begin)
        mine = blocks[known & (latency_ns >= where.low_ns) & (latency_ns <= where.high_ns)]
        found += [getattr(mine, name) for name in _TIMES]
    return np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *found]))
