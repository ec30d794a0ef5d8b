"""Block I/O of a trace: one element per request, with what is known of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from tracekit.analyze import contrast
from tracekit.analyze.census import LOOKED_AT, MOST, Census
from tracekit.analyze.columns import NULL, Bools, Codes, Few, Ints, arrow_ints, encoded, ints, ints_of, known, row_order
from tracekit.analyze.pairing import BLOCK_EVENTS, ISSUE, SECTOR_BYTES, START, BlockEvents, Pairs, carried, pair
from tracekit.analyze.selection import Selection
from tracekit.analyze.windows import Windows
from tracekit.errors import TraceError
from tracekit.trace import Trace

COLUMNS = ("ts_ns", "event", "dev", "request", "sector", "bytes", "op", "disk", "comm", "cgroup", "flags", "ret", "pid")
#: cmd_flags of a request that somebody waits for: REQ_SYNC, REQ_META, REQ_PREFLUSH or REQ_FUA would do it, too,
#: but their bits moved between kernels; REQ_SYNC has been bit 11 since Linux 4.10 (ef295ecf090d).
_REQ_SYNC = 1 << 11
#: Of processes that did I/O so many are remembered at once, by disk and op, for where they left off.
_STREAMS = 1 << 16


Some = TypeVar("Some", "BlockIO", "Submissions")


@dataclass(frozen=True)
class BlockIO:
    """Requests in order of their first event. Times are -1 where unknown; see `Pairs` for start, issue and end.

    Attributes:
        depth: requests at the device when this one was issued, itself included; -1 where never issued.
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

    def followed_by(self, other: "_Piece") -> "_Piece":
        """Both, one after the other."""

        def both(mine: Any, its: Any) -> Any:
            if isinstance(mine, BlockEvents):
                return BlockEvents(*(both(getattr(mine, one.name), getattr(its, one.name)) for one in fields(mine)))
            return np.concatenate((mine, its))

        return _Piece(*(both(getattr(self, one.name), getattr(other, one.name)) for one in fields(self)))


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
        self._streams, self._devs = _Streams(), Few()
        self._flush = self.names["op"].all.index("flush") if "flush" in self.names["op"].all else NULL
        self._until_ns = np.iinfo(np.int64).min

    def add(self, rows: pa.RecordBatch) -> tuple[Submissions, BlockIO]:
        """What these events submit, and the requests that are settled once they have come."""
        rows = self._in_order(rows)
        new = self._piece(rows)
        piece = new if self._left is None else self._left.followed_by(new)
        pairs = pair(piece.events)
        old = len(piece.depth) - len(new.depth)
        self._observe(piece, pairs, old)
        self.unpaired.before += int(self._is_wanted(piece, pairs.before).sum())
        self.unpaired.orphans += int(self._is_wanted(piece, pairs.orphans).sum())
        rest = piece[pairs.carried]
        self._left = _Piece(carried(piece.events, pairs), *(getattr(rest, one.name) for one in fields(rest)[1:]))
        return self._submissions(rows, new), self._requests(piece, pairs, np.flatnonzero(pairs.settled))

    def _is_wanted(self, piece: _Piece, rows: Ints) -> Bools:
        disks = Codes(piece.disk[rows], self.names["disk"].all)
        return np.ones(len(rows), dtype=np.bool_) if self._disk is None else disks.is_in(self._disk)

    def _submissions(self, rows: pa.RecordBatch, new: _Piece) -> Submissions:
        comm, disk = Codes(new.comm, self.names["comm"].all), Codes(new.disk, self.names["disk"].all)
        submissions = Submissions(new.events.ts_ns, comm, self.names["cgroup"].codes(rows, "cgroup"), disk)
        return submissions[np.flatnonzero(new.events.kind == self._submitted)]

    def finish(self) -> BlockIO | None:
        """The requests that were never settled, when nothing follows; null if there were no events."""
        if self._left is None:
            return None
        pairs = pair(self._left.events)
        return self._requests(self._left, pairs, np.flatnonzero(~pairs.settled))

    def _in_order(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        ts_ns = ints(rows, "ts_ns")
        if (ts_ns[1:] < ts_ns[:-1]).any():
            order = np.argsort(ts_ns, kind="stable")
            rows, ts_ns = rows.take(arrow_ints(order)), ts_ns[order]
        if len(ts_ns) and ts_ns[0] < self._until_ns:
            raise TraceError("the block events are not in time order: the file is damaged; sort it by ts_ns")
        self._until_ns = int(ts_ns[-1]) if len(ts_ns) else self._until_ns
        return rows

    def _piece(self, rows: pa.RecordBatch) -> _Piece:
        event, raw = encoded(rows, "event")
        kinds = [BLOCK_EVENTS.index(name) if name in BLOCK_EVENTS else NULL for name in event.to_pylist()]
        kind = np.array([*kinds, NULL], dtype=np.int8)[raw]
        disk, op, comm = (self.names[name].codes(rows, name).codes for name in ("disk", "op", "comm"))
        ts_ns, request, sector, size = (ints(rows, name) for name in ("ts_ns", "request", "sector", "bytes"))
        dev = self._devs.numbers(ints(rows, "dev"))
        no = np.zeros(len(ts_ns), dtype=np.bool_)
        return _Piece(
            BlockEvents(ts_ns, kind, dev, request, sector, size, op, no, no),
            disk,
            comm,
            pid=ints(rows, "pid"),
            flags=ints(rows, "flags"),
            failed=(ints(rows, "ret") < 0) & known(rows, "ret"),
            depth=np.full(len(ts_ns), NULL),
            sequential=no.copy(),
            behind_flush=no.copy(),
        )

    def _observe(self, piece: _Piece, pairs: Pairs, old: int) -> None:
        """Of each new issue the depth, whether it is sequential, and whether a flush is under way."""
        issued = np.flatnonzero(pairs.issue != NULL)
        dev = piece.events.dev
        # What was requeued is under way from its first issue on.
        rows, first, over = pairs.issue[issued], pairs.first_issue[issued], pairs.over[issued]
        for one in np.flatnonzero(np.bincount(dev[rows])):
            mine = np.flatnonzero(dev[rows] == one)
            new = rows[mine][rows[mine] >= old]
            piece.depth[new] = np.maximum(_under_way(len(dev), first[mine], over[mine])[new], 1)
        flush = piece.events.op[rows] == self._flush
        for one in np.unique(dev[rows[flush]]) if flush.any() else ():
            mine = dev[rows] == one
            new = rows[mine & ~flush & (rows >= old)]
            piece.behind_flush[new] = _under_way(len(dev), first[mine & flush], over[mine & flush])[new] > 0
        chosen = np.flatnonzero((first >= old) & (piece.events.sector[first] != NULL))
        chosen = chosen[row_order(first[chosen], len(dev))]
        first, start = first[chosen], pairs.start[issued][chosen]
        pid = np.where(start == NULL, NULL, piece.pid[start])
        sequential = self._streams.follow(piece.events[first], pid)
        piece.sequential[first[sequential]] = True

    def _requests(self, piece: _Piece, pairs: Pairs, chosen: Ints) -> BlockIO:
        events, ts_ns = piece.events, np.append(piece.events.ts_ns, NULL)
        start, first_issue, issue = pairs.start[chosen], pairs.first_issue[chosen], pairs.issue[chosen]
        complete, end = pairs.complete[chosen], pairs.end[chosen]
        known = np.where(first_issue == NULL, start, first_issue)

        def at(values: Ints, rows: Ints) -> Ints:
            return np.where(rows == NULL, NULL, values[rows])

        first_ns = np.where(start == NULL, ts_ns[first_issue], ts_ns[start])
        end_ns = ts_ns[end]
        return BlockIO(
            disk=Codes(piece.disk[known], self.names["disk"].all),
            op=Codes(events.op[known], self.names["op"].all),
            comm=Codes(at(piece.comm, start), self.names["comm"].all),
            pid=at(piece.pid, start),
            sector=events.sector[known],
            bytes=events.bytes[known],
            flags=piece.flags[known],
            start_ns=ts_ns[start],
            first_issue_ns=ts_ns[first_issue],
            issue_ns=ts_ns[issue],
            complete_ns=ts_ns[complete],
            end_ns=end_ns,
            failed=piece.failed[complete] & (complete != NULL),
            depth=at(piece.depth, issue),
            sequential=piece.sequential[first_issue] & (first_issue != NULL),
            behind_flush=piece.behind_flush[issue] & (issue != NULL),
            merged=pairs.merged[chosen],
            in_flight=pairs.in_flight[chosen],
            rival=pairs.rival[chosen],
            start_rival=pairs.start_rival[chosen],
            spanning=self._windows.spanned_by(first_ns, end_ns) & (end != NULL),
        )


def _under_way(size: int, issue: Ints, over: Ints) -> Ints:
    """At each of so many rows, how many requests are between issue and end; at its own issue a request counts."""
    change = np.zeros(size, dtype=np.int64)
    change[issue] = 1
    change[over[np.flatnonzero(over != NULL)]] -= 1
    return np.cumsum(change)


@dataclass
class _Streams:
    """Where the last request of each stream ended; a stream is a disk, an op and a submitting process."""

    key: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    stop: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def follow(self, issues: BlockEvents, pid: Ints) -> Bools:
        """Which of these issues, in time order, begin where the last one of their stream ended."""
        key = ((pid + 1) << 38) | (issues.dev << 6) | (issues.op & 63)  # pids have 22 bits
        order = _in_order(key)
        key, sector = key[order], issues.sector[order]
        stop = sector + issues.bytes[order] // SECTOR_BYTES
        first = np.append(True, key[1:] != key[:-1])[: len(key)]
        before = np.append(NULL, stop[:-1])[: len(key)]
        before[first] = self._left_off(key[first])
        result = np.zeros(len(key), dtype=np.bool_)
        result[order] = sector == before
        last = np.append(first[1:], True)[: len(key)]
        self._remember(key[last], stop[last])
        return result

    def _left_off(self, keys: Ints) -> Ints:
        if not len(self.key):
            return np.full(len(keys), NULL)
        place = np.minimum(np.searchsorted(self.key, keys), len(self.key) - 1)
        return np.where(self.key[place] == keys, self.stop[place], NULL)

    def _remember(self, keys: Ints, stops: Ints) -> None:
        """The newest of each; when there are too many, all are forgotten that were silent meanwhile."""
        kept = ~np.isin(self.key, keys, assume_unique=True) & (len(self.key) + len(keys) <= _STREAMS)
        key, stop = np.append(self.key[kept], keys), np.append(self.stop[kept], stops)
        order = np.argsort(key)
        self.key, self.stop = key[order], stop[order]


def _in_order(keys: Ints) -> Ints:
    """The order of keys, equal ones as they stand."""
    number = ints_of(arrow_ints(keys).dictionary_encode().indices)
    size = len(keys).bit_length()
    return np.asarray(np.sort((number << size) | np.arange(len(keys))) & ((1 << size) - 1))


def read_blocks(
    trace: Trace, selection: Selection, stream: BlockStream
) -> Iterator[tuple[Submissions | None, BlockIO]]:
    """The block I/O of a trace that was selected, a piece at a time; null when nothing more was submitted."""
    for rows in selection.batches(trace, "block", COLUMNS):
        submitted, found = stream.add(rows)
        yield _selected(submitted, selection), _selected(found, selection)
    rest = stream.finish()
    if rest is not None:
        yield None, _selected(rest, selection)


def _selected(found: Some, selection: Selection) -> Some:
    chosen = np.ones(len(found.disk), dtype=np.bool_)
    if selection.disk is not None:
        chosen &= found.disk.is_in(selection.disk)
    if selection.comm is not None:
        chosen &= found.comm.is_in(selection.comm)
    return found if chosen.all() else found[chosen]
