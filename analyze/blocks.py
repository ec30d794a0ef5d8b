"""Block I/O of a trace: one element per request, with what is known of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar, get_type_hints

import numpy as np
import pyarrow as pa

from tracekit.analyze import contrast
from tracekit.analyze.census import LOOKED_AT, MOST, Census
from tracekit.analyze.columns import (
    NULL,
    Bools,
    Codes,
    Ints,
    Numbers,
    arrow_ints,
    below_zero,
    indices,
    ints,
    numbered,
    taken,
    translated,
)
from tracekit.analyze.kernels import pairing as kernels
from tracekit.analyze.kernels.pairing import Events, Found, Requests
from tracekit.analyze.pairing import BLOCK_EVENTS, ISSUE, START, BlockEvents, Pairs, carried, pair
from tracekit.analyze.selection import Selection
from tracekit.analyze.windows import Windows
from tracekit.errors import TraceError
from tracekit.trace import Trace

COLUMNS = ("ts_ns", "event", "dev", "request", "sector", "bytes", "op", "disk", "comm", "cgroup", "flags", "ret", "pid")
#: cmd_flags of a request that somebody waits for: REQ_SYNC, REQ_META, REQ_PREFLUSH or REQ_FUA would do it, too,
#: but their bits moved between kernels; REQ_SYNC has been bit 11 since Linux 4.10 (ef295ecf090d).
_REQ_SYNC = 1 << 11
#: A request that is under way for longer than this, and for so many times the longest that its disk took for one that
#: it completed, is one whose completion was missed: some kernels run no BPF program at some interrupts.
_MISSED_NS, _MISSED_TIMES = 1_000_000_000, 10
#: Of processes that did I/O so many are remembered at once, by disk and op, for where they left off.
_STREAMS = 1 << 16


Some = TypeVar("Some", "BlockIO", "Submissions")


@dataclass(frozen=True)
class BlockIO:
    """Requests in order of their first event. Times are -1 where unknown; see `Pairs` for start, issue and end.

    Attributes:
        depth: requests at the device when this one was issued, itself included; -1 where never issued. One whose
            completion was missed counts for itself alone.
        sequential: begins where the last one of its stream (disk, op and submitting process) ended.
        behind_flush: a flush of the same disk was under way when it was issued.
        spanning: between its first time and its last, events were lost.
    """

    disk: Codes
    op: Codes
    comm: Codes
    pid: Ints
    sector: Ints
    bytes: Ints
    flags: Ints
    start_ns: Ints
    first_issue_ns: Ints
    issue_ns: Ints
    complete_ns: Ints
    end_ns: Ints
    failed: Bools
    depth: Ints
    sequential: Bools
    behind_flush: Bools
    merged: Bools
    in_flight: Bools
    rival: Bools
    start_rival: Bools
    spanning: Bools

    def __len__(self) -> int:
        return len(self.start_ns)

    def __getitem__(self, chosen: Ints | Bools) -> "BlockIO":
        return BlockIO(*(getattr(self, one.name)[chosen] for one in fields(self)))

    @property
    def issued(self) -> Bools:
        """Requests that reached the device."""
        return np.asarray(self.issue_ns != NULL)

    @property
    def requeued(self) -> Bools:
        """Requests that were issued again, since the driver gave them back."""
        return np.asarray(self.issue_ns != self.first_issue_ns)

    def attributes(self) -> dict[str, Codes]:
        """What may set some requests apart from the rest."""
        waited_for = self.op.is_in("read") | ((self.flags & _REQ_SYNC) != 0)  # as op_is_sync() of the kernel has it
        return {
            "op": self.op,
            "disk": self.disk,
            "comm": self.comm.first(LOOKED_AT),
            "size": contrast.size_class(self.bytes),
            "sync": contrast.yes_no(waited_for, self.flags >= 0),
            "queue_depth": contrast.depth_class(self.depth),
            "access": contrast.yes_no(self.sequential, self.issued & (self.sector >= 0), "sequential", "random"),
            "flush_in_flight": contrast.yes_no(self.behind_flush & (self.bytes > 0)),
        }


def spans(blocks: BlockIO) -> tuple[tuple[str, Ints, Ints, Bools], ...]:
    """Of each metric its name, the time of each request from which and up to which it counts, and what is doubtful."""
    return (
        ("block.device", blocks.issue_ns, blocks.complete_ns, blocks.rival),
        ("block.queue", blocks.start_ns, blocks.first_issue_ns, blocks.start_rival),
        ("block.total", blocks.start_ns, blocks.end_ns, blocks.rival | blocks.start_rival),
    )


def measured(begin: Ints, end: Ints, rival: Bools, windows: Windows) -> Bools:
    """Which latencies are known and can be trusted."""
    return np.asarray((begin != NULL) & (end != NULL) & ~rival & ~windows.spanned_by(begin, end))


@dataclass(frozen=True)
class Submissions:
    """When I/O was submitted, in time order, and by whom to which disk."""

    ts_ns: Ints
    comm: Codes
    cgroup: Codes
    disk: Codes

    def __getitem__(self, chosen: Ints | Bools) -> "Submissions":
        return Submissions(*(getattr(self, one.name)[chosen] for one in fields(self)))


@dataclass
class Unpaired:
    """What could not be paired, so far.

    Attributes:
        before: completions of I/O that was issued before the recording.
        orphans: completions of I/O that was never seen issued, `before` included.
    """

    before: int = 0
    orphans: int = 0


@dataclass(frozen=True)
class _Piece:
    """Block events and what was known of each when it came: of an issue depth, sequence and flushes."""

    events: BlockEvents
    disk: Ints
    comm: Ints
    pid: Ints
    flags: Ints
    failed: Bools
    depth: Ints
    sequential: Bools
    behind_flush: Bools

    def __getitem__(self, rows: Ints) -> "_Piece":
        return _Piece(*(getattr(self, one.name)[rows] for one in fields(self)))


class BlockStream:
    """Pairs block events a piece at a time; what is not settled is carried into the next.

    Args:
        census: whom to tell by name.
        windows: when block events were lost.
        disk: whose completions are counted that belong to nothing; null for all.
    """

    def __init__(self, census: Census, windows: Windows, disk: str | None = None) -> None:
        self.names = {
            "disk": census.names("block", "disk"),
            "op": census.names("block", "op"),
            "comm": census.names("block", "comm", MOST),
            "cgroup": census.names("block", "cgroup"),
        }
        self.unpaired = Unpaired()
        self._windows, self._disk = windows, disk
        self._left: _Piece | None = None
        # Where the source had no starts, what is issued was submitted then.
        self._submitted = START if census.tally("block", "event").of("block_start") else ISSUE
        self._streams, self._devs, self._longest_ns = _Streams(), Numbers(), np.zeros(0, dtype=np.int64)
        self._flush = self.names["op"].all.index("flush") if "flush" in self.names["op"].all else NULL
        self._until_ns = np.iinfo(np.int64).min

    def add(self, rows: pa.RecordBatch) -> tuple[Submissions, BlockIO]:
        """What these events submit, and the requests that are settled once they have come."""
        rows = self._in_order(rows)
        old = 0 if self._left is None else len(self._left.depth)
        piece = self._piece(rows, old)
        pairs = pair(piece.events)
        self._observe(piece, pairs, old)
        self.unpaired.before += int(self._is_wanted(piece, pairs.before).sum())
        self.unpaired.orphans += int(self._is_wanted(piece, pairs.orphans).sum())
        rest = piece[pairs.carried]
        self._left = _Piece(carried(piece.events, pairs), *(getattr(rest, one.name) for one in fields(rest)[1:]))
        return self._submissions(rows, piece, old), self._requests(piece, pairs, pairs.settled)

    def _is_wanted(self, piece: _Piece, rows: Ints) -> Bools:
        disks = Codes(piece.disk[rows], self.names["disk"].all)
        return np.ones(len(rows), dtype=np.bool_) if self._disk is None else disks.is_in(self._disk)

    def _submissions(self, rows: pa.RecordBatch, piece: _Piece, old: int) -> Submissions:
        chosen = np.flatnonzero(piece.events.kind[old:] == self._submitted)
        columns = {"comm": piece.comm[old:], "disk": piece.disk[old:]}
        columns["cgroup"] = self.names["cgroup"].codes(rows, "cgroup").codes
        codes = {name: Codes(taken(column, chosen), self.names[name].all) for name, column in columns.items()}
        return Submissions(taken(piece.events.ts_ns[old:], chosen), **codes)

    def finish(self, end_ns: int) -> BlockIO | None:
        """The requests that were never settled, when nothing follows up to a time; null if there were no events."""
        if self._left is None:
            return None
        pairs = pair(self._left.events)
        pairs = replace(pairs, in_flight=pairs.in_flight & ~self._overdue(self._left.events, pairs, end_ns))
        return self._requests(self._left, pairs, ~pairs.settled)

    def _in_order(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        ts_ns = ints(rows, "ts_ns")
        if (ts_ns[1:] < ts_ns[:-1]).any():
            order = np.argsort(ts_ns, kind="stable")
            rows, ts_ns = rows.take(arrow_ints(order)), ts_ns[order]
        if len(ts_ns) and ts_ns[0] < self._until_ns:
            raise TraceError("the block events are not in time order: the file is damaged; sort it by ts_ns")
        self._until_ns = int(ts_ns[-1]) if len(ts_ns) else self._until_ns
        return rows

    def _piece(self, rows: pa.RecordBatch, old: int) -> _Piece:
        """What was left, so many events, and behind it what is new."""
        left, size = self._left, old + len(rows)

        def whole(name: str, dtype: Any = np.int64) -> Any:
            both = np.empty(size, dtype=dtype)
            if left is not None:
                both[:old] = getattr(left if hasattr(left, name) else left.events, name)
            return both

        def flags(name: str) -> Bools:
            both: Bools = whole(name, np.bool_)
            both[old:] = False
            return both

        columns = {name: whole(name) for name in ("ts_ns", "request", "sector", "bytes", "pid", "flags")}
        for name, column in columns.items():
            ints(rows, name, column[old:])
        codes = {name: whole(name) for name in ("disk", "op", "comm")}
        for name, column in codes.items():
            self.names[name].codes(rows, name, column[old:])
        event, raw = indices(rows, "event")
        kinds = [BLOCK_EVENTS.index(name) if name in BLOCK_EVENTS else NULL for name in event.to_pylist()]
        kind, dev, failed, depth = whole("kind"), whole("dev"), flags("failed"), whole("depth")
        translated(raw, np.array(kinds, dtype=np.int64), kind[old:])
        self._number(ints(rows, "dev"), dev[old:])
        failed[old:], depth[old:] = below_zero(rows, "ret"), NULL
        return _Piece(
            BlockEvents(
                columns["ts_ns"],
                kind,
                dev,
                columns["request"],
                columns["sector"],
                columns["bytes"],
                codes["op"],
                flags("rival"),
                flags("start_rival"),
            ),
            codes["disk"],
            codes["comm"],
            columns["pid"],
            columns["flags"],
            failed,
            depth,
            flags("sequential"),
            flags("behind_flush"),
        )

    def _number(self, devices: Ints, out: Ints) -> None:
        """A number from 0 on for each device."""
        numbers = self._devs.of(numbered(devices, len(devices), out))
        if (numbers != np.arange(len(numbers))).any():
            out[:] = numbers[out]

    def _observe(self, piece: _Piece, pairs: Pairs, old: int) -> None:
        """Of each new issue the depth, whether it is sequential, and whether a flush is under way."""
        events = piece.events
        self._learn(events, pairs)
        # When a request left whose completion was missed is not known: it counts for nobody but itself.
        missed = pairs.missed | self._overdue(events, pairs, self._until_ns)
        kernels.under_way(
            events.dev,
            len(self._devs),
            events.op,
            self._flush,
            pairs.first_issue,
            pairs.issue,
            np.where(missed, pairs.issue, pairs.over),
            old,
            piece.depth,
            piece.behind_flush,
        )
        self._streams.follow(piece, pairs, old)

    def _learn(self, events: BlockEvents, pairs: Pairs) -> None:
        """How long the longest request took of each disk."""
        done = np.flatnonzero(pairs.complete != NULL)
        first, longest_ns = _first(pairs)[done], np.zeros(len(self._devs), dtype=np.int64)
        longest_ns[: len(self._longest_ns)] = self._longest_ns
        np.maximum.at(longest_ns, events.dev[first], events.ts_ns[pairs.complete[done]] - events.ts_ns[first])
        self._longest_ns = longest_ns

    def _overdue(self, events: BlockEvents, pairs: Pairs, now_ns: int) -> Bools:
        """Which requests are under way for so long that their completion must have been missed."""
        overdue, first = pairs.in_flight.copy(), _first(pairs)[pairs.in_flight]
        most_ns = np.maximum(_MISSED_NS, _MISSED_TIMES * self._longest_ns)[events.dev[first]]
        overdue[overdue] = now_ns - events.ts_ns[first] > most_ns
        return overdue

    def _requests(self, piece: _Piece, pairs: Pairs, chosen: Bools) -> BlockIO:
        columns, size = {one.name: getattr(piece, one.name) for one in fields(piece)[1:]}, int(chosen.sum())
        columns |= {name: getattr(piece.events, name) for name in ("ts_ns", "op", "sector", "bytes")}
        kinds = get_type_hints(Found)
        dtypes = {name: np.bool_ if kinds[name] == Bools else np.int64 for name in Found._fields}
        found = Found(**{name: np.empty(size, dtype=dtype) for name, dtype in dtypes.items()})
        requests = Requests(*(getattr(pairs, name) for name in Requests._fields))
        kernels.gather_requests(requests, chosen, Events(**columns), found)
        first_ns = np.where(found.start_ns == NULL, found.first_issue_ns, found.start_ns)
        codes = {name: Codes(getattr(found, name), self.names[name].all) for name in ("disk", "op", "comm")}
        return BlockIO(
            **found._asdict() | codes,
            spanning=self._windows.spanned_by(first_ns, found.end_ns) & (found.end_ns != NULL),
        )


def _first(pairs: Pairs) -> Ints:
    """The first row of each request."""
    return np.where(pairs.start == NULL, pairs.first_issue, pairs.start)


@dataclass
class _Streams:
    """Where the last request of each stream ended; a stream is a disk, an op and a submitting process."""

    key: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    stop: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def follow(self, piece: _Piece, pairs: Pairs, old: int) -> None:
        """Which of the requests that are new begin where the last one of their stream ended."""
        events, keys, stops = piece.events, np.empty_like(pairs.start), np.empty_like(pairs.start)
        count = kernels.follow(
            pairs.first_issue,
            pairs.start,
            old,
            events.dev,
            events.op,
            piece.pid,
            events.sector,
            events.bytes,
            self.key,
            self.stop,
            piece.sequential,
            keys,
            stops,
        )
        self._remember(keys[:count], stops[:count])

    def _remember(self, keys: Ints, stops: Ints) -> None:
        """The newest of each; when there are too many, all are forgotten that were silent meanwhile."""
        kept = ~np.isin(self.key, keys, assume_unique=True) & (len(self.key) + len(keys) <= _STREAMS)
        key, stop = np.append(self.key[kept], keys), np.append(self.stop[kept], stops)
        order = np.argsort(key)
        self.key, self.stop = key[order], stop[order]


def read_blocks(
    trace: Trace, selection: Selection, stream: BlockStream
) -> Iterator[tuple[Submissions | None, BlockIO]]:
    """The block I/O of a trace that was selected, a piece at a time; null when nothing more was submitted."""
    for rows in selection.batches(trace, "block", COLUMNS):
        submitted, found = stream.add(rows)
        yield _selected(submitted, selection), _selected(found, selection)
    rest = stream.finish(selection.span(trace)[1])
    if rest is not None:
        yield None, _selected(rest, selection)


def _selected(found: Some, selection: Selection) -> Some:
    chosen = np.ones(len(found.disk), dtype=np.bool_)
    if selection.disk is not None:
        chosen &= found.disk.is_in(selection.disk)
    if selection.comm is not None:
        chosen &= found.comm.is_in(selection.comm)
    return found if chosen.all() else found[chosen]
