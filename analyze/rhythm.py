"""Rhythm in a train of times: bursts, or single events, at nearly equal distances.

Where some distance between events divides them into clusters whose starts are regular, those are the bursts; small
clusters between them are background. Many distances are tried, and the one that explains most is taken.
Regularity that chance may give to few distances does not count: the fewer, the more regular they must be.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracekit.analyze.beats import MIN_BEATS, MOST_POINTS, find_chain, periods
from tracekit.analyze.columns import Bools, Floats, Ints, radix

MIN_CYCLES = 4
MAX_VARIATION = 0.25
#: The variation of 3, 4, ... exponential gaps that chance undercuts once in 10,000 times (simulated).
CHANCE = (0.012, 0.045, 0.09, 0.13, 0.185, 0.21, MAX_VARIATION)
#: The same, three times in 10,000: for bursts whose events are many, which are evidence themselves.
CHANCE_OF_BURSTS = (0.018, 0.062, 0.117, 0.17, 0.22, MAX_VARIATION)
#: The same, seven times in 10,000: for bursts of equal size.
CHANCE_OF_EQUALS = (0.027, 0.08, 0.15, 0.2, 0.24, MAX_VARIATION)
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
#: ... or so many times, if bursts are as large as each other, but for the rest of this part. More than twice: that
#: is what one missed beat makes.
MIN_CONTRAST_OF_EQUALS, EQUAL = 2.2, 0.9
#: Of scales that explain the events alike, up to this part, the one with the most regular bursts is taken.
NEARLY = 0.01
#: Events are so many times as dense in bursts as they are in the background.
MIN_DENSITY = 5
#: Of the beats of a rhythm so many may be missed, where there are enough of them to tell.
MAX_MISSED, MIN_CYCLES_TO_MISS, MOST_MISSED_IN_A_ROW, MAX_VARIATION_TO_MISS = 0.3, 10, 4, 0.1
#: Where three in ten are missed at chance, distances vary by 0.55; those of chance vary by 1.
MAX_RAW_VARIATION = 0.65
#: What is cut by an end of the recording is at most so many times as large and long as the largest whole burst.
MAX_CUT = 1.25
MAX_LENGTH_DEVIATION = 0.1
MAX_SIZE_VARIATION = 0.35
#: Among others, events so close together are one beat, over the period.
CLOSE = 0.02
#: Single events that vary by more are looked at again: others may be among them, and without these, which are no more
#: than the rest of this part, they vary by half of that.
UNEVEN, ENOUGH = 0.1, 0.7
#: A number of other events in a burst that is less probable does not count against a size of bursts any more.
RARE = 0.001
#: How many distances to divide at, of few and of many events.
_SCALES, _FEWER_SCALES, _MANY_EVENTS = 64, 24, 20_000
#: Distances are told apart by this part of an octave.
_STEPS = 64


@dataclass(frozen=True)
class Times:
    """A train of events in time order.

    An element is one event; or several, merged because they were closer than whatever is asked about.

    Attributes:
        begin_ns: when the first event of each element happened.
        end_ns: when its last one did; before the next element begins.
        count: how many events it is.
    """

    begin_ns: Ints
    end_ns: Ints
    count: Ints

    @staticmethod
    def of(times_ns: Ints) -> "Times":
        """Single events; `times_ns` is sorted."""
        return Times(times_ns, times_ns, np.ones(len(times_ns), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.begin_ns)

    def __getitem__(self, rows: Any) -> "Times":
        return Times(self.begin_ns[rows], self.end_ns[rows], self.count[rows])

    @functools.cached_property
    def before(self) -> Ints:
        """Events before each element, and, last, all events."""
        return np.concatenate(([0], np.cumsum(self.count)))

    @functools.cached_property
    def gaps(self) -> Ints:
        """From the end of each element to the beginning of the next."""
        return self.begin_ns[1:] - self.end_ns[:-1]

    @property
    def events(self) -> int:
        """How many events."""
        return int(self.before[-1])

    def span_ns(self) -> int:
        """From the first event to the last; 0 if there is none."""
        return int(self.end_ns[-1] - self.begin_ns[0]) if len(self) else 0


@dataclass(frozen=True)
class Rhythm:
    """Bursts found in times; positions refer to the elements of the train.

    Attributes:
        first: position of the first element of each burst.
        last: position of its last.
        size: events of each burst.
        whole: which bursts the recording has from beginning to end.
        jitter: robust standard deviation of the period, over the period.
        excess: events in bursts beyond twice what the background would leave in and beside them: a wide scale takes
            background for a part of the bursts, a narrow one their stragglers for background.
        variation: plain standard deviations of period and length of the bursts, over the period.
    """

    first: Ints
    last: Ints
    size: Ints
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
        return int(self.size.sum())

    def members(self) -> Ints:
        """Positions of the elements within bursts."""
        elements = self.last - self.first + 1
        offset = np.arange(int(elements.sum())) - np.repeat(np.cumsum(elements) - elements, elements)
        return np.asarray(np.repeat(self.first, elements) + offset)


@dataclass(frozen=True)
class _Frame:
    times: Times
    start_ns: int
    end_ns: int


def find_rhythm(times: Times, start_ns: int, end_ns: int) -> Rhythm | None:
    """The rhythm that explains most of the times; null if there is none.

    Args:
        start_ns: when the recording began.
        end_ns: when it ended: a burst beside either may be cut.
    """
    if len(times) < MIN_CYCLES:
        return None
    frame = _Frame(times, start_ns, end_ns)
    found = _of_scales(frame)
    if found is not None and (found.burst_size > 1 or found.variation < UNEVEN):
        return found
    # Where others come between, or where single events vary much, a part of them may keep a beat.
    part = _among_others(frame)
    if found is None or (part and part.events >= ENOUGH * found.events and part.variation < found.variation / 2):
        return part
    return found


def rhythm_of(times: Times, first: Ints, last: Ints, start_ns: int, end_ns: int) -> Rhythm | None:
    """The rhythm of bursts that are told apart already, from one position to another; null if they are not alike."""
    bursts = _Bursts(_Frame(times, start_ns, end_ns), first, last, 0)
    return bursts.rhythm() if bursts.are_regular() and bursts.are_alike() else None


def _of_scales(frame: _Frame) -> Rhythm | None:
    """The bursts that some distance divides from each other, and, by their size, from all else."""
    gaps, every = frame.times.gaps, np.arange(len(frame.times))
    clusters = _Clusters(every, every, gaps)
    found: list[Rhythm] = []
    looked_at = 0
    for scale in _scales(gaps):
        clusters = clusters.within(scale)
        if len(clusters.first) < MIN_CYCLES:
            break
        if len(clusters.first) != looked_at:
            found += _at_scale(frame, clusters, scale)
        looked_at = len(clusters.first)
    most = max((rhythm.excess for rhythm in found), default=0.0)
    return min(
        (rhythm for rhythm in found if rhythm.excess >= most - NEARLY * rhythm.events),
        key=lambda rhythm: (round(rhythm.variation, 3), -rhythm.events),
        default=None,
    )


def _among_others(frame: _Frame) -> Rhythm | None:
    """Single events, or bursts of a few, that keep a beat while as many others come between."""
    times = frame.times
    if not MIN_BEATS <= len(times) <= MOST_POINTS:
        return None
    every = np.arange(len(times))
    alone = _Clusters(every, every, times.gaps)
    best: tuple[float, Rhythm] | None = None
    for period in periods(times.begin_ns):
        clusters = alone.within(int(period * CLOSE))
        size = times.before[clusters.last + 1] - times.before[clusters.first]
        for least in range(1, FEW):
            large = np.flatnonzero(size >= least)
            chain = find_chain(times.begin_ns[clusters.first[large]], period)
            if chain is not None and (best is None or chain.excess > best[0]):
                rows = large[chain.rows]
                bursts = _Bursts(frame, clusters.first[rows], clusters.last[rows], int(period * CLOSE))
                best = chain.excess, bursts.rhythm()
    return best[1] if best else None


@dataclass(frozen=True)
class _Clusters:
    """Runs of elements, and the gaps between them."""

    first: Ints
    last: Ints
    gaps: Ints

    def within(self, scale: int) -> "_Clusters":
        """These with all merged between which there is no more than a distance."""
        cut = np.flatnonzero(self.gaps > scale)
        if len(cut) == len(self.gaps):
            return self
        first, last = np.concatenate(([0], cut + 1)), np.append(cut, len(self.last) - 1)
        return _Clusters(self.first[first], self.last[last], self.gaps[cut])


def _scales(gaps: Ints) -> list[int]:
    """Distances to divide at, rising: one in each stretch without any that is wide enough to matter, and a grid."""
    least = int(gaps.min())
    steps = (np.log2(np.maximum(gaps, 1)) * _STEPS).astype(np.int64)
    taken = np.flatnonzero(np.bincount(steps))
    count = _SCALES if len(gaps) < _MANY_EVENTS else _FEWER_SCALES
    widest = np.argsort(-np.diff(taken), kind="stable")[: count // 4]
    between = (taken[widest] + 1 + taken[widest + 1]) / 2
    grid = np.linspace(taken[0], taken[-1] + 1, count)[1:-1]
    return [least - 1, *(int(scale) for scale in np.exp2(np.sort(np.concatenate((between, grid))) / _STEPS))]


def _at_scale(frame: _Frame, clusters: _Clusters, scale: int) -> list[Rhythm]:
    first, last, before = clusters.first, clusters.last, frame.times.before
    size = before[last + 1] - before[first]
    ordered = np.sort(radix(size), kind="stable").astype(np.int64)
    # A burst is as large as the cluster of the typical event, or, in much background, as the few largest clusters;
    # what is smaller than half of that is background.
    typical = int(ordered[np.searchsorted(np.cumsum(ordered), before[-1] / 2)])
    found = []
    for least in {max(math.ceil(usual / 2), 1) for usual in (typical, int(ordered[-MIN_CYCLES]))}:
        large = slice(None) if least <= ordered[0] else size >= least
        found.append(_regular(frame, first[large], last[large], scale))
    return [rhythm for rhythm in found if rhythm is not None]


def _regular(frame: _Frame, first: Ints, last: Ints, scale: int) -> Rhythm | None:
    """The rhythm of these bursts if it is one."""
    if len(first) >= MIN_CYCLES:
        first, last = _without_strangers(frame, first, last, scale)
    if len(first) < MIN_CYCLES or _vary_too_much(np.diff(frame.times.begin_ns[first[1:]])):
        return None
    bursts = _Bursts(frame, first, last, scale)
    return bursts.rhythm() if bursts.are_regular() and bursts.are_alike() and bursts.stand_out() else None


def _vary_too_much(distances: Ints) -> bool:
    """Whether distances can be no rhythm, whatever beats were missed: cheap, and so at nearly all scales."""
    limit = MAX_RAW_VARIATION if len(distances) >= MIN_CYCLES_TO_MISS - 1 else 1.2 * MAX_VARIATION
    # The deviation by its definition takes several times as long; where it is much less than the mean, this errs, but
    # then neither is near the limit.
    apart = distances.astype(np.float64)
    mean = float(apart.sum()) / len(apart)
    return float(apart @ apart) / len(apart) > (1 + limit**2) * mean**2


def _without_strangers(frame: _Frame, first: Ints, last: Ints, scale: int) -> tuple[Ints, Ints]:
    """All but clusters at the ends of the recording that exceed the others: no part of a burst is larger than one."""
    times = frame.times
    head = bool(times.begin_ns[first[0]] - frame.start_ns <= scale)
    tail = bool(frame.end_ns - times.end_ns[last[-1]] <= scale)
    if not (head or tail):
        return first, last
    begin, end = times.begin_ns[first], times.end_ns[last]
    size, length = times.before[last + 1] - times.before[first], end - begin
    strange = (size > MAX_CUT * size[1:-1].max()) | (length > MAX_CUT * length[1:-1].max())
    inner = slice(1 if head and strange[0] else 0, len(first) - (1 if tail and strange[-1] else 0))
    return first[inner], last[inner]


class _Bursts:
    """Candidates for bursts, and whether they deserve the name."""

    def __init__(self, frame: _Frame, first: Ints, last: Ints, scale: int) -> None:
        self.times, self.first, self.last, self.scale = frame.times, first, last, scale
        self.begin, self.end = self.times.begin_ns[first], self.times.end_ns[last]
        self.size = self.times.before[last + 1] - self.times.before[first]
        start_ns, end_ns = frame.start_ns, frame.end_ns
        # A single event has no part that could be missing.
        may_be_cut = bool(self.size.max() > 1)
        self.head_cut = may_be_cut and bool(self.begin[0] - start_ns <= scale)
        self.tail_cut = may_be_cut and bool(end_ns - self.end[-1] <= scale)
        self.periods, _ = folded(np.diff(self.begin)[1 if self.head_cut else 0 :])
        self.duration_ns = end_ns - start_ns
        self.pauses = np.append(self.begin, end_ns) - np.concatenate(([start_ns], self.end))

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
        return float((self.times.events - self.size.sum()) / max(self.duration_ns - self.inside, 1))

    @property
    def others(self) -> float:
        """How many events of the background a whole burst has.

        Those beside it that are taken for a part of it also make it longer, by less than their distance from others:
        at chance they are as many as if it reached further by the scale on either side.
        """
        beside = 2 * self.scale
        free = float(np.maximum(self.pauses - beside, self.pauses / 2).sum())
        length = float((self.end - self.begin)[self.whole].mean())
        return float((self.times.events - self.size.sum()) / max(free, 1) * (length + beside))

    @functools.cached_property
    def excess(self) -> float:
        return float(self.size.sum() - 2 * self.background * (self.inside + 2 * self.scale * len(self.first)))

    def are_regular(self) -> bool:
        if len(self.periods) < MIN_CYCLES - 1 or np.std(self.periods) > MAX_VARIATION * np.mean(self.periods):
            return False
        return is_regular(self.periods, int(np.median(self.size)), equal=self.are_equal())

    def are_alike(self) -> bool:
        """Whether bursts are like each other in length and size, as the clusters of chance are not."""
        size, length = self.size[self.whole], (self.end - self.begin)[self.whole] / np.median(self.periods)
        if np.median(size) == 1:
            return bool((size > 1).sum() <= MAX_TWINS * len(size))
        return bool(np.std(length) <= MAX_LENGTH_DEVIATION and np.std(size) <= MAX_SIZE_VARIATION * np.mean(size))

    def are_equal(self) -> bool:
        """Whether nearly all are of the very same size, of two events or more."""
        size = self.size[self.whole]
        return bool(np.median(size) > 1 and (size == np.median(size)).mean() >= EQUAL)

    def stand_out(self) -> bool:
        """Whether pauses are longer than any distance within, and events much denser than around."""
        steps = self.times.gaps[: self.last[-1]][_inner(self.first, self.last)]
        contrast = MIN_CONTRAST_OF_EQUALS if self.are_equal() else MIN_CONTRAST
        if np.median(self.begin[1:] - self.end[:-1]) < contrast * steps.max(initial=0):
            return False
        if 1 < np.median(self.size) <= FEW and self.excess < MIN_EXCESS_OF_FEW * self.times.events:
            return False
        return bool(self.size.sum() - len(self.size) >= MIN_DENSITY * self.background * self.inside)

    def rhythm(self) -> Rhythm:
        period, lengths = float(np.median(self.periods)), (self.end - self.begin)[self.whole]
        length = float(np.median(lengths))
        known = slice(1 if self.head_cut else 0, None)
        return Rhythm(
            first=self.first,
            last=self.last,
            size=self.size,
            whole=self.whole,
            period_ns=round(period),
            pause_ns=round(float(np.median(self.begin[1:] - self.end[:-1]))),
            burst_size=usual_size(self.size[self.whole], self.others),
            burst_duration_ns=round(length),
            jitter=round(robust_deviation(self.periods) / period, 6),
            excess=self.excess,
            variation=float((np.std(self.periods) + np.std(lengths)) / period),
            clock=keeps_clock(self.begin[known], self.end[known]),
        )


def usual_size(sizes: Ints, others: float) -> int:
    """The usual size of bursts in which there are so many other events on average, at chance; at least 1.

    The median less the median of others; or, if nearly all bursts can be of one size, the likeliest one.
    """
    median = int(np.sort(sizes)[len(sizes) // 2])
    if median == 1:
        return 1
    chance = _chance_of(others)
    middle = median - int(np.searchsorted(np.cumsum(np.exp(chance)), 0.5))
    least = math.log(RARE)
    chance = np.pad(np.maximum(chance, least), 1, constant_values=least)
    steps = math.ceil(2 * math.sqrt(others))
    tried = np.arange(middle - steps, middle + steps + 1)
    values, counts = np.unique(sizes, return_counts=True)
    told = chance[np.clip(values - tried[:, None], -1, len(chance) - 2) + 1]
    best = int(np.argmax(told @ counts))
    one_size = counts[told[best] > least].sum() >= EQUAL * len(sizes)
    return max(int(tried[best]) if one_size else middle, 1)


def _chance_of(others: float) -> Floats:
    """The logarithm of how probable 0, 1, 2, ... others are (Poisson), as far as it matters."""
    most = math.ceil(others + 10 * math.sqrt(others)) + 10
    return np.cumsum(np.log(np.append(1, max(others, RARE) / np.arange(1, most)))) - others


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


def is_regular(periods: Floats, burst_size: int = 1, *, equal: bool = False) -> bool:
    """Whether distances are more alike than chance makes them: by the robust and by the plain variation.

    Args:
        equal: whether bursts are as large as each other, which is evidence, too.
    """
    median = float(np.median(periods))
    limits = CHANCE if burst_size <= FEW else CHANCE_OF_EQUALS if equal else CHANCE_OF_BURSTS
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
