"""Block I/O of a trace: one element per request, with what is known of it."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracekit.analyze import contrast
from tracekit.analyze.columns import NULL, Bools, Codes, Ints, codes, combine, ints
from tracekit.analyze.pairing import BLOCK_EVENTS, SECTOR_BYTES, BlockEvents, Pairs, pair
from tracekit.analyze.windows import Windows
from tracekit.trace import Trace

COLUMNS = ("ts_ns", "event", "dev", "request", "sector", "bytes", "op", "disk", "comm", "flags", "ret", "pid")
#: cmd_flags of a request that somebody waits for: REQ_SYNC, REQ_META, REQ_PREFLUSH or REQ_FUA would do it, too,
#: but their bits moved between kernels; REQ_SYNC has been bit 11 since Linux 4.10 (ef295ecf090d).
_REQ_SYNC = 1 << 11


@dataclass(frozen=True)
class BlockIO:
    """Requests in order of their first event. Times are -1 where unknown; see `Pairs` for start, issue and end."""

    disk: Codes
    op: Codes
    comm: Codes
    dev: Ints
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
    pairs: Pairs
    windows: Windows

    def __len__(self) -> int:
        return len(self.start_ns)

    @property
    def issued(self) -> Bools:
        """Requests that reached the device."""
        return np.asarray(self.issue_ns != NULL)

    def attributes(self) -> dict[str, Codes]:
        """What may set some requests apart from the rest."""
        everyone = np.ones(len(self), dtype=np.bool_)
        waited_for = self.op.is_in("read") | ((self.flags & _REQ_SYNC) != 0)  # as op_is_sync() of the kernel has it
        return {
            "op": self.op,
            "disk": self.disk,
            "comm": self.comm,
            "size": contrast.size_class(self.bytes),
            "sync": contrast.yes_no(waited_for, self.flags >= 0),
            "queue_depth": contrast.depth_class(self.depth),
            "access": contrast.yes_no(self.sequential, self.issued & (self.sector >= 0), "sequential", "random"),
            "flush_in_flight": contrast.yes_no(self.behind_flush & (self.bytes > 0), everyone),
        }


def read_blocks(trace: Trace, windows: Windows) -> BlockIO:
    """Read and pair the block events of a trace.

    Args:
        windows: when block events were lost.
    """
    table = trace.table(*BLOCK_EVENTS, columns=COLUMNS)
    return from_table(table, windows)


def from_table(table: pa.Table, windows: Windows) -> BlockIO:
    """The same for rows already at hand; rows are brought in time order."""
    ts_ns = ints(table, "ts_ns")
    order = np.arange(len(ts_ns))
    if (np.diff(ts_ns) < 0).any():
        order = np.argsort(ts_ns, kind="stable")
    event, op = codes(table, "event"), codes(table, "op")[order]
    kind = np.array([BLOCK_EVENTS.index(name) for name in event.names] or [0], dtype=np.int64)[event.codes][order]
    column = {name: ints(table, name)[order] for name in ("dev", "request", "sector", "bytes", "flags", "ret", "pid")}
    column["ret_known"] = np.asarray(pc.is_valid(table.column("ret")).to_numpy(), dtype=np.int64)[order]
    events = BlockEvents(
        ts_ns[order], kind, column["dev"], column["request"], column["sector"], column["bytes"], op.codes
    )
    pairs = pair(events)
    names = {"op": op, "disk": codes(table, "disk")[order], "comm": codes(table, "comm")[order]}
    return _gather(events, pairs, column, names, windows)


def _gather(
    events: BlockEvents,
    pairs: Pairs,
    column: dict[str, Ints],
    names: dict[str, Codes],
    windows: Windows,
) -> BlockIO:
    def at(values: Ints, rows: Ints) -> Ints:
        return np.where(rows == NULL, NULL, values[rows]) if len(values) else rows

    op, disk, comm = names["op"], names["disk"], names["comm"]

    known = np.where(pairs.first_issue == NULL, pairs.start, pairs.first_issue)
    times = {
        name: at(events.ts_ns, getattr(pairs, name)) for name in ("start", "first_issue", "issue", "complete", "end")
    }
    known_ret = column["ret_known"]
    dev, sector, size = (at(getattr(events, name), known) for name in ("dev", "sector", "bytes"))
    pid = at(column["pid"], pairs.start)
    op_code = at(op.codes, known)
    return BlockIO(
        disk=Codes(at(disk.codes, known), disk.names),
        op=Codes(op_code, op.names),
        comm=Codes(at(comm.codes, pairs.start), comm.names),
        dev=dev,
        pid=pid,
        sector=sector,
        bytes=size,
        flags=at(column["flags"], known),
        start_ns=times["start"],
        first_issue_ns=times["first_issue"],
        issue_ns=times["issue"],
        complete_ns=times["complete"],
        end_ns=times["end"],
        failed=(at(column["ret"], pairs.complete) < 0) & (at(known_ret, pairs.complete) > 0),
        depth=_depth(dev, times["issue"], times["complete"], pairs.missed),
        sequential=_sequential(combine(dev, op_code, pid) if len(dev) else dev, times["first_issue"], sector, size),
        behind_flush=_behind_flush(dev, times, Codes(op_code, op.names).is_in("flush"), pairs.missed),
        pairs=pairs,
        windows=windows,
    )


def _depth(dev: Ints, issue_ns: Ints, complete_ns: Ints, missed: Bools) -> Ints:
    """Requests at the device when this one was issued, itself included; -1 where never issued."""
    depth = np.full(len(dev), NULL, dtype=np.int64)
    for one in np.unique(dev):
        mine = (dev == one) & (issue_ns != NULL)
        counted = mine & ~missed
        issued, done = np.sort(issue_ns[counted]), np.sort(complete_ns[counted & (complete_ns != NULL)])
        at_ns = issue_ns[mine]
        depth[mine] = np.searchsorted(issued, at_ns, side="right") - np.searchsorted(done, at_ns, side="right")
    return np.where(depth == NULL, NULL, np.maximum(depth, 1))


def _behind_flush(dev: Ints, times: dict[str, Ints], is_flush: Bools, missed: Bools) -> Bools:
    """Whether a flush of the same disk was under way when the request was issued."""
    behind = np.zeros(len(dev), dtype=np.bool_)
    issue_ns, complete_ns = times["issue"], times["complete"]
    for one in np.unique(dev[is_flush]):
        flush = (dev == one) & is_flush & (issue_ns != NULL) & (complete_ns != NULL)
        mine = (dev == one) & ~is_flush & (issue_ns != NULL) & ~missed
        begun = np.searchsorted(np.sort(issue_ns[flush]), issue_ns[mine], side="right")
        over = np.searchsorted(np.sort(complete_ns[flush]), issue_ns[mine], side="right")
        behind[mine] = begun > over
    return behind


def _sequential(stream: Ints, issue_ns: Ints, sector: Ints, size: Ints) -> Bools:
    """Whether a request begins where the last one of its stream (disk, op and submitting process) ended."""
    result = np.zeros(len(stream), dtype=np.bool_)
    rows = np.flatnonzero((issue_ns != NULL) & (sector != NULL))
    rows = rows[np.lexsort((issue_ns[rows], stream[rows]))]
    stop = sector[rows] + size[rows] // SECTOR_BYTES
    result[rows[1:]] = (stream[rows[1:]] == stream[rows[:-1]]) & (sector[rows[1:]] == stop[:-1])
    return result
