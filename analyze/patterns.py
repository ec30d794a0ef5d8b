"""Rhythms in process starts, opens and I/O: found in every group, told once, at the level that explains each best."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tracekit.analyze.columns import NULL, Bools, Codes, Ints, combine, distinct_rows
from tracekit.analyze.processes import Lives
from tracekit.analyze.results import Pattern
from tracekit.analyze.rhythm import (
    MIN_CYCLES,
    MOST_MISSED_IN_A_ROW,
    UNEVEN,
    Rhythm,
    Times,
    find_rhythm,
    rhythm_of,
    robust_deviation,
)
from tracekit.analyze.sentences import Endings, say, say_steady
from tracekit.analyze.steady import is_steady
from tracekit.analyze.turns import is_counted

MAX_ANCESTORS = 8
MAX_GROUPS = 200
MAX_CHAIN = 100
#: A pattern is worth telling if it goes on for so much of the recording.
MIN_SPAN = 0.25
#: Of two groups that show the same rhythm, the better one has at least so many of the events of the largest ...
COVERAGE = 0.7
#: ... and rhythms are the same if they share so many.
OVERLAP = 0.5
#: ... and if the bursts of one follow those of the other at a distance that varies by no more of the period: bursts
#: that meet by chance do so at any distance.
IN_STEP = 0.1
#: A group of which a rhythm tells more than this part less is not as good, however telling it is otherwise.
PURE = 0.05
_SAME_PERIOD = 0.02
#: Who starts a pattern's processes may take the place of a better group that is purer by no more than this ...
PURER = 0.2
#: ... and a command fails in nearly each round from this part of them on.
NEARLY_EACH = 0.8
#: A steady rate is told of groups that have so many of all events of their kind, for so much of the recording, and of
#: which no more than so much is in a rhythm.
STEADY_SHARE, STEADY_SPAN, STEADY_IN_RHYTHM = 0.2, 0.5, 0.05
#: A more telling group with so much of a steady stream is told instead.
NEARLY_ALL = 0.9
#: Single opens and I/Os at equal distances below this are somebody who waits for nothing else, not a rhythm.
TRIVIAL_NS = 5_000_000


@dataclass(frozen=True)
class Train:
    """Events of one kind in time order, and the groups in which a rhythm may show.

    Attributes:
        life: of process starts, the position of each process; empty for other events.
        label: what each event is called in a chain.
    """

    event: str
    times: Times
    label: Codes
    life: Ints


@dataclass(frozen=True)
class _Group:
    """Positions of events, and what they have in common.

    `rank` orders kinds of groups, the more telling first; `distance` orders the ancestors of the same processes, the
    nearest first; `top` is the ancestor's life.
    """

    scope: dict[str, str]
    rank: int
    rows: Ints
    distance: float = 0
    top: int = NULL


@dataclass(frozen=True)
class _Candidate:
    group: _Group
    rhythm: Rhythm
    members: Ints
    is_round: bool = False

    @property
    def purity(self) -> float:
        return len(self.members) / len(self.group.rows)

    @property
    def told(self) -> float:
        """The part of the group that the rhythm accounts for, less by how much it varies."""
        rhythm = self.rhythm
        usual = int(np.minimum(rhythm.size, rhythm.burst_size).sum()) / rhythm.events
        return self.purity * usual - rhythm.variation


def process_patterns(lives: Lives, start_ns: int, end_ns: int) -> tuple[Pattern, ...]:
    """Rhythms in process starts: the first exec of each process, or the failed exec of one that never succeeds."""
    rows = np.flatnonzero(lives.start_ns != NULL)
    rows = rows[np.argsort(lives.start_ns[rows], kind="stable")]
    train = Train("exec", Times.of(lives.start_ns[rows]), labels(lives)[rows], rows)
    groups = list(_process_groups(train, lives))
    families = _families(train, _candidates(train, groups, start_ns, end_ns))
    steady = _steady(train, groups, [family[0] for family in families], end_ns - start_ns)
    return (*(_process_pattern(train, family, lives) for family in families), *steady)


def event_patterns(train: Train, groups: dict[str, Codes], start_ns: int, end_ns: int) -> tuple[Pattern, ...]:
    """Rhythms in other events, as a whole and by each of `groups`."""
    found = [_Group({"all": train.event}, 9, np.arange(len(train.times)))]
    for rank, (name, codes) in enumerate(groups.items(), 1):
        found.extend(_by_code(name, codes, rank))
    candidates = _candidates(train, found, start_ns, end_ns)
    candidates = [*candidates, *_rounds(train, found, candidates, (start_ns, end_ns))]
    chosen = [_best(family) for family in _families(train, candidates)]
    chosen = [one for one in chosen if not _is_trivial(one.rhythm)]
    chosen = [one for one in chosen if not _is_counted(train, one, found)]
    return (*(_pattern(train, one) for one in chosen), *_steady(train, found, chosen, end_ns - start_ns))


def _is_counted(train: Train, one: _Candidate, groups: list[_Group]) -> bool:
    return is_counted(one.rhythm, one.group.rows, [group.rows for group in groups], train.times.begin_ns)


def _is_trivial(rhythm: Rhythm) -> bool:
    return rhythm.burst_size == 1 and rhythm.period_ns < TRIVIAL_NS


@dataclass(frozen=True)
class Thin:
    """A group whose events are not kept: its scope, its rank among kinds of groups, and its times."""

    scope: dict[str, str]
    rank: int
    times: Times


def told_once(event: str, groups: list[Thin], events: int, frame: tuple[int, int] | None = None) -> list[Pattern]:
    """The rhythms of groups of which no events are kept; of those with the same period, the one that tells most.

    Args:
        events: of this kind in all.
        frame: when the recording, or the part of it that is looked at, began and ended; else as the times do.
    """
    found = []
    for group in groups:
        begin, end = frame or (int(group.times.begin_ns[0]) - 1, int(group.times.end_ns[-1]) + 1)
        rhythm = find_rhythm(group.times, begin, end)
        if rhythm is not None and not _is_trivial(rhythm):
            rows = np.arange(len(group.times))
            one = _Candidate(_Group(group.scope, group.rank, rows), rhythm, rhythm.members())
            found.append((one, rhythm_pattern(event, group, rhythm, events)))
    found.sort(key=lambda each: (-each[1].events * max(each[0].told, 0), each[0].group.rank))
    told: tuple[Pattern, ...] = ()
    for _, pattern in found:
        told += without_echoes(told, (pattern,))
    return list(told)


def without_echoes(patterns: tuple[Pattern, ...], others: tuple[Pattern, ...]) -> tuple[Pattern, ...]:
    """The `others` that do not merely follow one of the `patterns`: each process of a burst opens files, too."""
    return tuple(other for other in others if not any(_echoes(pattern, other) for pattern in patterns))


def _echoes(pattern: Pattern, other: Pattern) -> bool:
    together = min(pattern.end_ns, other.end_ns) - max(pattern.start_ns, other.start_ns)
    if "steady" in (pattern.kind, other.kind):
        return False
    alike = abs(pattern.period_ns - other.period_ns) <= _SAME_PERIOD * pattern.period_ns
    return alike and together >= OVERLAP * (other.end_ns - other.start_ns)


def labels(lives: Lives) -> Codes:
    """The command of each process, else the last part of the path that it failed to run."""
    files = np.array([name.rsplit("/", 1)[-1] for name in lives.path.names], dtype=object)
    names = [*lives.comm.names, *files]
    use_path = ((lives.exec_ns == NULL) & (lives.path.codes >= 0)) | (lives.comm.codes < 0)
    code = np.where(use_path & (lives.path.codes >= 0), lives.path.codes + len(lives.comm.names), lives.comm.codes)
    return Codes(code, tuple(str(name) for name in names))


# --- groups ----------------------------------------------------------------------------------------------------


def _process_groups(train: Train, lives: Lives) -> Iterator[_Group]:
    """All; by each ancestor; by the program that an ancestor starts; by cgroup, path and command."""
    yield _Group({"all": "process"}, 9, np.arange(len(train.life)))
    yield from _by_code("cgroup", lives.cgroup[train.life], 3)
    yield from _by_code("path", lives.path[train.life], 4)
    yield from _by_code("comm", train.label, 5)
    branch, ancestor = train.life, lives.parent[train.life]
    rows, tops, branches, levels = [], [], [], []
    for level in range(MAX_ANCESTORS):
        known = ancestor != NULL
        rows.append(np.flatnonzero(known))
        tops.append(ancestor[known])
        branches.append(branch[known])
        levels.append(np.full(len(rows[-1]), level))
        branch, ancestor = ancestor, np.where(known, lives.parent[ancestor], NULL)
    member, top, below, away = (np.concatenate(parts) for parts in (rows, tops, branches, levels))
    for positions in _parts(top):
        name = parent_name(lives, int(top[positions[0]]))
        ancestor_life = int(top[positions[0]])
        yield _Group(
            {"parent": name},
            1,
            distinct_rows(member[positions], len(train.life)),
            float(away[positions].mean()),
            ancestor_life,
        )
    path = lives.path.codes[below]
    named = np.flatnonzero(path != NULL)
    for positions in _parts(combine(top[named], path[named])) if len(named) else ():
        one = named[positions[0]]
        scope = {"parent": parent_name(lives, int(top[one])), "path": lives.path.names[path[one]]}
        rows_of_it = distinct_rows(member[named[positions]], len(train.life))
        yield _Group(scope, 2, rows_of_it, float(away[named[positions]].mean()), int(top[one]))


def parent_name(lives: Lives, life: int) -> str:
    """How a process that starts others is told: its command and pid."""
    return f"{lives.name(life) or '?'} (pid {int(lives.pid[life])})"


def _by_code(name: str, codes: Codes, rank: int) -> Iterator[_Group]:
    for positions in _parts(codes.codes):
        code = int(codes.codes[positions[0]])
        if code != NULL:
            yield _Group({name: codes.names[code]}, rank, positions)


def _parts(keys: Ints) -> Iterator[Ints]:
    """The positions of each key that occurs often enough, the most frequent ones first."""
    values, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    ends = np.cumsum(counts)
    for index in np.argsort(-counts, kind="stable")[:MAX_GROUPS]:
        if counts[index] >= MIN_CYCLES and len(values):
            yield order[ends[index] - counts[index] : ends[index]]


# --- choice ----------------------------------------------------------------------------------------------------


def _candidates(train: Train, groups: list[_Group], start_ns: int, end_ns: int) -> list[_Candidate]:
    """The groups that show a rhythm."""
    found = []
    for group in groups:
        times = train.times[group.rows]
        if len(times) < MIN_CYCLES or times.span_ns() < MIN_SPAN * (end_ns - start_ns):
            continue
        rhythm = find_rhythm(times, start_ns, end_ns)
        if rhythm is not None and times[rhythm.members()].span_ns() >= MIN_SPAN * (end_ns - start_ns):
            found.append(_Candidate(group, rhythm, group.rows[rhythm.members()]))
    return found


def _families(train: Train, candidates: list[_Candidate]) -> list[list[_Candidate]]:
    """The groups that show a rhythm, those together that show the same one, the one that tells most first."""
    found = candidates.copy()
    found.sort(key=lambda one: (-len(one.members) * max(one.told, 0), one.group.rank, len(one.group.rows)))
    families: list[list[_Candidate]] = []
    while found:
        inside = _inside(train, found[0].members)
        of_round = found[0].is_round  # whose parts have other beats
        same = [
            (of_round and inside[one.members].mean() >= NEARLY_ALL)
            or (inside[one.members].mean() >= OVERLAP and _in_step(train, one, found[0]))
            or _is_part_of_it(one, found[0])
            for one in found
        ]
        families.append([one for one, its in zip(found, same, strict=True) if its])
        found = [one for one, its in zip(found, same, strict=True) if not its]
    return families


def _rounds(
    train: Train, groups: list[_Group], found: list[_Candidate], frame: tuple[int, int]
) -> Iterator[_Candidate]:
    """Groups of which several others, all to one beat, are the parts: rounds of a few events at uneven distances."""
    left = [one for one in found if not _is_counted(train, one, groups)]
    left.sort(key=lambda one: (-round(one.told, 1), -len(one.members), one.group.rank))
    while left:
        one, parts, inside = left[0], left[:1], _inside(train, left[0].members)
        for other in left[1:]:
            alike = abs(other.rhythm.period_ns - one.rhythm.period_ns) <= _SAME_PERIOD * one.rhythm.period_ns
            if alike and not inside[other.members].any() and _phase_ns(train, other, one) is not None:
                inside[other.members] = True
                parts.append(other)
        left = [other for other in left[1:] if inside[other.members].mean() < OVERLAP]
        group = _whole_of(groups, inside) if len(parts) > 1 else None
        if group is None or any(_is_told(whole, one, inside) for whole in found if whole.group is group):
            continue
        rhythm = _round(train, group, parts, inside, frame)
        if rhythm is not None:
            yield _Candidate(group, rhythm, group.rows[rhythm.members()], is_round=True)


def _whole_of(groups: list[_Group], inside: Bools) -> _Group | None:
    """The most telling group that has nearly all of these events, and not much else."""
    most = NEARLY_ALL * int(inside.sum())
    fitting = [group for group in groups if most <= inside[group.rows].sum() >= NEARLY_ALL * len(group.rows)]
    return min(fitting, key=lambda group: (group.rank, len(group.rows)), default=None)


def _is_told(whole: _Candidate, part: _Candidate, inside: Bools) -> bool:
    """Whether a group shows nearly all of these events by itself: to the beat of a part, or at even distances."""
    same = abs(whole.rhythm.period_ns - part.rhythm.period_ns) <= _SAME_PERIOD * part.rhythm.period_ns
    most = inside[whole.members].sum() >= NEARLY_ALL * inside.sum()
    return bool(most and (same or whole.rhythm.variation < UNEVEN))


def _round(
    train: Train, group: _Group, parts: list[_Candidate], inside: Bools, frame: tuple[int, int]
) -> Rhythm | None:
    """The rhythm of rounds that begin after the longest distance between their parts; null if there is none."""
    period = parts[0].rhythm.period_ns
    phases = np.sort([(_phase_ns(train, one, parts[0]) or 0) % period for one in parts])
    gaps = np.diff(np.append(phases, phases[0] + period))
    before = int(np.argmax(gaps))
    beats = train.times.begin_ns[parts[0].group.rows[parts[0].rhythm.first]]
    cuts = np.append(beats[0] - period, beats) + round(phases[before] + gaps[before] / 2)
    mine = np.flatnonzero(inside[group.rows])
    number = np.searchsorted(cuts, train.times.begin_ns[group.rows[mine]])
    _, first, size = np.unique(number, return_index=True, return_counts=True)
    last = first + size - 1
    # The recording may have a part of the first and of the last one.
    usual = np.median(size)
    known = slice(int(size[0] < usual), len(size) - int(size[-1] < usual))
    return rhythm_of(train.times[group.rows], mine[first[known]], mine[last[known]], *frame)


def _phase_ns(train: Train, one: _Candidate, other: _Candidate) -> float | None:
    """How long after the beats of the other those of one come; null if at no certain distance."""
    begin, beats = (train.times.begin_ns[each.group.rows[each.rhythm.first]] for each in (one, other))
    last = np.searchsorted(beats, begin, side="right") - 1
    since = (begin - beats[last])[last >= 0].astype(np.float64)
    period = other.rhythm.period_ns
    # About the beat itself, some come before it and some after.
    since = np.where(since > np.median(since) + period / 2, since - period, since) if len(since) else since
    certain = len(since) >= MIN_CYCLES and robust_deviation(since) <= IN_STEP * period
    return float(np.median(since)) if certain else None


def _is_part_of_it(one: _Candidate, other: _Candidate) -> bool:
    """Whether a group that has all of the other sees its beats or each second, third or fourth, less well."""
    ratio = one.rhythm.period_ns / other.rhythm.period_ns
    multiple = 1 <= round(ratio) <= MOST_MISSED_IN_A_ROW and abs(ratio - round(ratio)) <= _SAME_PERIOD * ratio
    if not multiple or one.group.rank == other.group.rank:
        return False
    wider, within = (one, other) if len(one.group.rows) >= len(other.group.rows) else (other, one)
    return wider.told < within.told and bool(np.isin(within.members, wider.group.rows).mean() >= NEARLY_ALL)


def _in_step(train: Train, one: _Candidate, other: _Candidate) -> bool:
    """Whether the bursts of one come at the same time after those of the other, as chance meetings do not."""
    begin, beats = (train.times.begin_ns[each.group.rows[each.rhythm.first]] for each in (one, other))
    later = np.clip(np.searchsorted(beats, begin), 1, len(beats) - 1)
    nearest = np.where(beats[later] - begin < begin - beats[later - 1], beats[later], beats[later - 1])
    return robust_deviation((begin - nearest).astype(np.float64)) <= IN_STEP * other.rhythm.period_ns


def _inside(train: Train, rows: Ints) -> Bools:
    inside = np.zeros(len(train.times), dtype=np.bool_)
    inside[rows] = True
    return inside


def _steady(train: Train, groups: list[_Group], rhythms: list[_Candidate], duration_ns: int) -> list[Pattern]:
    """The groups with a steady rate: the largest, or a more telling one that is nearly all of it, but no parts."""
    told = _inside(train, np.concatenate([np.zeros(0, dtype=np.int64), *(one.members for one in rhythms)]))
    found = [group for group in groups if len(group.rows) >= max(STEADY_SHARE * len(train.times), MIN_CYCLES)]
    found.sort(key=lambda group: (-len(group.rows), group.rank, group.distance))
    patterns = []
    while found:
        largest = found.pop(0)
        if told[largest.rows].mean() > STEADY_IN_RHYTHM or not _goes_on(train.times[largest.rows], duration_ns):
            continue
        inside = _inside(train, largest.rows)
        parts = [group for group in found if inside[group.rows].mean() >= OVERLAP]
        best = [group for group in parts if len(group.rows) >= NEARLY_ALL * len(largest.rows)]
        one = min((largest, *best), key=lambda group: (group.rank, group.distance))
        patterns.append(_steady_pattern(train.event, one.scope, train.times[one.rows], len(train.times)))
        found = [group for group in found if inside[group.rows].mean() < OVERLAP]
    return patterns


def _goes_on(times: Times, duration_ns: int) -> bool:
    return times.span_ns() >= STEADY_SPAN * duration_ns and is_steady(times)


def _best(family: list[_Candidate]) -> _Candidate:
    """Of those that hold nearly all of the rhythm, and of which it tells nearly the most, the most telling group."""
    large = [one for one in family if len(one.members) >= COVERAGE * len(family[0].members)]
    most = max(one.told for one in large)
    return min((one for one in large if one.told >= most - PURE), key=_order)


def _order(one: _Candidate) -> tuple[int, int, float]:
    return one.group.rank, len(one.group.rows), one.group.distance


def _started_by(train: Train, family: list[_Candidate], lives: Lives) -> tuple[_Candidate, bool]:
    """The best of a family, and whether the parent of its scope starts its bursts itself.

    A far ancestor has all that its descendants start, and other work may look like more rounds of the same: so
    whoever starts most of the bursts is preferred to it.
    """
    best = _best(family)
    starter, started = _starter(train, best, [one.group.top for one in family if one.group.top != NULL], lives)
    if starter in (NULL, best.group.top):
        return best, starter != NULL
    nearer = [
        one
        for one in family
        if one.group.top == starter and len(one.members) >= COVERAGE * started and one.purity >= best.purity - PURER
    ]
    return (min(nearer, key=_order), True) if nearer else (best, False)


def _starter(train: Train, one: _Candidate, tops: list[int], lives: Lives) -> tuple[int, int]:
    """The life that starts most of the bursts, -1 if none starts half of them; and how many processes it starts."""
    life, size = train.life[one.members], one.rhythm.last - one.rhythm.first + 1
    burst = np.repeat(np.arange(one.rhythm.cycles), size)
    above = _outside(life, burst, tops, lives)
    # Each burst has one vote, however large it is.
    votes = np.bincount(above + 1, weights=1 / size[burst])
    votes[0] = 0
    starter = int(np.argmax(votes)) - 1
    return (starter, int((above == starter).sum())) if votes.max() >= OVERLAP * len(size) else (NULL, 0)


def _outside(life: Ints, burst: Ints, tops: list[int], lives: Lives) -> Ints:
    """Who started each of these lives, or whatever started it within its own burst; -1 if unknown."""
    burst_of = np.full(len(lives) + 1, NULL, dtype=np.int64)
    burst_of[life] = burst
    # A fork that runs no program of its own is a part of its parent, such as a subshell.
    mere_fork = np.append(lives.forked & (lives.start_ns == NULL), False)
    # Whoever has a rhythm below it is no part of a round.
    burst_of[tops], mere_fork[tops] = NULL, False
    parent, above = np.append(lives.parent, NULL), lives.parent[life]
    for _ in range(MAX_ANCESTORS):
        inner = (burst_of[above] == burst) | mere_fork[above]
        if not inner.any():
            break
        above = np.where(inner, parent[above], above)
    return above


# --- results ---------------------------------------------------------------------------------------------------


def _process_pattern(train: Train, family: list[_Candidate], lives: Lives) -> Pattern:
    one, direct = _started_by(train, family, lives)
    pattern = _pattern(train, one, *_exits(train, one, lives), direct=direct)
    return replace(pattern, lifetimes=_lifetimes(train, one, lives, pattern.chain))


def _lifetimes(train: Train, one: _Candidate, lives: Lives, chain: tuple[str, ...]) -> dict[str, int]:
    """How long each command of a chain lives, in nanoseconds; the median of those of which it is known."""
    life, label = train.life[one.members], train.label[one.members]
    known = lives.lifetime_ns[life] != NULL
    found = {}
    for name in dict.fromkeys(chain):
        lifetimes = lives.lifetime_ns[life[known & label.is_in(name)]]
        if len(lifetimes):
            found[name] = int(np.median(lifetimes))
    return found


def _pattern(
    train: Train,
    one: _Candidate,
    exit_codes: dict[str, int] | None = None,
    failing: dict[str, str] | None = None,
    endings: Endings | None = None,
    *,
    direct: bool = True,
) -> Pattern:
    rhythm, times = one.rhythm, train.times[one.group.rows]
    start_ns, end_ns = int(times.begin_ns[rhythm.first[0]]), int(times.end_ns[rhythm.last[-1]])
    typical = _typical(one)
    kind = "bursts" if rhythm.burst_size > 1 else "periodic"
    chain = tuple(train.label.name(int(code)) or "?" for code in train.label.codes[typical[:MAX_CHAIN]])
    pattern = Pattern(
        kind=kind,
        event=train.event,
        scope=one.group.scope,
        start_ns=start_ns,
        end_ns=end_ns,
        cycles=rhythm.cycles,
        period_ns=rhythm.period_ns,
        pause_ns=rhythm.pause_ns,
        burst_size=rhythm.burst_size,
        burst_duration_ns=rhythm.burst_duration_ns,
        rate_per_second=round(rhythm.burst_size * 1e9 / rhythm.period_ns, 3),
        jitter=rhythm.jitter,
        events=rhythm.events,
        share=round(rhythm.events / train.times.events, 4),
        clock=rhythm.clock,
        chain=chain,
        exit_codes=exit_codes or {},
        sentence="",
        failing={name: failing[name] for name in dict.fromkeys((*chain, *failing)) if name in failing}
        if failing
        else {},
    )
    return replace(pattern, sentence=say(pattern, endings or Endings(), direct=direct))


def rhythm_pattern(event: str, group: Thin, rhythm: Rhythm, events: int) -> Pattern:
    """The pattern of a group of which no events are kept: it has no chain."""
    nobody = Codes(np.full(len(group.times), NULL, dtype=np.int64), ())
    train = Train(event, group.times, nobody, np.zeros(0, dtype=np.int64))
    whole = _Group(group.scope, group.rank, np.arange(len(group.times)))
    pattern = _pattern(train, _Candidate(whole, rhythm, rhythm.members()))
    return replace(pattern, chain=(), share=round(rhythm.events / max(events, 1), 4))


def steady_pattern(
    event: str, scope: dict[str, str], times: Times, events: int, duration_ns: int, cells: int
) -> Pattern | None:
    """The steady rate of a group of which only counts in cells are kept; null if it has none."""
    if times.span_ns() < STEADY_SPAN * duration_ns or not is_steady(times, duration_ns // cells):
        return None
    return _steady_pattern(event, scope, times, events)


def _steady_pattern(event: str, scope: dict[str, str], times: Times, events: int) -> Pattern:
    """Of a steady stream the period is the mean distance between its events, each of which is a cycle."""
    period = times.span_ns() / max(times.events - 1, 1)
    pattern = Pattern(
        kind="steady",
        event=event,
        scope=scope,
        start_ns=int(times.begin_ns[0]),
        end_ns=int(times.end_ns[-1]),
        cycles=times.events,
        period_ns=round(period),
        pause_ns=round(period),
        burst_size=1,
        burst_duration_ns=0,
        rate_per_second=round(1e9 / period, 3),
        jitter=round(robust_deviation(times.gaps.astype(np.float64)) / period, 6),
        events=times.events,
        share=round(times.events / max(events, 1), 4),
        clock=None,
        chain=(),
        exit_codes={},
        sentence="",
    )
    return replace(pattern, sentence=say_steady(pattern))


def _typical(one: _Candidate) -> Ints:
    """The events of the first whole burst of the usual size."""
    rhythm = one.rhythm
    distance = np.abs(rhythm.size - rhythm.burst_size) + np.where(rhythm.whole, 0, len(one.group.rows))
    burst = int(np.argmin(distance))
    return one.group.rows[rhythm.first[burst] : rhythm.last[burst] + 1]


def _exits(train: Train, one: _Candidate, lives: Lives) -> tuple[dict[str, int], dict[str, str], Endings]:
    """How the processes ended, and which commands end badly, the same way, in nearly every burst."""
    life = train.life[one.members]
    done = lives.exit_ns[life] != NULL
    status = np.where(lives.exit_signal[life] > 0, lives.exit_signal[life] + 1000, lives.exit_code[life])[done]
    values, counts = np.unique(status, return_counts=True)
    codes = {_status(int(value)): int(count) for value, count in zip(values, counts, strict=True)}
    failing, often = _failing(train.label[one.members][done], status, one.rhythm.cycles)
    told = sum(often.values())
    endings = Endings(
        nearly=frozenset(name for name in often if often[name] < int(one.rhythm.whole.sum())),
        rest=len(status) - told,
        rest_failed=int((status > 0).sum()) - told,
        rest_unknown=int((status < 0).sum()),
    )
    return codes, failing, endings


def _failing(label: Codes, status: Ints, cycles: int) -> tuple[dict[str, str], dict[str, int]]:
    """How each command ends that ends badly in nearly every burst, and how often it does."""
    failing, often = {}, {}
    for code in np.unique(label.codes[status > 0]):
        bad, counts = np.unique(status[(label.codes == code) & (status > 0)], return_counts=True)
        if counts.max() >= NEARLY_EACH * cycles:
            name = label.name(int(code)) or "?"
            failing[name], often[name] = _status(int(bad[np.argmax(counts)])), int(counts.max())
    return failing, often


def _status(value: int) -> str:
    return "?" if value < 0 else str(value) if value < 1000 else f"signal {value - 1000}"
