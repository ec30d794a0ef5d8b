"""What is done with every event, one after the other: in C where the library is there (native/), else as written here.

Rows, codes, groups, places and other numbers of something begin at 0; -1 is null. Arrays that are filled are given.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tracekit.analyze.binning import BINS, COARSE, COARSE_BINS, bin_of
from tracekit.analyze.compiled import Bools, Bytes, Ints, Ints32, Raw, compiled

NULL = -1
#: Block events by their codes.
START, ISSUE, REQUEUE, MERGE, COMPLETE = range(5)
SECTOR_BYTES = 512
_LOW_HALF = (1 << 32) - 1


class Column(NamedTuple):
    """An Arrow column of integers: its values, and which are not null, as bits from `offset` on; no bits for all."""

    raw: Raw
    valid: Bytes
    offset: int

    def known(self) -> Bools:
        """Which values are not null."""
        if not len(self.valid):
            return np.ones(len(self.raw), dtype=np.bool_)
        bits = np.unpackbits(self.valid, bitorder="little")
        return bits[self.offset : self.offset + len(self.raw)].view(np.bool_)

    def numbers(self) -> Ints:
        """As int64; null is -1."""
        values = self.raw.astype(np.int64)
        return values if not len(self.valid) else np.where(self.known(), values, NULL)


class Filled(NamedTuple):
    """Histograms side by side: counts by histogram and bin, sums of the low halves of values and then of the high
    ones, the least and the greatest value of each."""

    counts: Ints
    halves: Ints
    low: Ints
    high: Ints


# --- columns ---------------------------------------------------------------------------------------------------


@compiled
def widen(column: Column, out: Ints) -> int:
    """A column of integers as int64."""
    out[:] = column.numbers()
    return 0


@compiled
def negative(column: Column, out: Bools) -> int:
    """Which values are below zero; null is not."""
    out[:] = (column.raw < 0) & column.known()
    return 0


@compiled
def translate(column: Column, table: Ints, out: Ints) -> int:
    """`table[code]` for a column of codes."""
    out[:] = np.append(table, NULL)[column.numbers()]
    return 0


@compiled
def count_pairs(one: Column, other: Column, width: int, chosen: Bools, counts: Ints) -> int:
    """Count the pairs of codes of two columns.

    Args:
        width: how many codes the other one has, null included.
        chosen: the rows to count; empty for all.
        counts: to add to, a row of `width` for each code of the one; null comes first.
    """
    place = (one.numbers() + 1) * width + other.numbers() + 1
    np.add.at(counts, place[chosen] if len(chosen) else place, 1)
    return 0


@compiled
def take(values: Ints, rows: Ints, out: Ints) -> int:
    """`values[row]` for each row; null for null."""
    out[:] = np.append(values, NULL)[rows]
    return 0


@compiled
def weave(values: Ints, more: Ints, at: Ints, out: Ints) -> int:
    """More values among others, each before that at its place, which are sorted."""
    out[:] = np.insert(values, at, more)
    return 0


@compiled
def order_rows(rows: Ints, size: int, order: Ints) -> int:
    """The order of distinct rows below `size`."""
    place = np.full(size, NULL, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    found = place[np.flatnonzero(place != NULL)]
    order[: len(found)] = found
    return len(found)


@compiled
def append_digit(keys: Ints, codes: Ints, size: int) -> int:
    """Make each key that of a longer tuple: `key * size + code + 1`."""
    keys *= size
    keys += codes + 1
    return 0


@compiled
def encode(keys: Ints, out: Ints, distinct: Ints) -> int:
    """Number keys in order of appearance.

    Args:
        out: the number of each, to fill; of no meaning if there are too many.
        distinct: the keys by number, to fill.

    Returns:
        How many distinct keys there are; one more than `distinct` holds for anything above that.
    """
    found = pa.Array.from_buffers(pa.int64(), len(keys), [None, pa.py_buffer(keys)]).dictionary_encode()
    size = len(found.dictionary)
    if size <= len(distinct):
        distinct[:size] = found.dictionary.to_numpy()
        out[:] = found.indices.to_numpy()
    return min(size, len(distinct) + 1)


@compiled
def count_codes(codes: Ints32, counts: Ints) -> int:
    """How often each code occurs, to add to; null comes first."""
    np.add.at(counts, codes + 1, 1)
    return 0


@compiled
def count_in_time(
    codes: Ints32, begin: Ints, times_ns: Ints, start_ns: int, cells: float, most: int, counts: Ints
) -> int:
    """Count events by code and cell of time.

    Args:
        codes: null is the last code of all.
        begin: where the counts of each code begin.
        times_ns: of each event.
        start_ns: when the first cell begins; what is before is in it.
        cells: how many there are in a nanosecond.
        most: the last cell; what is behind is in it.
        counts: to add to.
    """
    cell = ((times_ns - start_ns) * cells).clip(0, most).astype(np.int64)
    np.add.at(counts, begin[codes] + cell, 1)
    return 0


@compiled
def classify(values: Ints, edges: Ints, out: Ints) -> int:
    """The class of each value: the last of the sorted edges that it reaches; null below the first."""
    out[:] = np.searchsorted(edges, values, side="right") - 1
    return 0


# --- block I/O -------------------------------------------------------------------------------------------------


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
        over: of when they leave the device.
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
    """At each of so many rows, how many requests are between issue and end; at its own issue a request counts."""
    change = np.zeros(size, dtype=np.int64)
    change[issue] = 1
    change[over[np.flatnonzero(over != NULL)]] -= 1
    return np.cumsum(change)


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


# --- distributions ---------------------------------------------------------------------------------------------


@compiled
def fill(which: Ints, values: Ints, filled: Filled) -> int:
    """Put each value, which is not negative, into one of the histograms."""
    np.add.at(filled.counts, which * BINS + bin_of(values), 1)
    np.add.at(filled.halves, which, values & _LOW_HALF)
    if values.max(initial=0) > _LOW_HALF:
        np.add.at(filled.halves, which + len(filled.low), values >> 32)
    np.minimum.at(filled.low, which, values)
    np.maximum.at(filled.high, which, values)
    return 0


@compiled
def spread(
    values: Ints,
    start_ns: Ints,
    number: Ints,
    group_of: Ints,
    from_ns: int,
    slot_ns: int,
    slots: int,
    filled: Filled,
    in_time: Ints,
    combined: Ints,
    steps: Ints,
    floor: Ints,
    candidates: Ints,
) -> int:
    """Count values by group.

    Args:
        values: not negative.
        start_ns: the time of each.
        number: the combination of attributes of each.
        group_of: the group of each combination.
        from_ns: when the first slot of time begins; what is before is in the first, what is behind all in the last.
        slot_ns: how long each is.
        slots: how many there are.
        filled: histograms by group.
        in_time: to add to, by group, slot and wider bin; the first slot of each group stays free.
        combined: to add to, by combination and wider bin; empty to do without.
        steps: of each group the greatest common divisor so far, 0 for none.
        floor: of each group.
        candidates: the positions of values that are not below the floor of their group, to fill.

    Returns:
        How many candidates there are.
    """
    group, coarse = group_of[number], COARSE[bin_of(values)]
    fill(group, values, filled)
    slot = np.clip((start_ns - from_ns) // slot_ns, 0, slots - 1) + 1
    np.add.at(in_time, (group * (slots + 1) + slot) * COARSE_BINS + coarse, 1)
    if len(combined):
        np.add.at(combined, number * COARSE_BINS + coarse, 1)
    for one in np.flatnonzero(steps != 1):
        mine = values[group == one]
        for part in (mine[:64], mine[64:]):
            if steps[one] != 1 and len(part):
                steps[one] = np.gcd(steps[one], np.gcd.reduce(part))
    found = np.flatnonzero(values >= floor[group])
    candidates[: len(found)] = found
    return len(found)


@compiled
def count_shares(group: Ints, codes: Ints, values: Ints, names: int, counts: Ints) -> int:
    """Count codes, of which there are so many names, by group; to add to, by group, code, null first, and wider bin."""
    np.add.at(counts, (group * (names + 1) + codes + 1) * COARSE_BINS + COARSE[bin_of(values)], 1)
    return 0


# --- who does what ---------------------------------------------------------------------------------------------


@compiled
def use_blocks(
    codes: Ints,
    issue_ns: Ints,
    size: Ints,
    depth: Ints,
    sector: Ints,
    sequential: Bools,
    count: Ints,
    sums: Ints,
    sectors: Filled,
    depths: Filled,
) -> int:
    """Count requests that were issued by the place of their code: null comes first, what is beyond the last is in it.

    Args:
        count: of each place, to add to.
        sums: likewise bytes of all places, then requests whose sector is known, then sequential ones.
        sectors: histograms of their length.
        depths: of the queue depth.
    """
    places, issued = len(count), np.flatnonzero(issue_ns != NULL)
    place, size = np.minimum(codes[issued] + 1, places - 1), np.maximum(size[issued], 0)
    np.add.at(count, place, 1)
    np.add.at(sums, place, size)
    np.add.at(sums, place[sector[issued] != NULL] + places, 1)
    np.add.at(sums, place[sequential[issued]] + 2 * places, 1)
    fill(place, size // SECTOR_BYTES, sectors)
    fill(place, np.maximum(depth[issued], 0), depths)
    return 0


@compiled
def use_opens(
    codes: Ints, ret: Ints, answered: Bools, duration_ns: Ints, count: Ints, errors: Ints, latency: Filled
) -> int:
    """Count opens by the place of their code: null comes first, what is beyond the last is in it.

    Args:
        ret: a result, below 0 an error; of no meaning where not `answered`.
        duration_ns: below 0 if unknown.
        count: of each place, to add to.
        errors: likewise of each place and error number; what is beyond the last is in it.
        latency: histograms of the durations.
    """
    places, most = len(count), len(errors) // len(count)
    place, failed, known = (
        np.minimum(codes + 1, places - 1),
        np.flatnonzero(answered & (ret < 0)),
        np.flatnonzero(duration_ns >= 0),
    )
    np.add.at(count, place, 1)
    np.add.at(errors, place[failed] * most - np.maximum(ret[failed], 1 - most), 1)
    fill(place[known], duration_ns[known], latency)
    return 0
