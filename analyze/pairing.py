"""Which block events belong to the same I/O.

With request slots, the events of a slot in time order are cut into requests. Without, issue and completion are
matched first-in-first-out by (dev, sector, bytes, op), and a match that had a rival is not trusted. Everything is
done on whole columns at once.
"""

from dataclasses import dataclass

import numpy as np

from tracekit.analyze.columns import NULL, Bools, Ints, combine, radix

#: The events in the order of their codes here.
BLOCK_EVENTS = ("block_start", "block_issue", "block_requeue", "block_merge", "block_complete")
START, ISSUE, REQUEUE, MERGE, COMPLETE = range(5)
SECTOR_BYTES = 512


@dataclass(frozen=True)
class BlockEvents:
    """Block events in time order; `kind` is one of START..COMPLETE, null is -1."""

    ts_ns: Ints
    kind: Ints
    dev: Ints
    request: Ints
    sector: Ints
    bytes: Ints
    op: Ints

    def __len__(self) -> int:
        return len(self.ts_ns)

    def __getitem__(self, rows: Ints | Bools) -> "BlockEvents":
        return BlockEvents(
            self.ts_ns[rows],
            self.kind[rows],
            self.dev[rows],
            self.request[rows],
            self.sector[rows],
            self.bytes[rows],
            self.op[rows],
        )


@dataclass(frozen=True)
class Pairs:
    """One element per I/O, in order of its first row; each field is a row number, -1 where there is no such event.

    Attributes:
        start: block_start.
        first_issue: the first block_issue.
        issue: the last block_issue; another than the first after a requeue.
        complete: the completion that ended what was issued.
        end: the last completion; later than `complete` for a write that is followed by a flush.
        rival: issue and completion were matched without slot while another I/O with the same key was under way.
        start_rival: the same of start and issue.
        in_flight: neither completed nor merged when the recording ended.
        orphans: completions of I/O that was never seen issued.
        before: how many of those belong to I/O that was issued before the recording.
    """

    start: Ints
    first_issue: Ints
    issue: Ints
    complete: Ints
    end: Ints
    merged: Bools
    rival: Bools
    start_rival: Bools
    in_flight: Bools
    orphans: Ints
    before: int

    def __len__(self) -> int:
        return len(self.start)

    @property
    def missed(self) -> Bools:
        """Issued, but the completion never came although the slot was used again."""
        return np.asarray((self.issue != NULL) & (self.complete == NULL) & ~self.in_flight & ~self.merged)


def pair(events: BlockEvents) -> Pairs:
    """Match starts, issues and completions.

    Args:
        events: in time order. Rows with a request slot are matched by it, the others by what they ask for.
    """
    slotted = events.request != NULL
    if slotted.all():
        return _by_slot(events)
    parts = [(np.flatnonzero(slotted), _by_slot), (np.flatnonzero(~slotted), _by_key)]
    return _join([_renumber(how(events[rows]), rows) for rows, how in parts])


def _renumber(pairs: Pairs, rows: Ints) -> Pairs:
    def outer(inner: Ints) -> Ints:
        return np.where(inner == NULL, NULL, rows[inner]) if len(rows) else inner

    return Pairs(
        outer(pairs.start),
        outer(pairs.first_issue),
        outer(pairs.issue),
        outer(pairs.complete),
        outer(pairs.end),
        pairs.merged,
        pairs.rival,
        pairs.start_rival,
        pairs.in_flight,
        outer(pairs.orphans),
        pairs.before,
    )


def _join(parts: list[Pairs]) -> Pairs:
    def both(name: str) -> Ints:
        return np.concatenate([getattr(part, name) for part in parts])

    start, issue = both("start"), both("first_issue")
    first = np.where(start == NULL, issue, start)
    order = np.argsort(first, kind="stable")
    fields = ("start", "first_issue", "issue", "complete", "end", "merged", "rival", "start_rival", "in_flight")
    chosen = {name: both(name)[order] for name in fields}
    return Pairs(**chosen, orphans=np.sort(both("orphans")), before=sum(part.before for part in parts))  # type: ignore[arg-type]


# --- by slot ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Segments:
    """The rows of a slot from one start or issue to before the next; in slot order, and in time order within."""

    head: Ints
    is_issue: Bools
    new_slot: Bools
    merged: Bools
    requeued: Bools
    complete: Ints
    end: Ints


def _by_slot(events: BlockEvents) -> Pairs:
    slot = combine(events.dev, events.request) if len(events) else events.request
    order = np.argsort(radix(slot), kind="stable")
    sorted_events, slot = events[order], slot[order]
    segments, orphans, before = _segments(sorted_events, slot)
    pairs = _lives(segments, sorted_events)
    no = np.zeros(len(pairs["start"]), dtype=np.bool_)
    inner = Pairs(**pairs, rival=no, start_rival=no, orphans=orphans, before=before)  # type: ignore[arg-type]
    return _join([_renumber(inner, order)])


