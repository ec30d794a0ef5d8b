"""Rhythm in a train of times: bursts, or single events, at nearly equal distances.

Where some distance between events divides them into clusters whose starts are regular, those are the bursts; small
clusters between them are background. Many distances are tried, and the one that explains most is taken.
Regularity that chance may give to few distances does not count: the fewer, the more regular they must be.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np

from tracekit.analyze.columns import Bools, Floats, Ints

MIN_CYCLES = 4
MAX_VARIATION = 0.25
#: The variation of 3, 4, ... exponential gaps that chance undercuts once in 10,000 times (simulated).
CHANCE = (0.012, 0.045, 0.09, 0.13, 0.185, 0.21, MAX_VARIATION)
#: The same, three times in 10,000: for bursts whose events are many, which are evidence themselves.
CHANCE_OF_BURSTS = (0.018, 0.062, 0.117, 0.17, 0.22, MAX_VARIATION)
#: Bursts of at most so many events.
FEW = 5
#: Chance has many scales at which to cluster a few events: then regularity must be so much greater.
FEW_SHARE = 0.5
#: ... and nearly all events must belong to them. A group with much else in it is looked at in parts.
MIN_EXCESS_OF_FEW = 0.7
#: Of single events at equal distances, the part that may have another one beside it.
MAX_TWINS = 0.1
#: A pause is at least so many times as long as any distance within a burst.
MIN_CONTRAST = 3
#: Of scales that explain the events alike, up to this part, the one with the most regular bursts is taken.
NEARLY = 0.01
#: Events are so many times as dense in bursts as they are in the background.
MIN_DENSITY = 5
#: Of the beats of a rhythm so many may be missed, where there are enough of them to tell.
MAX_MISSED, MIN_CYCLES_TO_MISS, MOST_MISSED_IN_A_ROW, MAX_VARIATION_TO_MISS = 0.3, 10, 4, 0.1
#: What is cut by an end of the recording is at most so many times as large and long as the largest whole burst.
MAX_CUT = 1.25
MAX_LENGTH_DEVIATION = 0.1
MAX_SIZE_VARIATION = 0.35
#: How many distances to divide at, of few and of many events.
_SCALES, _FEWER_SCALES, _MANY_EVENTS = 64, 24, 20_000


@dataclass(frozen=True)
class Rhythm:
    """Bursts found in times; positions refer to the sorted times.

    Attributes:
        first: position of the first event of each burst.
        last: position of its last.
        whole: which bursts the recording has from beginning to end.
        jitter: robust standard deviation of the period, over the period.
        excess: events in bursts beyond twice what the background would leave in and beside them: a wide scale takes
            background for a part of the bursts, a narrow one their stragglers for background.
        variation: plain standard deviations of period and length of the bursts, over the period.
    """

    first: Ints
    last: Ints
    whole: Bools
    period_ns: int
    pause_ns: int
    burst_size: int
    burst_duration_ns: int
    jitter: float
    excess: float
    variation: float
    clock: bool | None

    @property
    def cycles(self) -> int:
        """How many bursts."""
        return len(self.first)

    @property
    def events(self) -> int:
        """Events within bursts."""
        return int((self.last - self.first + 1).sum())

    def members(self) -> Ints:
        """Positions of the events within bursts."""
        sizes = self.last - self.first + 1
        offset = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return np.asarray(np.repeat(self.first, sizes) + offset)


def find_rhythm(times_ns: Ints, start_ns: int, end_ns: int) -> Rhythm | None:
    """The rhythm that explains most of the times; null if there is none.

    Args:
        times_ns: sorted.
        start_ns: when the recording began.
        end_ns: when it ended: a burst beside either may be cut.
    """
    if len(times_ns) < MIN_CYCLES:
        return None
    gaps = np.diff(times_ns)
    found = [r for scale in _scales(gaps) for r in _at_scale(times_ns, gaps, scale, start_ns, end_ns)]
    most = max((rhythm.excess for rhythm in found), default=0.0)
    return min(
        (rhythm for rhythm in found if rhythm.excess >= most - NEARLY * rhythm.events),
        key=lambda rhythm: (round(rhythm.variation, 3), -rhythm.events),
        default=None,
    )


def _scales(gaps: Ints) -> list[int]:
    """Distances to divide at, one in each stretch between neighbouring distances that is wide enough to matter."""
    ordered = np.unique(gaps)
    logs = np.log2(np.maximum(ordered, 1))
    if len(ordered) == 1:
        return [int(ordered[0]) - 1]
    width = np.diff(logs)
    count = _SCALES if len(gaps) < _MANY_EVENTS else _FEWER_SCALES
    widest = np.argsort(-width, kind="stable")[: count // 4]
    between = np.exp2((logs[widest] + logs[widest + 1]) / 2)
    grid = np.exp2(np.linspace(logs[0], logs[-1], count)[1:-1])
    return [int(ordered[0]) - 1, *(int(scale) for scale in np.concatenate((between, grid)))]


def _at_scale(times: Ints, gaps: Ints, scale: int, start_ns: int, end_ns: int) -> list[Rhythm]:
    first = np.concatenate(([0], np.flatnonzero(gaps > scale) + 1))
    last = np.append(first[1:], len(times)) - 1
    if len(first) < MIN_CYCLES:
        return []
    size = last - first + 1
    ordered = np.sort(size)
    # A burst is as large as the cluster of the typical event, or, in much background, as the few largest clusters;
    # what is smaller than half of that is background.
    typical = int(ordered[np.searchsorted(np.cumsum(ordered), len(times) / 2)])
    bounds = {max(math.ceil(usual / 2), 1) for usual in (typical, int(ordered[-MIN_CYCLES]))}
    found = [_regular(times, first[size >= least], last[size >= least], scale, start_ns, end_ns) for least in bounds]
    return [rhythm for rhythm in found if rhythm is not None]


def _regular(times: Ints, first: Ints, last: Ints, scale: int, start_ns: int, end_ns: int) -> Rhythm | None:
    """The rhythm of these bursts if it is one."""
    if len(first) >= MIN_CYCLES:
        first, last = _without_strangers(times, first, last, scale, start_ns, end_ns)
    if len(first) < MIN_CYCLES:
        return None
    bursts = _Bursts(times, first, last, scale, start_ns, end_ns)
    return bursts.rhythm() if bursts.are_regular() and bursts.are_alike() and bursts.stand_out() else None


def _without_strangers(
    times: Ints, first: Ints, last: Ints, scale: int, start_ns: int, end_ns: int
) -> tuple[Ints, Ints]:
    """All but clusters at the ends of the recording that exceed the others: no part of a burst is larger than one."""
    head, tail = times[first[0]] - start_ns <= scale, end_ns - times[last[-1]] <= scale
    if not (head or tail):
        return first, last
    size, length = last - first + 1, times[last] - times[first]
    strange = (size > MAX_CUT * size[1:-1].max()) | (length > MAX_CUT * length[1:-1].max())
    inner = slice(1 if head and strange[0] else 0, len(first) - (1 if tail and strange[-1] else 0))
    return first[inner], last[inner]


class _Bursts:
    """Candidates for bursts, and whether they deserve the name."""

    def __init__(self, times: Ints, first: Ints, last: Ints, scale: int, start_ns: int, end_ns: int) -> None:
        self.times, self.first, self.last, self.scale = times, first, last, scale
        self.begin, self.end = times[first], times[last]
        self.size = last - first + 1
        # A single event has no part that could be missing.
        may_be_cut = bool(self.size.max() > 1)
        self.head_cut = may_be_cut and bool(self.begin[0] - start_ns <= scale)
        self.tail_cut = may_be_cut and bool(end_ns - self.end[-1] <= scale)
        self.periods, _ = folded(np.diff(self.begin)[1 if self.head_cut else 0 :])
        self.duration_ns = end_ns - start_ns

    @functools.cached_property
    def whole(self) -> Bools:
        whole = np.ones(len(self.first), dtype=np.bool_)
        whole[0], whole[-1] = not self.head_cut, not self.tail_cut
        return whole

    @functools.cached_property
    def inside(self) -> int:
        return int((self.end - self.begin).sum())

    @functools.cached_property
    def background(self) -> float:
        """Events in a nanosecond outside of bursts."""
        return float((len(self.times) - self.size.sum()) / max(self.duration_ns - self.inside, 1))

    @functools.cached_property
    def excess(self) -> float:
        return float(self.size.sum() - 2 * self.background * (self.inside + 2 * self.scale * len(self.first)))

    def are_regular(self) -> bool:
        # The plain variation first: it is cheap, and too great at nearly all scales.
        if len(self.periods) < MIN_CYCLES - 1 or np.std(self.periods) > MAX_VARIATION * np.mean(self.periods):
            return False
        return is_regular(self.periods, int(np.median(self.size)))

    def are_alike(self) -> bool:
        """Whether bursts are like each other in length and size, as the clusters of chance are not."""
        size, length = self.size[self.whole], (self.end - self.begin)[self.whole] / np.median(self.periods)
        if np.median(size) == 1:
            return bool((size > 1).sum() <= MAX_TWINS * len(size))
        return bool(np.std(length) <= MAX_LENGTH_DEVIATION and np.std(size) <= MAX_SIZE_VARIATION * np.mean(size))

    def stand_out(self) -> bool:
        """Whether pauses are longer than any distance within, and events much denser than around."""
        steps = np.diff(self.times[: self.last[-1] + 1])[_inner(self.first, self.last)]
        if np.median(self.begin[1:] - self.end[:-1]) < MIN_CONTRAST * steps.max(initial=0):
            return False
        if 1 < np.median(self.size) <= FEW and self.excess < MIN_EXCESS_OF_FEW * len(self.times):
            return False
        return bool(self.size.sum() - len(self.size) >= MIN_DENSITY * self.background * self.inside)

    def rhythm(self) -> Rhythm:
        period, lengths = float(np.median(self.periods)), (self.end - self.begin)[self.whole]
        length = float(np.median(lengths))
        size = int(np.sort(self.size[self.whole])[int(self.whole.sum()) // 2])
        known = slice(1 if self.head_cut else 0, None)
        return Rhythm(
            first=self.first,
            last=self.last,
            whole=self.whole,
            period_ns=round(period),
            pause_ns=round(float(np.median(self.begin[1:] - self.end[:-1]))),
            burst_size=max(size - round(self.background * length), 1),
            burst_duration_ns=round(length),
            jitter=round(robust_deviation(self.periods) / period, 6),
            excess=self.excess,
            variation=float((np.std(self.periods) + np.std(lengths)) / period),
            clock=keeps_clock(self.begin[known], self.end[known]),
        )


def _inner(first: Ints, last: Ints) -> Bools:
    """Which distances between neighbouring events lie within a burst."""
    step = np.zeros(int(last[-1]) + 2, dtype=np.int64)
    np.add.at(step, first, 1)
    np.add.at(step, last, -1)
    return np.asarray(np.cumsum(step)[: int(last[-1])] > 0)


def folded(distances: Ints) -> tuple[Floats, Ints]:
    """Distances between beats of which some were missed: each over the number of beats that it spans, and that number.

    As they are, where more than a few would be multiples of the usual one.
    """
    one = np.ones(len(distances), dtype=np.int64)
    if len(distances) < MIN_CYCLES_TO_MISS:
        return distances.astype(np.float64), one
    beats = np.maximum(np.rint(distances / max(float(np.median(distances)), 1.0)), 1).astype(np.int64)
    periods = distances / beats
    if (beats > 1).mean() > MAX_MISSED or beats.max() > MOST_MISSED_IN_A_ROW + 1:
        return distances.astype(np.float64), one
    if np.std(periods) > MAX_VARIATION_TO_MISS * np.mean(periods):
        return distances.astype(np.float64), one
    return periods, beats


def is_regular(periods: Floats, burst_size: int = 1) -> bool:
    """Whether distances are more alike than chance makes them: by the robust and by the plain variation."""
    median = float(np.median(periods))
    limits = CHANCE if burst_size <= FEW else CHANCE_OF_BURSTS
    limit = limits[min(len(periods) - 3, len(limits) - 1)] * (FEW_SHARE if 1 < burst_size <= FEW else 1)
    if median <= 0 or robust_deviation(periods) > limit * median:
        return False
    return bool(np.std(periods) <= limit * np.mean(periods))


def robust_deviation(values: Floats) -> float:
    """Standard deviation as the median distance from the median tells it."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def keeps_clock(begin: Ints, end: Ints) -> bool | None:
    """Whether bursts keep the beat of a clock (true), or each waits for the last one to end (false); null: unclear.

    A late round of a clock is followed by a short one; a late round of a loop delays all that follow. And a long
    burst shortens a clock's pause, but lengthens a loop's period.
    """
    distances = np.diff(begin)
    periods, beats = folded(distances)
    pauses = periods - (end - begin)[:-1]
    if len(periods) < MIN_CYCLES:
        return None
    spread, quiet = float(np.std(periods)), float(np.std(pauses))
    if spread < 0.5 * quiet:
        return True
    if quiet < 0.5 * spread:
        return False
    drift = _drift(distances - beats * np.median(periods))
    return None if len(periods) < 12 or 0.25 < drift < 0.5 else drift <= 0.25


def _drift(late: Floats) -> float:
    """Variance of sums of four delays over four times that of one: 1 for a loop, 1/4 for a clock."""
    centred: Floats = late - np.mean(late)
    total = np.concatenate(([0.0], np.cumsum(centred)))
    sums = total[4:] - total[:-4]
    return float(np.mean(sums**2) / max(4 * np.mean(centred**2), 1e-9))
