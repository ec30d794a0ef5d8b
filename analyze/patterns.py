"""Rhythms in process starts, opens and I/O: found in every group, told once, at the level that explains each best."""

from collections.abc import Iterator

import numpy as np

from tracekit.analyze.columns import NULL, Bools, Codes, Floats, Ints
from tracekit.analyze.described import pattern_of, process_pattern, rhythm_pattern, stream_pattern
from tracekit.analyze.groups import MAX_ANCESTORS, Candidate, Group, Thin, Train, by_code, labels, process_groups
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
from tracekit.analyze.sentences import BELOW, STARTED_BY
from tracekit.analyze.steady import is_steady
from tracekit.analyze.turns import is_counted

#: A pattern is worth telling if it goes on for so much of the recording.
MIN_SPAN = 0.25
#: Of two groups that show the same rhythm, the better one has at least so many of the events of the largest ...
COVERAGE = 0.7
#: ... and rhythms are the same if they share so many.
OVERLAP = 0.5
#: ... and if the bursts of one follow those of the other at a distance that varies by no more of the period: bursts
#: that meet by chance do so at any distance.
IN_STEP = 0.1
#: Bursts that vary about those of another by less than this part of how much they vary by themselves move with these.
WITH = 0.5
#: A group of which a rhythm tells more than this part less is not as good, however telling it is otherwise.
PURE = 0.05
_SAME_PERIOD = 0.02
#: Who starts a pattern's processes may take the place of a better group that is purer by no more than this.
PURER = 0.2
#: A steady rate is told of groups that have so many of all events of their kind, for so much of the recording, and of
#: which no more than so much is in a rhythm.
STEADY_SHARE, STEADY_SPAN, STEADY_IN_RHYTHM = 0.2, 0.5, 0.05
#: A more telling group with so much of a steady stream is told instead.
NEARLY_ALL = 0.9
#: Single opens and I/Os at equal distances below this are somebody who waits for nothing else, not a rhythm.
TRIVIAL_NS = 5_000_000


def process_patterns(lives: Lives, start_ns: int, end_ns: int) -> tuple[Pattern, ...]:
    """Rhythms in process starts: the first exec of each process; what could not be run never started."""
    rows = np.flatnonzero(lives.start_ns != NULL)
    rows = rows[np.argsort(lives.start_ns[rows], kind="stable")]
    train = Train("exec", Times.of(lives.start_ns[rows]), labels(lives)[rows], rows)
    groups = list(process_groups(train, lives))
    families = _families(train, _candidates(train, groups, start_ns, end_ns))
    steady = _steady(train, groups, [family[0] for family in families], end_ns - start_ns)
    return (*(_of_family(train, family, lives) for family in families), *steady)


def event_patterns(train: Train, groups: dict[str, Codes], start_ns: int, end_ns: int) -> tuple[Pattern, ...]:
    """Rhythms in other events, as a whole and by each of `groups`."""
    found = [Group({"all": train.event}, 9, np.arange(len(train.times)))]
    for rank, (name, codes) in enumerate(groups.items(), 1):
        found.extend(by_code(name, codes, rank))
    candidates = _candidates(train, found, start_ns, end_ns)
    candidates = [*candidates, *_rounds(train, found, candidates, (start_ns, end_ns))]
    chosen = [_best(family) for family in _families(train, candidates)]
    chosen = [one for one in chosen if not _is_trivial(one.rhythm)]
    chosen = [one for one in chosen if not _is_counted(train, one, found)]
    told: list[Pattern] = []
    for pattern in (pattern_of(train, one) for one in chosen):
        if not any(_moves_with(pattern, other) for other in told):
            told.append(pattern)
    return (*told, *_steady(train, found, chosen, end_ns - start_ns))


def _is_counted(train: Train, one: Candidate, groups: list[Group]) -> bool:
    return is_counted(one.rhythm, one.group.rows, [group.rows for group in groups], train.times.begin_ns)