def _segments(events: BlockEvents, slot: Ints) -> tuple[_Segments, Ints, int]:
    is_head = (events.kind == START) | (events.kind == ISSUE)
    head = np.flatnonzero(is_head)
    number = np.cumsum(is_head) - 1
    owned = (number >= 0) & (slot[head[number]] == slot) if len(head) else np.zeros(len(slot), dtype=np.bool_)
    completes = events.kind == COMPLETE
    ended, end, extra = _completions(events, head, np.flatnonzero(completes & owned), number)
    strays = np.flatnonzero(completes & ~owned)
    segments = _Segments(
        head,
        events.kind[head] == ISSUE,
        np.diff(slot[head], prepend=NULL) != 0,
        _any_of(events.kind == MERGE, owned, number, len(head)),
        _any_of(events.kind == REQUEUE, owned, number, len(head)),
        ended,
        end,
    )
    return segments, np.sort(np.concatenate([strays, extra])), len(strays)


def _any_of(rows: Bools, owned: Bools, number: Ints, size: int) -> Bools:
    found = np.zeros(size, dtype=np.bool_)
    found[number[rows & owned]] = True
    return found


def _completions(events: BlockEvents, head: Ints, rows: Ints, number: Ints) -> tuple[Ints, Ints, Ints]:
    """Of each segment the completion that ends it and the last one; and completions that belong to nothing."""
    segment = number[rows]
    wanted = np.where(events.kind[head] == ISSUE, np.maximum(events.bytes[head], 0), 0)[segment]
    size = np.where(events.bytes[rows] == NULL, wanted, events.bytes[rows])
    total = np.cumsum(size)
    first = np.diff(segment, prepend=NULL) != 0
    done_before = total - size - np.maximum.accumulate(np.where(first, total - size, 0))
    left = wanted - done_before
    ends = (size >= left) & (first | (left > 0))
    # The kernel ends a write that needs a flush behind it twice, the second time with nothing left to complete.
    tail = ~ends & ~first & (left <= 0) & (size == 0)
    ended, last = (np.full(len(head), NULL, dtype=np.int64) for _ in range(2))
    ended[segment[ends]] = rows[ends]
    last[segment[ends]] = rows[ends]
    last[segment[tail]] = rows[tail]
    extra = rows[~ends & ~tail & (left <= 0)]
    return ended, last, extra


def _lives(segments: _Segments, events: BlockEvents) -> dict[str, Ints | Bools]:
    """Join segments into requests: start and issue, and issues after a requeue."""
    begins = ~_continues(segments, events)
    number = np.cumsum(begins) - 1
    count = int(begins.sum())
    last = np.flatnonzero(np.append(begins[1:], True)) if len(begins) else np.zeros(0, dtype=np.int64)
    first = np.flatnonzero(begins)
    start = np.where(segments.is_issue[first], NULL, segments.head[first])
    issues = np.flatnonzero(segments.is_issue)
    first_issue, issue = (np.full(count, NULL, dtype=np.int64) for _ in range(2))
    first_issue[number[issues[::-1]]] = segments.head[issues[::-1]]
    issue[number[issues]] = segments.head[issues]
    merged = segments.merged[last]
    complete = segments.complete[last]
    at_end = np.append(segments.new_slot[1:], True)[last] if len(last) else np.zeros(0, dtype=np.bool_)
    in_flight = at_end & (complete == NULL) & ~merged
    return {
        "start": start,
        "first_issue": first_issue,
        "issue": issue,
        "complete": complete,
        "end": segments.end[last],
        "merged": merged,
        "in_flight": in_flight,
    }


def _continues(segments: _Segments, events: BlockEvents) -> Bools:
    """Which segments go on with the request of the one before: its issue, or its issue again."""
    if not len(segments.head):
        return np.zeros(0, dtype=np.bool_)
    before = np.arange(len(segments.head)) - 1
    before[0] = 0
    head = segments.head
    stop = events.sector[head] + events.bytes[head] // SECTOR_BYTES
    same = (events.op[head] == events.op[head[before]]) & (stop == stop[before])
    pending = (segments.complete[before] == NULL) & ~segments.merged[before] & ~segments.new_slot
    again = ~segments.is_issue[before] | segments.requeued[before] | same
    return np.asarray(segments.is_issue & pending & again)


# --- without slot ----------------------------------------------------------------------------------------------


