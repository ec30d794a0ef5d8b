"""Which block events belong to the same I/O.

With request slots, the events of a slot in time order are cut into requests. Without, issue and completion are
matched first-in-first-out by (dev, sector, bytes, op), and a match that had a rival is not trusted; what was overtaken
long ago is no rival. Everything is done on whole columns at once. A long recording comes in pieces: what is not
settled at the end of one is carried into the next.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from tracekit.analyze.columns import NULL, Bools, Ints, combine, dense, radix, row_order, taken
from tracekit.analyze.kernels import pairing as kernels
from tracekit.analyze.kernels.columns import weave
from tracekit.analyze.kernels.pairing import COMPLETE as COMPLETE
from tracekit.analyze.kernels.pairing import ISSUE as ISSUE
from tracekit.analyze.kernels.pairing import MERGE as MERGE
from tracekit.analyze.kernels.pairing import REQUEUE as REQUEUE
from tracekit.analyze.kernels.pairing import SECTOR_BYTES as SECTOR_BYTES
from tracekit.analyze.kernels.pairing import START as START

#: The events in the order of their codes.
BLOCK_EVENTS = ("block_start", "block_issue", "block_requeue", "block_merge", "block_complete")
#: The kernel gives up on a request after so long, unless it is told otherwise (BLK_DEFAULT_TIMEOUT, SD_TIMEOUT). Where
#: the next one like it is issued later than that, the completion of what still waits was missed.
PATIENCE_NS = 30_000_000_000


@dataclass(frozen=True)
class BlockEvents:
    """Block events in time order; `kind` is one of START..COMPLETE, null is -1.

    Attributes:
        rival: of events that were carried from an earlier piece, whether issue and completion had a rival then.
        start_rival: the same of start and issue.
    """

    ts_ns: Ints
    kind: Ints
    dev: Ints
    request: Ints
    sector: Ints
    bytes: Ints
    op: Ints
    rival: Bools
    start_rival: Bools

    def __len__(self) -> int:
        return len(self.ts_ns)

    def __getitem__(self, rows: Ints | Bools) -> "BlockEvents":
        return BlockEvents(*(getattr(self, one.name)[rows] for one in fields(self)))


@dataclass(frozen=True)
class Pairs:
    """One element per I/O, in order of its first row; each field is a row number, -1 where there is no such event.

    Attributes:
        start: block_start.
        first_issue: the first block_issue.
        issue: the last block_issue; another than the first after a requeue.
        complete: the completion that ended what was issued.
        end: the last completion; later than `complete` for a write that is followed by a flush.
        over: when it left the device: the completion, or, where that was missed, the next request in its place.
        merged: it became a part of another one, and never completes by itself.
        rival: issue and completion were matched without slot while another I/O with the same key was under way.
        start_rival: the same of start and issue.
        in_flight: neither completed nor merged so far.
        settled: nothing that follows can change it.
        orphans: completions of I/O that was never seen issued.
        before: those of them that belong to I/O that was issued before the recording.
        carried: rows that must be seen again together with what follows.
        rivals: of all rows those of which `rival` is true, known to an I/O or not.
        start_rivals: the same of `start_rival`.
    """

    start: Ints
    first_issue: Ints
    issue: Ints
    complete: Ints
    end: Ints
    over: Ints
    merged: Bools
    rival: Bools
    start_rival: Bools
    in_flight: Bools
    settled: Bools
    orphans: Ints
    before: Ints
    carried: Ints
    rivals: Ints
    start_rivals: Ints

    def __len__(self) -> int:
        return len(self.start)

    @property
    def missed(self) -> Bools:
        """Issued, but the completion never came although the slot was used again."""
        return np.asarray((self.issue != NULL) & (self.complete == NULL) & ~self.in_flight & ~self.merged)


_ROWS = ("start", "first_issue", "issue", "complete", "end", "over")
_LISTS = ("orphans", "before", "carried", "rivals", "start_rivals")
_FLAGS = ("merged", "rival", "start_rival", "in_flight", "settled")


def pair(events: BlockEvents) -> Pairs:
    """Match starts, issues and completions.

    Args:
        events: in time order. Rows with a request slot are matched by it, the others by what they ask for.
    """
    slotted = events.request != NULL
    if slotted.all():
        return _by_slot(events)
    parts = [(np.flatnonzero(slotted), _by_slot), (np.flatnonzero(~slotted), _by_key)]
    return _join([_renumber(how(events[rows]), rows) for rows, how in parts], len(events))


def carried(events: BlockEvents, pairs: Pairs) -> BlockEvents:
    """The events that must be seen again with what follows, which knows then of the rivals that they had."""
    rival, start_rival = events.rival.copy(), events.start_rival.copy()
    rival[pairs.rivals] = start_rival[pairs.start_rivals] = True
    return replace(events, rival=rival, start_rival=start_rival)[pairs.carried]


def _renumber(pairs: Pairs, rows: Ints) -> Pairs:
    renumbered: dict[str, Any] = {name: taken(rows, getattr(pairs, name)) for name in (*_ROWS, *_LISTS)}
    return replace(pairs, **renumbered)


def _join(parts: list[Pairs], size: int) -> Pairs:
    """Several, in order of the first row of each I/O; `size` is how many rows there are."""

    def both(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    order = row_order(np.where(both("start") == NULL, both("first_issue"), both("start")), size)
    columns: dict[str, Any] = {name: both(name)[order] for name in (*_ROWS, *_FLAGS)}
    columns |= {name: np.sort(both(name)) for name in _LISTS}
    return Pairs(**columns)


# --- by slot ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Heads:
    """Of each start and issue, by its row, the one before and the one after it in its slot; -1 if there is none."""

    before: Ints
    after: Ints


@dataclass(frozen=True)
class _Segments:
    """The rows of a slot from one start or issue to before the next; in slot order, and in time order within.

    Attributes:
        row: that of the head among all.
        before: that of the head before it in its slot.
        after: that of the one after it.
    """

    head: Ints
    row: Ints
    before: Ints
    after: Ints
    is_issue: Bools
    new_slot: Bools
    merged: Bools
    requeued: Bools
    complete: Ints
    end: Ints


def _by_slot(events: BlockEvents) -> Pairs:
    """Most requests are a start, an issue and a completion, which is quickly seen; the rest is looked at closely."""
    slot, size = _slots(events), len(events)
    start, issue, complete = (np.empty(size // 3, dtype=np.int64) for _ in range(3))
    heads = _Heads(np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64))
    left = np.empty(size, dtype=np.bool_)
    count = kernels.plain_requests(
        slot, events.kind, events.bytes, start, issue, complete, heads.before, heads.after, left
    )
    rest = np.flatnonzero(left)
    rest = rest[np.argsort(slot[rest], kind="stable")]
    odd = _join([_closely(events[rest], slot[rest], heads, rest)], size)
    return _among(start[:count], issue[:count], complete[:count], odd)


def _slots(events: BlockEvents) -> Ints:
    """A number for each slot of each disk."""
    if not len(events):
        return events.request
    slot = events.dev * (int(events.request.max()) + 1) + events.request
    return slot if int(slot.max()) < 1 << 16 else dense(slot)


def _among(start: Ints, issue: Ints, complete: Ints, odd: Pairs) -> Pairs:
    """Others, in order of their first row, among requests that are a start, an issue and a completion."""
    place = np.searchsorted(start, np.where(odd.start == NULL, odd.first_issue, odd.start))
    size = len(start) + len(odd)

    def woven(plain: Ints, more: Ints) -> Ints:
        found = np.empty(size, dtype=np.int64)
        weave(plain, more, place, found)
        return found

    def flags(plain: bool, more: Bools) -> Bools:
        found = np.full(size, plain)
        found[place + np.arange(len(odd))] = more
        return found

    return replace(
        odd,
        start=woven(start, odd.start),
        first_issue=woven(issue, odd.first_issue),
        issue=woven(issue, odd.issue),
        complete=woven(complete, odd.complete),
        end=woven(complete, odd.end),
        over=woven(complete, odd.over),
        merged=flags(False, odd.merged),
        rival=flags(False, odd.rival),
        start_rival=flags(False, odd.start_rival),
        in_flight=flags(False, odd.in_flight),
        settled=flags(True, odd.settled),
    )


def _closely(events: BlockEvents, slot: Ints, heads: _Heads, rows: Ints) -> Pairs:
    """The requests among some rows, which stay when whole requests are taken out."""
    segments, strays, extra, owner = _segments(events, slot, heads, rows)
    begins = ~_continues(segments, events)
    last = np.flatnonzero(np.append(begins[1:], True)[: len(begins)])
    after = segments.after[last]
    newest = after == NULL
    life = np.append(np.cumsum(begins) - 1, NULL)[owner]
    carried = (owner != NULL) & np.append(newest, False)[life]
    carried[extra] = False
    no = np.full(len(last), False)
    inner = Pairs(
        **_lives(segments, begins, last, newest),  # type: ignore[arg-type]
        over=np.full(len(last), NULL),
        rival=no,
        start_rival=no,
        settled=~newest,
        orphans=np.sort(np.concatenate([strays, extra])),
        before=strays,
        carried=np.flatnonzero(carried),
        rivals=np.zeros(0, dtype=np.int64),
        start_rivals=np.zeros(0, dtype=np.int64),
    )
    found = _renumber(inner, rows)
    return replace(found, over=np.where((found.complete != NULL) | newest, found.complete, after))


def _segments(events: BlockEvents, slot: Ints, heads: _Heads, rows: Ints) -> tuple[_Segments, Ints, Ints, Ints]:
    """The segments, completions that belong to none, those beyond what was issued, and of each row its segment."""
    is_head = (events.kind == START) | (events.kind == ISSUE)
    head = np.flatnonzero(is_head)
    number = np.cumsum(is_head) - 1
    owned = (number >= 0) & (slot[head[number]] == slot) if len(head) else np.zeros(len(slot), dtype=np.bool_)
    completes = events.kind == COMPLETE
    ended, end, extra = _completions(events, head, np.flatnonzero(completes & owned), number)
    segments = _Segments(
        head,
        rows[head],
        heads.before[rows[head]],
        heads.after[rows[head]],
        events.kind[head] == ISSUE,
        np.diff(slot[head], prepend=NULL) != 0,
        _any_of(events.kind == MERGE, owned, number, len(head)),
        _any_of(events.kind == REQUEUE, owned, number, len(head)),
        ended,
        end,
    )
    return segments, np.flatnonzero(completes & ~owned), extra, np.where(owned, number, NULL)


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


def _lives(segments: _Segments, begins: Bools, last: Ints, newest: Bools) -> dict[str, Ints | Bools]:
    """Join segments into requests: start and issue, and issues after a requeue."""
    number = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)
    start = np.where(segments.is_issue[first], NULL, segments.head[first])
    issues = np.flatnonzero(segments.is_issue)
    first_issue, issue = (np.full(len(last), NULL, dtype=np.int64) for _ in range(2))
    first_issue[number[issues[::-1]]] = segments.head[issues[::-1]]
    issue[number[issues]] = segments.head[issues]
    merged, complete = segments.merged[last], segments.complete[last]
    return {
        "start": start,
        "first_issue": first_issue,
        "issue": issue,
        "complete": complete,
        "end": segments.end[last],
        "merged": merged,
        "in_flight": newest & (complete == NULL) & ~merged,
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
    next_to_it = segments.before == segments.row[before]
    pending = (segments.complete[before] == NULL) & ~segments.merged[before] & ~segments.new_slot & next_to_it
    again = ~segments.is_issue[before] | segments.requeued[before] | same
    return np.asarray(segments.is_issue & pending & again)


# --- without slot ----------------------------------------------------------------------------------------------


def _by_key(events: BlockEvents) -> Pairs:
    key = combine(events.dev, events.sector, events.bytes, events.op) if len(events) else events.request
    # A start that carries nothing is a flush, whose request is never issued: what is issued for it, for several at
    # once, has no start that could be told.
    flush = (events.kind == START) & (events.bytes == 0)
    submitted = replace(events, kind=np.where(flush, NULL, events.kind))
    into_issue, start_rival, _ = _fifo(submitted, key, (START, REQUEUE), (ISSUE, MERGE))
    into_end, rival, given_up = _fifo(events, key, (ISSUE,), (COMPLETE, REQUEUE), PATIENCE_NS)
    rival, start_rival = rival | events.rival, start_rival | events.start_rival
    ended_by = _inverse(into_end, len(events))
    rows = np.flatnonzero(events.kind == ISSUE)
    requeued = (ended_by[rows] != NULL) & (events.kind[ended_by[rows]] == REQUEUE)
    issue = rows[~requeued]
    start, first_issue = _origin(events, issue, into_issue, into_end)
    complete = ended_by[issue]
    over = np.where(complete == NULL, given_up[issue], complete)
    # What completes nothing is a flush, whose request is never issued.
    unmatched = np.flatnonzero((events.kind == COMPLETE) & (into_end == NULL) & (events.bytes != 0))
    pairs = Pairs(
        start,
        first_issue,
        issue,
        complete,
        complete,
        over,
        np.zeros(len(issue), dtype=np.bool_),
        rival[issue],
        start_rival[start] & (start != NULL),
        over == NULL,
        over != NULL,
        unmatched,
        np.zeros(0, dtype=np.int64),
        _unfinished(events, into_issue, into_end, np.where(ended_by == NULL, given_up, ended_by)),
        np.flatnonzero(rival),
        np.flatnonzero(start_rival),
    )
    return _join([pairs], len(events))


def _unfinished(events: BlockEvents, into_issue: Ints, into_end: Ints, ended_by: Ints) -> Ints:
    """The rows of requests that are not done: those that nothing has ended, and what came before them."""
    begun = _inverse(into_issue, len(events)) != NULL
    open_issue = (events.kind == ISSUE) & (ended_by == NULL)
    waits = np.isin(events.kind, (START, REQUEUE)) & ~begun & (events.bytes != 0)
    kept = waits | open_issue
    while True:
        before = np.concatenate([into_issue[kept & (events.kind == ISSUE)], into_end[kept & (events.kind == REQUEUE)]])
        before = before[before != NULL]
        if kept[before].all():
            return np.flatnonzero(kept)
        kept[before] = True


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


def _fifo(
    events: BlockEvents, key: Ints, opens: tuple[int, ...], closes: tuple[int, ...], patience_ns: int | None = None
) -> tuple[Ints, Bools, Ints]:
    """For each closing row the opening row it takes off the queue of its key, else -1; which rows had a rival; and
    for each opening row that is given up the one that comes too long after it.

    A closing row that finds its queue empty belongs to nothing. With those left out, the n-th closing row of a
    key takes the n-th opening row.

    Args:
        patience_ns: what waits for longer when its key is opened again is given up; null for never.
    """
    into, given_up = (np.full(len(events), NULL, dtype=np.int64) for _ in range(2))
    rival = np.zeros(len(events), dtype=np.bool_)
    rows = np.flatnonzero(np.isin(events.kind, opens + closes))
    rows = rows[np.argsort(radix(key[rows]), kind="stable")]
    if not len(rows):
        return into, rival, given_up
    opening = np.isin(events.kind[rows], opens)
    new_key = np.diff(key[rows], prepend=NULL) != 0
    late = _late(events.ts_ns[rows], key[rows], opening, patience_ns)
    new_queue = new_key | late
    depth = _within(np.where(opening, 1, -1), new_queue)
    group = np.cumsum(new_queue) - 1
    # The lowest depth of the queue so far, made comparable across queues by an offset larger than any depth.
    offset = group * (2 * len(rows) + 2)
    lowest = np.minimum.accumulate(np.minimum(depth, 0) - offset) + offset
    before = np.where(new_queue, 0, np.roll(lowest, 1))
    empty = ~opening & (depth < before)
    taken = ~opening & ~empty
    waiting = depth - lowest
    index_open = _within(opening.astype(np.int64), new_queue)
    index_taken = _within(taken.astype(np.int64), new_queue)
    into[rows[taken]] = _lookup(group, index_open, rows, opening, group[taken], index_taken[taken])
    _mark_rivals(rival, into, rows, opening, taken, waiting)
    # The first that comes so long after may still meet one of them.
    rival[rows[late & (np.roll(waiting, 1) > 0)]] = True
    following = np.append(np.where(late, rows, NULL)[new_queue], NULL)[group + 1]
    given_up[rows[opening]] = following[opening]
    given_up[into[rows[taken]]] = NULL
    return into, rival, given_up


def _late(ts_ns: Ints, key: Ints, opening: Bools, patience_ns: int | None) -> Bools:
    """Which rows open a key so long after they did before."""
    late = np.zeros(len(key), dtype=np.bool_)
    if patience_ns is not None:
        opened = np.flatnonzero(opening)
        again = (key[opened][1:] == key[opened][:-1]) & (np.diff(ts_ns[opened]) > patience_ns)
        late[opened[1:][again]] = True
    return late


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
