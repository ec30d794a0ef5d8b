"""Which block events belong to the same request, and what was under way when it was issued."""

from typing import NamedTuple

import numpy as np

from tracekit.analyze.kernels.columns import NULL, encode, take
from tracekit.analyze.kernels.compiled import Bools, Ints, compiled

#: Block events by their codes.
START, ISSUE, REQUEUE, MERGE, COMPLETE = range(5)
SECTOR_BYTES = 512


@compiled
def plain_requests(
    slot: Ints,
    kind: Ints,
    size: Ints,
    start: Ints,
    issue: Ints,
    complete: Ints,
    before: Ints,
    after: Ints,
    rest: Bools,
) -> int:
    """Requests that are a start, an issue, one completion of all of it, and the next request in the same slot.

    Args:
        slot: of each event, in time order.
        kind: START..COMPLETE.
        size: bytes.
        start: rows of these requests, in this order, to fill; a third of all rows is enough.
        issue: likewise.
        complete: likewise.
        before: of each start and issue the row of that before it in its slot, to fill.
        after: likewise of that after it.
        rest: which rows are of none of these requests, to fill.

    Returns:
        How many there are.
    """
    order = np.argsort(slot.astype(np.uint16) if slot.max(initial=0) < 1 << 16 else slot, kind="stable")
    slot, kind, size = slot[order], kind[order], size[order]
    heads = np.flatnonzero(kind <= ISSUE)
    same = slot[heads[1:]] == slot[heads[:-1]]
    earlier, later = order[heads[:-1][same]], order[heads[1:][same]]
    before[:], after[:] = NULL, NULL
    before[later], after[earlier] = earlier, later
    like = (kind[:-3] == START) & (kind[1:-2] == ISSUE) & (kind[2:-1] == COMPLETE) & (kind[3:] <= ISSUE)
    found = np.flatnonzero(like & (slot[:-3] == slot[3:]) & (size[1:-2] == size[2:-1]))
    found = found[np.argsort(order[found])]
    rest[:] = True
    for step, rows in enumerate((start, issue, complete)):
        rows[: len(found)] = order[found + step]
        rest[order[found + step]] = False
    return len(found)


@compiled
def under_way(
    dev: Ints,
    devs: int,
    op: Ints,
    flush: int,
    first: Ints,
    issue: Ints,
    over: Ints,
    old: int,
    depth: Ints,
    behind_flush: Bools,
) -> int:
    """At each issue how many requests are at the device, itself included, and whether a flush is one of the others.

    Args:
        dev: of each event, in time order.
        devs: how many there are.
        op: of each event.
        flush: the op that is one.
        first: rows of the first issue of requests.
        issue: of the last; null is passed over.
        over: of when they leave the device; no two leave at the same. Where one is asked about, it is still there.
        old: issues before this row are passed over.
        depth: of each event, to fill at issues.
        behind_flush: likewise, but not of flushes.
    """
    issued = np.flatnonzero(issue != NULL)
    # What was requeued is under way from its first issue on.
    rows, first, over = issue[issued], first[issued], over[issued]
    for one in np.unique(dev[rows]):
        mine = np.flatnonzero(dev[rows] == one)
        new = rows[mine][rows[mine] >= old]
        depth[new] = np.maximum(_between(len(dev), first[mine], over[mine])[new], 1)
        flushes = op[rows[mine]] == flush
        new = new[op[new] != flush]
        behind_flush[new] = _between(len(dev), first[mine][flushes], over[mine][flushes])[new] > 0
    return 0


def _between(size: int, issue: Ints, over: Ints) -> Ints:
    """At each of so many rows, how many requests are between issue and end, both included."""
    change = np.zeros(size + 1, dtype=np.int64)
    change[issue] = 1
    change[over[np.flatnonzero(over != NULL)] + 1] -= 1
    return np.cumsum(change[:size])


