"""Rhythms that appeared, stopped, or changed their period."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow.compute as pc

from tracekit.analyze.columns import NULL, Bools
from tracekit.analyze.diff.results import Part
from tracekit.analyze.evidence import in_scope
from tracekit.analyze.families import tell_processes
from tracekit.analyze.groups import MAX_ANCESTORS
from tracekit.analyze.processes import Lives
from tracekit.analyze.results import Pattern, Report
from tracekit.schema import FAMILY_OF
from tracekit.text import printable
from tracekit.units import format_ns

#: Periods that differ by less are the same one; so much of a rhythm's events on the other side are the same as here.
_SAME_PERIOD, _STILL_THERE = math.log(1.05), 0.5
_PID = re.compile(r" \(pid \d+\)$")


@dataclass(frozen=True)
class RhythmChange:
    """What became of a rhythm, in a sentence; `commands` are those that run in it."""

    title: str
    detail: str
    commands: tuple[str, ...]


def rhythm_changes(before: tuple[Part, Report], after: tuple[Part, Report]) -> list[RhythmChange]:
    """Rhythms that only one side has, if the other has not the same events without that rhythm."""
    was, now = ([one for one in report.patterns if one.kind != "steady"] for _, report in (before, after))
    told = []
    for pattern in now:
        same = [one for one in was if _is_same(one, pattern)]
        if same:
            if all(_period(one, pattern) > max(_SAME_PERIOD, 3 * (one.jitter + pattern.jitter)) for one in same):
                told.append(_changed(same[0], pattern))
        elif not any(_is_alike(one, pattern) for one in was) and not _is_there(pattern, after, before):
            told.append(RhythmChange(f"new: {printable(pattern.sentence)}", "", pattern.chain))
    for pattern in was:
        is_left = any(_is_same(one, pattern) or _is_alike(one, pattern) for one in now)
        if not is_left and not _is_there(pattern, before, after):
            told.append(RhythmChange(f"it stopped that {printable(pattern.sentence)}", "", pattern.chain))
    return [_capital(one) for one in told]


def _capital(one: RhythmChange) -> RhythmChange:
    return RhythmChange(one.title[:1].upper() + one.title[1:], one.detail, one.commands)


def _scope(one: Pattern) -> Mapping[str, str]:
    """Who has the rhythm, without the process id, which another run has not."""
    return {name: _PID.sub("", value) for name, value in one.scope.items()}


def _is_same(one: Pattern, other: Pattern) -> bool:
    return one.event == other.event and _scope(one) == _scope(other)


def _is_alike(one: Pattern, other: Pattern) -> bool:
    """The same rhythm, told of another group."""
    return one.event == other.event and _period(one, other) <= _SAME_PERIOD and one.burst_size == other.burst_size


def _period(one: Pattern, other: Pattern) -> float:
    return abs(math.log(one.period_ns / other.period_ns))


def _changed(was: Pattern, now: Pattern) -> RhythmChange:
    who = ", ".join(printable(value) for value in _scope(now).values())
    told = f"{now.event} of {who}: every {format_ns(now.period_ns)} instead of every {format_ns(was.period_ns)}"
    sizes = {one.burst_size for one in (was, now)}
    more = f"{was.burst_size} at a time before, {now.burst_size} after" if len(sizes) > 1 else ""
    return RhythmChange(told, more, now.chain)


def _is_there(pattern: Pattern, mine: tuple[Part, Report], other: tuple[Part, Report]) -> bool:
    """Whether the other side has about as many of these events, or may have: in no rhythm that could be seen, or not
    recorded.
    """
    if FAMILY_OF[pattern.event] not in other[0].trace.metadata.recorded:
        return True
    length = other[1].trace.duration_ns / max(mine[1].trace.duration_ns, 1)
    return _count(pattern, *other) >= _STILL_THERE * pattern.events * length


def _count(pattern: Pattern, part: Part, report: Report) -> int:
    """How many events of a rhythm's scope there are; of several fields those that have all of them."""
    scope = _scope(pattern)
    if pattern.event == "exec":
        lives = tell_processes(part.trace, part.selection).lives
        inside = _below(scope, lives) if "parent" in scope else in_scope(dict(scope), lives)
        return int(np.count_nonzero(inside & (lives.start_ns != NULL)))
    wanted = {name: value for name, value in scope.items() if name != "all"}
    return sum(_counts(pattern.event, wanted, part)) if wanted else report.trace.events.get(pattern.event, 0)


def _below(scope: Mapping[str, str], lives: Lives) -> Bools:
    """What was started by processes with the parent's name, and what came of that: of one path, if it has one."""
    named = lives.comm.is_in(scope["parent"]) | ((lives.comm.codes == NULL) & lives.path.is_in(scope["parent"]))
    branch = (lives.parent != NULL) & named[lives.parent]
    if "path" in scope:
        branch &= lives.path.is_in(scope["path"])
    found, above = branch.copy(), lives.parent
    for _ in range(MAX_ANCESTORS - 1):
        known = above != NULL
        found |= known & branch[above]
        above = np.where(known, lives.parent[above], NULL)
    return np.asarray(found)


def _counts(event: str, wanted: Mapping[str, str], part: Part) -> Iterator[int]:
    for rows in part.selection.rows(part.trace, (event,), tuple(wanted)):
        each = (pc.equal(rows.column(name), value) for name, value in wanted.items())
        yield pc.sum(reduce(pc.and_, each)).as_py() or 0