def _by_key(events: BlockEvents) -> Pairs:
    key = combine(events.dev, events.sector, events.bytes, events.op) if len(events) else events.request
    into_issue, start_rival = _fifo(events, key, (START, REQUEUE), (ISSUE, MERGE))
    into_end, rival = _fifo(events, key, (ISSUE,), (COMPLETE, REQUEUE))
    ended_by = _inverse(into_end, len(events))
    rows = np.flatnonzero(events.kind == ISSUE)
    requeued = (ended_by[rows] != NULL) & (events.kind[ended_by[rows]] == REQUEUE)
    issue = rows[~requeued]
    start, first_issue = _origin(events, issue, into_issue, into_end)
    complete = ended_by[issue]
    # What completes nothing is a flush, whose request is never issued.
    unmatched = np.flatnonzero((events.kind == COMPLETE) & (into_end == NULL) & (events.bytes != 0))
    pairs = Pairs(
        start,
        first_issue,
        issue,
        complete,
        complete,
        np.zeros(len(issue), dtype=np.bool_),
        rival[issue],
        start_rival[start] & (start != NULL),
        complete == NULL,
        unmatched,
        0,
    )
    return _join([pairs])


def _origin(events: BlockEvents, issue: Ints, into_issue: Ints, into_end: Ints) -> tuple[Ints, Ints]:
    """Of each issue its start and its first issue, back through requeues: one round for each requeue of the worst."""
    first, start = issue.copy(), into_issue[issue]
    while True:
        again = (start != NULL) & (events.kind[start] == REQUEUE)
        again &= np.where(again, into_end[start], NULL) != NULL
        if not again.any():
            break
        first = np.where(again, into_end[start], first)
        start = np.where(again, into_issue[first], start)
    lone = (start != NULL) & (events.kind[start] == REQUEUE)
    return np.where(lone, NULL, start), first


def _inverse(into: Ints, size: int) -> Ints:
    back = np.full(size, NULL, dtype=np.int64)
    known = np.flatnonzero(into != NULL)
    back[into[known]] = known
    return back


def _fifo(events: BlockEvents, key: Ints, opens: tuple[int, ...], closes: tuple[int, ...]) -> tuple[Ints, Bools]:
    """For each closing row the opening row it takes off the queue of its key, else -1; and which rows had a rival.

    A closing row that finds its queue empty belongs to nothing. With those left out, the n-th closing row of a
    key takes the n-th opening row.
    """
    into = np.full(len(events), NULL, dtype=np.int64)
    rival = np.zeros(len(events), dtype=np.bool_)
    rows = np.flatnonzero(np.isin(events.kind, opens + closes))
    rows = rows[np.argsort(radix(key[rows]), kind="stable")]
    if not len(rows):
        return into, rival
    opening = np.isin(events.kind[rows], opens)
    new_key = np.diff(key[rows], prepend=NULL) != 0
    depth = _within(np.where(opening, 1, -1), new_key)
    group = np.cumsum(new_key) - 1
    # The lowest depth of the key so far, made comparable across keys by an offset larger than any depth.
    offset = group * (2 * len(rows) + 2)
    lowest = np.minimum.accumulate(np.minimum(depth, 0) - offset) + offset
    before = np.where(new_key, 0, np.roll(lowest, 1))
    empty = ~opening & (depth < before)
    taken = ~opening & ~empty
    waiting = depth - lowest
    index_open = _within(opening.astype(np.int64), new_key)
    index_taken = _within(taken.astype(np.int64), new_key)
    into[rows[taken]] = _lookup(group, index_open, rows, opening, group[taken], index_taken[taken])
    _mark_rivals(rival, into, rows, opening, taken, waiting)
    return into, rival


def _within(steps: Ints, new_key: Bools) -> Ints:
    """Running sum that begins anew with each key."""
    total = np.cumsum(steps)
    first = np.flatnonzero(new_key)
    base = total[first] - steps[first]
    return np.asarray(total - base[np.cumsum(new_key) - 1])


def _lookup(group: Ints, index: Ints, rows: Ints, opening: Bools, want_group: Ints, want_index: Ints) -> Ints:
    """The row of the `want_index`-th opening of `want_group`; openings are in order of (group, index)."""
    opened = np.flatnonzero(opening)
    first = np.searchsorted(group[opened], want_group)
    return np.asarray(rows[opened[first + want_index - 1]])


def _mark_rivals(rival: Bools, into: Ints, rows: Ints, opening: Bools, taken: Bools, waiting: Ints) -> None:
    """An opening had a rival if another one waited when it came, or still waits when it is taken."""
    rival[rows[opening & (waiting > 1)]] = True
    rival[into[rows[taken & (waiting > 0)]]] = True