@compiled
def follow(
    first: Ints,
    start: Ints,
    old: int,
    dev: Ints,
    op: Ints,
    pid: Ints,
    sector: Ints,
    size: Ints,
    known: Ints,
    left_off: Ints,
    follows: Bools,
    keys: Ints,
    stops: Ints,
) -> int:
    """Which requests begin where the last one of their stream ended: of their disk, op and submitting process.

    Args:
        first: rows of the first issue of requests; what is before `old` or without a sector is passed over.
        start: rows of their starts.
        old: a row.
        dev: of each event.
        op: likewise, below 64.
        pid: likewise, below 2**22.
        sector: likewise.
        size: likewise; bytes.
        known: keys of streams that were seen before, sorted.
        left_off: the sector behind the last request of each of them.
        follows: of each event, to fill at first issues.
        keys: those of the streams of these requests in order of appearance, to fill; no more than requests.
        stops: the sector behind the last request of each of them, to fill.

    Returns:
        How many streams these requests have.
    """
    new = np.flatnonzero((first >= old) & (np.append(sector, NULL)[first] != NULL))
    new = new[np.argsort(first[new])]
    rows, begins = first[new], start[new]
    key = ((np.append(pid, NULL)[begins] + 1) << 38) | (dev[rows] << 6) | (op[rows] & 63)
    codes, distinct = np.empty_like(key), np.empty_like(key)
    count = encode(key, codes, distinct)
    order = np.argsort(codes, kind="stable")
    codes, rows = codes[order], rows[order]
    stop = sector[rows] + size[rows] // SECTOR_BYTES
    opens = np.append(True, codes[1:] != codes[:-1])[: len(key)]
    before = np.append(NULL, stop[:-1])[: len(key)]
    place = np.searchsorted(known, distinct[:count])
    there = (np.append(known, NULL)[place] == distinct[:count]) & (place < len(known))
    before[opens] = np.where(there, np.append(left_off, NULL)[place], NULL)
    follows[rows] = sector[rows] == before
    keys[:count], stops[:count] = distinct[:count], stop[np.append(opens[1:], True)[: len(key)]]
    return count


class Requests(NamedTuple):
    """The rows of requests, and flags of each."""

    start: Ints
    first_issue: Ints
    issue: Ints
    complete: Ints
    end: Ints
    merged: Bools
    rival: Bools
    start_rival: Bools
    in_flight: Bools


class Events(NamedTuple):
    """Of each block event what is known of it."""

    ts_ns: Ints
    disk: Ints
    op: Ints
    comm: Ints
    pid: Ints
    sector: Ints
    bytes: Ints
    flags: Ints
    depth: Ints
    failed: Bools
    sequential: Bools
    behind_flush: Bools


class Found(NamedTuple):
    """Of each request what is known of it."""

    disk: Ints
    op: Ints
    comm: Ints
    pid: Ints
    sector: Ints
    bytes: Ints
    flags: Ints
    start_ns: Ints
    first_issue_ns: Ints
    issue_ns: Ints
    complete_ns: Ints
    end_ns: Ints
    depth: Ints
    failed: Bools
    sequential: Bools
    behind_flush: Bools
    merged: Bools
    rival: Bools
    start_rival: Bools
    in_flight: Bools


@compiled
def gather_requests(requests: Requests, chosen: Bools, events: Events, found: Found) -> int:
    """What is known of the requests that are chosen; unknown of an event that there is not.

    Returns:
        How many there are.
    """
    rows = np.flatnonzero(chosen)
    start, first_issue, issue, complete, end = (column[rows] for column in requests[:5])
    known = np.where(first_issue == NULL, start, first_issue)
    for name, at in (
        *(("disk", known), ("op", known), ("comm", start), ("pid", start)),
        *(("sector", known), ("bytes", known), ("flags", known), ("depth", issue)),
    ):
        take(getattr(events, name), at, getattr(found, name))
    times = (found.start_ns, found.first_issue_ns, found.issue_ns, found.complete_ns, found.end_ns)
    for at, out in zip((start, first_issue, issue, complete, end), times, strict=True):
        take(events.ts_ns, at, out)
    flags = (found.failed, found.sequential, found.behind_flush)
    for flag, at, to in zip(events[9:], (complete, first_issue, issue), flags, strict=True):
        to[:] = np.append(flag, False)[at]
    for mine, its in zip(requests[5:], found[16:], strict=True):
        its[:] = mine[rows]
    return len(rows)