def _is_trivial(rhythm: Rhythm) -> bool:
    return rhythm.burst_size == 1 and rhythm.period_ns < TRIVIAL_NS


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
            one = Candidate(Group(group.scope, group.rank, rows), rhythm, rhythm.members())
            found.append((one, rhythm_pattern(event, group, rhythm, events)))
    found.sort(key=lambda each: (-each[1].events * max(each[0].told, 0), each[0].group.rank))
    told: tuple[Pattern, ...] = ()
    for _, pattern in found:
        told += without_echoes(told, (pattern,))
    return list(told)


def steady_pattern(
    event: str, scope: dict[str, str], times: Times, events: int, duration_ns: int, cells: int
) -> Pattern | None:
    """The steady rate of a group of which only counts in cells are kept; null if it has none."""
    if times.span_ns() < STEADY_SPAN * duration_ns or not is_steady(times, duration_ns // cells):
        return None
    return stream_pattern(event, scope, times, events)


# --- echoes ----------------------------------------------------------------------------------------------------


def without_echoes(patterns: tuple[Pattern, ...], others: tuple[Pattern, ...]) -> tuple[Pattern, ...]:
    """The `others` that do not merely follow one of the `patterns`: each process of a burst opens files, too."""
    return tuple(other for other in others if not any(_echoes(pattern, other) for pattern in patterns))


def _echoes(pattern: Pattern, other: Pattern) -> bool:
    together = min(pattern.end_ns, other.end_ns) - max(pattern.start_ns, other.start_ns)
    if "steady" in (pattern.kind, other.kind) or together < OVERLAP * (other.end_ns - other.start_ns):
        return False
    alike = abs(pattern.period_ns - other.period_ns) <= _SAME_PERIOD * pattern.period_ns
    if alike:
        return True
    apart = _apart(other, pattern)
    near = IN_STEP * pattern.period_ns
    if apart is None or robust_deviation(apart) > near:
        return False
    return bool(-near <= np.median(apart) <= pattern.burst_duration_ns + near)


def _apart(one: Pattern, other: Pattern) -> Floats | None:
    """How long after one of the other each burst begins, in nanoseconds; null if not each has one of its own."""
    mine, beats = (np.array(each.beats_ns, dtype=np.int64) for each in (one, other))
    if min(len(mine), len(beats)) < MIN_CYCLES:
        return None
    margin = other.period_ns // 2
    # Of either so many are kept, and those of a part of the recording.
    begin, end = max(mine[0], beats[0]) - margin, min(mine[-1], beats[-1]) + margin
    mine, beats = (each[(each >= begin) & (each <= end)] for each in (mine, beats))
    if min(len(mine), len(beats)) < MIN_CYCLES:
        return None
    nearest = _nearest(mine, beats)
    if len(np.unique(nearest)) < NEARLY_ALL * max(len(mine), len(beats)):
        return None
    return np.asarray(mine - beats[nearest], dtype=np.float64)


def _moves_with(one: Pattern, other: Pattern) -> bool:
    """Whether each burst comes as early or late as one of the other does: they have the same cause."""
    apart = _apart(one, other)
    return apart is not None and robust_deviation(apart) < WITH * one.jitter * one.period_ns


def _nearest(begin: Ints, beats: Ints) -> Ints:
    """The position of the beat that is nearest to each time."""
    later = np.clip(np.searchsorted(beats, begin), 1, len(beats) - 1)
    return np.where(beats[later] - begin < begin - beats[later - 1], later, later - 1)


# --- choice ----------------------------------------------------------------------------------------------------


def _candidates(train: Train, groups: list[Group], start_ns: int, end_ns: int) -> list[Candidate]:
    """The groups that show a rhythm."""
    found = []
    for group in groups:
        times = train.times[group.rows]
        if len(times) < MIN_CYCLES or times.span_ns() < MIN_SPAN * (end_ns - start_ns):
            continue
        rhythm = find_rhythm(times, start_ns, end_ns)
        if rhythm is not None and times[rhythm.members()].span_ns() >= MIN_SPAN * (end_ns - start_ns):
            found.append(Candidate(group, rhythm, group.rows[rhythm.members()]))
    return found


def _families(train: Train, candidates: list[Candidate]) -> list[list[Candidate]]:
    """The groups that show a rhythm, those together that show the same one, the one that tells most first."""
    found = candidates.copy()
    found.sort(key=lambda one: (-len(one.members) * max(one.told, 0), one.group.rank, len(one.group.rows)))
    families: list[list[Candidate]] = []
    while found:
        inside = _inside(train, found[0].members)
        of_round = found[0].is_round  # whose parts have other beats
        same = [
            (of_round and inside[one.members].mean() >= NEARLY_ALL)
            or (inside[one.members].mean() >= OVERLAP and _in_step(train, one, found[0]))
            or (inside[one.members].mean() >= COVERAGE and _about_as_often(one, found[0]))
            or _is_part_of_it(one, found[0])
            for one in found
        ]
        families.append([one for one, its in zip(found, same, strict=True) if its])
        found = [one for one, its in zip(found, same, strict=True) if not its]
    return families


def _rounds(train: Train, groups: list[Group], found: list[Candidate], frame: tuple[int, int]) -> Iterator[Candidate]:
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
            yield Candidate(group, rhythm, group.rows[rhythm.members()], is_round=True)


def _whole_of(groups: list[Group], inside: Bools) -> Group | None:
    """The most telling group that has nearly all of these events, and not much else."""
    most = NEARLY_ALL * int(inside.sum())
    fitting = [group for group in groups if most <= inside[group.rows].sum() >= NEARLY_ALL * len(group.rows)]
    return min(fitting, key=lambda group: (group.rank, len(group.rows)), default=None)


def _is_told(whole: Candidate, part: Candidate, inside: Bools) -> bool:
    """Whether a group shows nearly all of these events by itself: to the beat of a part, or at even distances."""
    same = abs(whole.rhythm.period_ns - part.rhythm.period_ns) <= _SAME_PERIOD * part.rhythm.period_ns
    most = inside[whole.members].sum() >= NEARLY_ALL * inside.sum()
    return bool(most and (same or whole.rhythm.variation < UNEVEN))


def _round(train: Train, group: Group, parts: list[Candidate], inside: Bools, frame: tuple[int, int]) -> Rhythm | None:
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


def _phase_ns(train: Train, one: Candidate, other: Candidate) -> float | None:
    """How long after the beats of the other those of one come; null if at no certain distance."""
    begin, beats = (train.times.begin_ns[each.group.rows[each.rhythm.first]] for each in (one, other))
    last = np.searchsorted(beats, begin, side="right") - 1
    since = (begin - beats[last])[last >= 0].astype(np.float64)
    period = other.rhythm.period_ns
    # About the beat itself, some come before it and some after.
    since = np.where(since > np.median(since) + period / 2, since - period, since) if len(since) else since
    certain = len(since) >= MIN_CYCLES and robust_deviation(since) <= IN_STEP * period
    return float(np.median(since)) if certain else None


def _is_part_of_it(one: Candidate, other: Candidate) -> bool:
    """Whether a group that has all of the other sees its beats or each second, third or fourth, less well."""
    ratio = one.rhythm.period_ns / other.rhythm.period_ns
    multiple = 1 <= round(ratio) <= MOST_MISSED_IN_A_ROW and abs(ratio - round(ratio)) <= _SAME_PERIOD * ratio
    if not multiple or one.group.rank == other.group.rank:
        return False
    wider, within = (one, other) if len(one.group.rows) >= len(other.group.rows) else (other, one)
    return wider.told < within.told and bool(np.isin(within.members, wider.group.rows).mean() >= NEARLY_ALL)


def _about_as_often(one: Candidate, other: Candidate) -> bool:
    """Whether two that share most of their events have nearly the same period: others blur the beats of one."""
    return abs(one.rhythm.period_ns - other.rhythm.period_ns) <= IN_STEP * other.rhythm.period_ns


def _in_step(train: Train, one: Candidate, other: Candidate) -> bool:
    """Whether the bursts of one come at the same time after those of the other, as chance meetings do not."""
    begin, beats = (train.times.begin_ns[each.group.rows[each.rhythm.first]] for each in (one, other))
    apart = (begin - beats[_nearest(begin, beats)]).astype(np.float64)
    return robust_deviation(apart) <= IN_STEP * other.rhythm.period_ns


def _inside(train: Train, rows: Ints) -> Bools:
    inside = np.zeros(len(train.times), dtype=np.bool_)
    inside[rows] = True
    return inside


def _steady(train: Train, groups: list[Group], rhythms: list[Candidate], duration_ns: int) -> list[Pattern]:
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
        patterns.append(stream_pattern(train.event, one.scope, train.times[one.rows], len(train.times)))
        found = [group for group in found if inside[group.rows].mean() < OVERLAP]
    return patterns


def _goes_on(times: Times, duration_ns: int) -> bool:
    return times.span_ns() >= STEADY_SPAN * duration_ns and is_steady(times)


def _best(family: list[Candidate]) -> Candidate:
    """Of those that hold nearly all of the rhythm, and of which it tells nearly the most, the most telling group."""
    large = [one for one in family if len(one.members) >= COVERAGE * len(family[0].members)]
    most = max(one.told for one in large)
    return min((one for one in large if one.told >= most - PURE), key=_order)


def _order(one: Candidate) -> tuple[int, int, float]:
    return one.group.rank, len(one.group.rows), one.group.distance


def _of_family(train: Train, family: list[Candidate], lives: Lives) -> Pattern:
    one, relation = _started_by(train, family, lives)
    return process_pattern(train, one, lives, relation)


def _started_by(train: Train, family: list[Candidate], lives: Lives) -> tuple[Candidate, str]:
    """The best of a family, and what its bursts are to the parent of its scope.

    A far ancestor has all that its descendants start, and other work may look like more rounds of the same: so
    whoever starts most of the bursts is preferred to it.
    """
    best = _best(family)
    burst = np.repeat(np.arange(best.rhythm.cycles), best.rhythm.last - best.rhythm.first + 1)
    tops = [one.group.top for one in family if one.group.top != NULL]
    above = _outside(train.life[best.members], burst, tops, lives)
    starter = _starter(above, burst)
    if starter == NULL:
        return best, _below(above, lives)
    if starter == best.group.top:
        return best, STARTED_BY
    started = int((above == starter).sum())
    nearer = [
        one
        for one in family
        if one.group.top == starter and len(one.members) >= COVERAGE * started and one.purity >= best.purity - PURER
    ]
    return (min(nearer, key=_order), STARTED_BY) if nearer else (best, _below(above, lives))


def _starter(above: Ints, burst: Ints) -> int:
    """The life that starts most of the bursts; -1 if none starts half of them."""
    size = np.bincount(burst)
    # Each burst has one vote, however large it is.
    votes = np.bincount(above + 1, weights=1 / size[burst])
    votes[0] = 0
    return int(np.argmax(votes)) - 1 if votes.max() >= OVERLAP * len(size) else NULL


def _below(above: Ints, lives: Lives) -> str:
    """What is said of bursts that other processes start than the one above them all: these by their command."""
    names, counts = np.unique(lives.comm.codes[above[above != NULL]], return_counts=True)
    name = lives.comm.name(int(names[np.argmax(counts)])) if counts.max(initial=0) >= NEARLY_ALL * len(above) else None
    return f"{STARTED_BY} {name} {BELOW}" if name else BELOW


def _outside(life: Ints, burst: Ints, tops: list[int], lives: Lives) -> Ints:
    """Who started each of these lives, or whatever started it within its own burst; -1 if unknown."""
    burst_of = np.full(len(lives) + 1, NULL, dtype=np.int64)
    burst_of[life] = burst
    # A fork that runs no program of its own is a part of its parent, such as a subshell.
    mere_fork = np.append(lives.forked & (lives.exec_ns == NULL), False)
    # Whoever has a rhythm below it is no part of a round.
    burst_of[tops], mere_fork[tops] = NULL, False
    parent, above = np.append(lives.parent, NULL), lives.parent[life]
    for _ in range(MAX_ANCESTORS):
        inner = (burst_of[above] == burst) | mere_fork[above]
        if not inner.any():
            break
        above = np.where(inner, parent[above], above)
    return above
