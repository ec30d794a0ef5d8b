"""Pairing of block events as one would explain it: one event after another. The oracle for the fast one."""

from collections import defaultdict, deque
from dataclasses import dataclass, field

from tracekit.analyze import pairing
from tracekit.analyze.pairing import COMPLETE, ISSUE, MERGE, REQUEUE, START

NONE = -1


@dataclass(frozen=True)
class Event:
    """One block event; `request` -1 is none."""

    kind: int
    dev: int
    request: int
    sector: int
    bytes: int
    op: int


@dataclass
class Request:
    """What became of one I/O; row numbers."""

    start: int = NONE
    first_issue: int = NONE
    issue: int = NONE
    complete: int = NONE
    end: int = NONE
    merged: bool = False
    in_flight: bool = True
    rival: bool = False
    start_rival: bool = False
    left: int = 0
    requeued: bool = False
    asked: tuple[int, int] = (0, 0)


@dataclass
class Result:
    """All I/O, and the completions that belong to none."""

    requests: list[Request] = field(default_factory=list)
    orphans: list[int] = field(default_factory=list)
    before: int = 0


def pair_slowly(events: list[Event]) -> Result:
    """The same as `tracekit.analyze.pairing.pair`."""
    result = Result()
    by_slot(events, result)
    by_key(events, result)
    result.requests.sort(key=lambda r: r.start if r.start != NONE else r.first_issue)
    result.orphans.sort()
    return result


def by_slot(events: list[Event], result: Result) -> None:
    slots: dict[tuple[int, int], Request] = {}
    for row, event in enumerate(events):
        if event.request == NONE:
            continue
        slot = (event.dev, event.request)
        current = slots.get(slot)
        if event.kind == START or (event.kind == ISSUE and not goes_on(current, event)):
            if current is not None:
                current.in_flight = False
            current = slots[slot] = Request()
            result.requests.append(current)
        if event.kind == START:
            current.start = row
        elif event.kind == ISSUE:
            current.first_issue = row if current.first_issue == NONE else current.first_issue
            current.issue, current.left, current.requeued = row, event.bytes, False
            current.asked = (event.op, event.sector + event.bytes // 512)
        elif event.kind == REQUEUE and current is not None:
            current.requeued = True
        elif event.kind == MERGE and current is not None:
            current.merged, current.in_flight = True, False
        elif event.kind == COMPLETE:
            finish(current, row, event, result)


def goes_on(current: Request | None, event: Event) -> bool:
    if current is None or current.complete != NONE or current.merged:
        return False
    same = current.asked == (event.op, event.sector + event.bytes // 512)
    return current.issue == NONE or current.requeued or same


def finish(current: Request | None, row: int, event: Event, result: Result) -> None:
    if current is None:
        result.orphans.append(row)
        result.before += 1
    elif current.complete == NONE:
        current.left -= event.bytes
        if current.left <= 0:
            current.complete = current.end = row
            current.in_flight = False
    elif event.bytes == 0:
        current.end = row
    else:
        result.orphans.append(row)


def started(queue: deque[tuple[int, Request]], row: int, event: Event, rivals: set[int]) -> None:
    if event.bytes:  # else a flush, whose request is never issued
        push(queue, row, Request(start=row), rivals)


def by_key(events: list[Event], result: Result) -> None:
    waiting: dict[tuple[int, ...], deque[tuple[int, Request]]] = defaultdict(deque)
    issued: dict[tuple[int, ...], deque[tuple[int, Request]]] = defaultdict(deque)
    rivals: set[int] = set()
    for row, event in enumerate(events):
        if event.request != NONE:
            continue
        key = (event.dev, event.sector, event.bytes, event.op)
        if event.kind == START:
            started(waiting[key], row, event, rivals)
        elif event.kind == MERGE:
            pop(waiting[key], rivals)
        elif event.kind == ISSUE:
            origin, request = pop(waiting[key], rivals) or (NONE, Request())
            request.start_rival |= origin in rivals
            request.first_issue = row if request.first_issue == NONE else request.first_issue
            request.issue = row
            if issued[key] and row - issued[key][-1][0] > pairing.PATIENCE_NS:
                rivals.add(row)
                give_up(issued[key], rivals, result)
            push(issued[key], row, request, rivals)
        else:
            taken = pop(issued[key], rivals) or (NONE, Request())
            if event.kind == REQUEUE:
                push(waiting[key], row, taken[1], rivals)
            elif taken[0] != NONE:
                end(taken, row, rivals, result)
            else:
                result.orphans += [row] * (event.bytes != 0)  # a flush completes nothing, and is never issued
    for queue in issued.values():
        give_up(queue, rivals, result, in_flight=True)


def give_up(queue: deque[tuple[int, Request]], rivals: set[int], result: Result, in_flight: bool = False) -> None:
    for origin, request in queue:
        request.rival, request.in_flight = origin in rivals, in_flight
        result.requests.append(request)
    queue.clear()


def end(taken: tuple[int, Request], row: int, rivals: set[int], result: Result) -> None:
    origin, request = taken
    request.complete = request.end = row
    request.in_flight = False
    request.rival = origin in rivals
    result.requests.append(request)


def push(queue: deque[tuple[int, Request]], row: int, request: Request, rivals: set[int]) -> None:
    queue.append((row, request))
    if len(queue) > 1:
        rivals.add(row)


def pop(queue: deque[tuple[int, Request]], rivals: set[int]) -> tuple[int, Request] | None:
    if not queue:
        return None
    taken = queue.popleft()
    if queue:
        rivals.add(taken[0])
    return taken
