"""Block I/O as whole requests: which rows belong together, from start to completion, in a stream."""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from tracekit.analyze.columns import NULL, Bools, Ints, arrow_bools, codes, combine, encoded, ints, radix
from tracekit.analyze.pairing import BLOCK_EVENTS, COMPLETE, ISSUE, MERGE, PATIENCE_NS, SECTOR_BYTES, START
from tracekit.schema import EVENTS, SCHEMA
from tracekit.trace import Trace
from tracekit.writer import with_own_dictionaries

#: Of rows those whose request is wanted, by what its first row tells.
Wanted = Callable[[pa.Table], Bools]


def whole_requests(trace: Trace, wanted: Wanted, start_ns: int | None, end_ns: int | None) -> Iterator[pa.Table]:
    """All rows of the wanted requests that were under way at some time between two, in time order.

    Memory goes with what is under way at once, not with the trace. Requests are told apart by their slot as the report
    does; without slots, by what they ask for.

    Args:
        trace: where they are.
        wanted: see `Wanted`; rows that begin no request are given as well.
        start_ns: boot-clock time; what was over before it is left out.
        end_ns: what begins then or later is left out.
    """
    stream = _Requests(lambda rows: _flags(wanted(rows) & (end_ns is None or ints(rows, "ts_ns") < (end_ns or 0))))
    if start_ns is not None:
        stream.held, stream.marks = _under_way(trace, wanted, start_ns)
        yield stream.held.filter(arrow_bools(stream.marks > 0))
    for rows in trace.batches(*EVENTS["block"], start_ns=start_ns):
        if (
            end_ns is not None
            and rows.num_rows
            and rows.column("ts_ns")[0].as_py() >= end_ns
            and stream.has_settled(end_ns)
        ):
            return
        chosen = stream.add(rows) > 0
        yield pa.Table.from_batches([rows]).filter(arrow_bools(chosen))


def _under_way(trace: Trace, wanted: Wanted, at_ns: int) -> tuple[pa.Table, Ints]:
    """The newest rows of each slot before a time, and which of them are of wanted requests that go on after it."""
    before = _Requests(lambda rows: _flags(wanted(rows)))
    for rows in trace.batches(*EVENTS["block"], end_ns=at_ns):
        before.add(rows)
    held, chosen = before.held, before.marks > 0
    after = _Requests(lambda rows: np.full(len(rows), NULL))
    after.held, after.marks = held, np.where(chosen, before.groups, NULL)
    goes_on = np.zeros(int(before.groups.max(initial=NULL)) + 1, dtype=np.bool_)
    for rows in trace.batches(*EVENTS["block"], start_ns=at_ns) if chosen.any() else ():
        marks = after.add(rows)
        goes_on[marks[marks != NULL]] = True
        if after.has_settled(at_ns):
            break
    return held, _flags(chosen & goes_on[before.groups])


def _flags(chosen: Bools) -> Ints:
    return np.where(chosen, 1, NULL)


class _Requests:
    """Follows requests through rows that come a piece at a time; each has a mark, -1 for one of no interest.

    Attributes:
        held: the rows of the newest request of each slot.
        marks: of these rows.
        groups: a number for the request of each of these rows.
    """

    def __init__(self, mark: Callable[[pa.Table], Ints]) -> None:
        self._mark = mark
        self.held = SCHEMA.empty_table()
        self.marks = self.groups = np.zeros(0, dtype=np.int64)
        self._unsettled, self._now_ns = False, 0

    def add(self, batch: pa.RecordBatch) -> Ints:
        """The marks of some more rows: those that their requests got from `mark` at the first row."""
        rows = pa.concat_tables([self.held, pa.Table.from_batches([batch])], promote_options="default")
        rows = rows.unify_dictionaries().combine_chunks()
        old, kind, slotted = len(self.held), _kinds(rows), ints(rows, "request") != NULL
        order, key, begins = _requests(rows, kind, slotted)
        first = order[begins]
        marks = np.where(first < old, np.append(self.marks, NULL)[np.minimum(first, old)], self._mark(rows)[first])
        number = np.cumsum(begins) - 1
        last = np.append(np.flatnonzero(begins)[1:], len(order))[: len(first)] - 1
        newest = np.append(key[last][1:] != key[last][:-1], True)[: len(last)]
        done = np.isin(kind[order[last]], (COMPLETE, MERGE))
        ts_ns = ints(rows, "ts_ns")
        self._now_ns = int(ts_ns[-1]) if len(ts_ns) else self._now_ns
        # Without slots there is no end of what may be asked for: what is over, or will never be, is let go.
        over = ~slotted[order[last]] & (done | (ts_ns[order[last]] < self._now_ns - PATIENCE_NS))
        group = np.empty(len(order), dtype=np.int64)
        group[order] = number
        held = (newest & ~over)[group]
        self.held = with_own_dictionaries(rows.filter(arrow_bools(held)))
        self.marks, self.groups = marks[group][held], group[held]
        self._unsettled = bool((newest & ~over & ~done & (marks != NULL)).any())
        return marks[group][old:]

    def has_settled(self, at_ns: int) -> bool:
        """Whether of what began before a time nothing of interest is to be expected any more.

        Completions of a part count as the end; the other parts follow within the time that the kernel waits for them.
        """
        return not self._unsettled and self._now_ns > at_ns + PATIENCE_NS


def _kinds(rows: pa.Table) -> Ints:
    names, raw = encoded(rows, "event")
    return np.array([*(BLOCK_EVENTS.index(name) for name in names.to_pylist()), NULL], dtype=np.int64)[raw]


def _requests(rows: pa.Table, kind: Ints, slotted: Bools) -> tuple[Ints, Ints, Bools]:
    """The order of rows by slot, then time; the slot of each in this order, as a number; and which begin a request."""
    dev, sector, size, op = ints(rows, "dev"), ints(rows, "sector"), ints(rows, "bytes"), codes(rows, "op").codes
    asked = (np.where(slotted, NULL, column) for column in (sector, size, op))
    key = combine(dev, ints(rows, "request"), *asked)
    order = np.argsort(radix(key), kind="stable")
    key, kind = key[order], kind[order]
    stop, op = (sector + size // SECTOR_BYTES)[order], op[order]
    before = np.roll(kind, 1)
    again = (stop == np.roll(stop, 1)) & (op == np.roll(op, 1))
    begins = (np.diff(key, prepend=NULL) != 0) | (kind == START)
    begins |= (kind == ISSUE) & (np.isin(before, (COMPLETE, MERGE)) | ((before == ISSUE) & ~again))
    return order, key, begins


def begins_request(rows: pa.Table) -> Bools:
    """Which rows tell who wanted something: of a request whose beginning was missed nobody knows."""
    return np.asarray(np.isin(_kinds(rows), (START, ISSUE)))
