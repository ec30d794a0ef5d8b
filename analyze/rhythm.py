"""Rhythm in a train of times: bursts, or single events, at nearly equal distances.

Two methods together. Distances between events: where some distance divides events into clusters whose starts are
regular, those are the bursts; small clusters between them are background. Autocorrelation of counts: finds the period
of bursts that drown in a background, and the bursts are then looked for where it says.
Regularity that chance may give to few distances does not count: the fewer, the more regular they must be.
"""

import math
from dataclasses import dataclass

import numpy as np

from tracekit.analyze.columns import Bools, Floats, Ints

MIN_CYCLES = 4
MAX_VARIATION = 0.25
#: The variation of 3, 4, ... exponential gaps that chance undercuts once in 10,000 times (simulated).
CHANCE = (0.012, 0.045, 0.09, 0.13, 0.185, 0.21, MAX_VARIATION)
#: The same, once in 1,000: for bursts whose events are many, which are evidence themselves.
CHANCE_OF_BURSTS = (0.033, 0.094, 0.16, 0.21, MAX_VARIATION)
MANY = 5
#: Chance has many scales at which to cluster a few events: then regularity must be so much greater.
FEW_SHARE = 0.5
#: A pause is at least so many times as long as any distance within a burst.
MIN_CONTRAST = 3
#: Of scales that explain the events alike, up to this part, the one with the most regular bursts is taken.
NEARLY = 0.01
#: Events are so many times as dense in bursts as they are in the background.
MIN_DENSITY = 5
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
    if len(first) < MIN_CYCLES:
        return None
    begin, end = times[first], times[last]
    head_cut, tail_cut = begin[0] - start_ns <= scale, end_ns - end[-1] <= scale
    periods = np.diff(begin)[1 if head_cut else 0 :]
    if len(periods) < MIN_CYCLES - 1 or np.std(periods) > MAX_VARIATION * np.mean(periods):
        return None  # cheap, and true of nearly all scales
    size = last - first + 1
    if not is_regular(periods, int(np.median(size))):
        return None
    pauses = begin[1:] - end[:-1]
    if np.median(pauses) < MIN_CONTRAST * np.diff(times[: last[-1] + 1])[_inner(first, last)].max(initial=0):
        return None
    whole = np.ones(len(first), dtype=np.bool_)
    whole[0], whole[-1] = not head_cut, not tail_cut
    period, lengths = float(np.median(periods)), (end - begin)[whole]
    length = float(np.median(lengths))
    inside = int((end - begin).sum())
    background = (len(times) - size.sum()) / max(end_ns - start_ns - inside, 1)
    if not _alike(lengths / period, size[whole]) or size.sum() - len(size) < MIN_DENSITY * background * inside:
        return None
    return Rhythm(
        first,
        last,
        whole,
        round(period),
        round(float(np.median(pauses))),
        int(np.sort(size[whole])[int(whole.sum()) // 2] - round(background * length)),
        round(length),
        round(robust_deviation(periods) / period, 6),
        float(size.sum() - 2 * background * (inside + 2 * scale * len(first))),
        float((np.std(periods) + np.std(lengths)) / period),
        keeps_clock(begin[1:] if head_cut else begin, end[1:] if head_cut else end),
    )


def _alike(lengths: Floats, sizes: Ints) -> bool:
    """Whether bursts (lengths in periods) are like each other, as the clusters of chance are not."""
    return bool(np.std(lengths) <= MAX_LENGTH_DEVIATION and np.std(sizes) <= MAX_SIZE_VARIATION * np.mean(sizes))


def _inner(first: Ints, last: Ints) -> Bools:
    """Which distances between neighbouring events lie within a burst."""
    step = np.zeros(int(last[-1]) + 2, dtype=np.int64)
    np.add.at(step, first, 1)
    np.add.at(step, last, -1)
    return np.asarray(np.cumsum(step)[: int(last[-1])] > 0)


def is_regular(periods: Ints, burst_size: int = 1) -> bool:
    """Whether distances are more alike than chance makes them: by the robust and by the plain variation."""
    median = float(np.median(periods))
    limits = CHANCE if burst_size < MANY else CHANCE_OF_BURSTS
    limit = limits[min(len(periods) - 3, len(limits) - 1)] * (FEW_SHARE if 1 < burst_size < MANY else 1)
    if median <= 0 or robust_deviation(periods) > limit * median:
        return False
    return bool(np.std(periods) <= limit * np.mean(periods))


def robust_deviation(values: Ints) -> float:
    """Standard deviation as the median distance from the median tells it."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def keeps_clock(begin: Ints, end: Ints) -> bool | None:
    """Whether bursts keep the beat of a clock (true), or each waits for the last one to end (false); null: unclear.

    A late round of a clock is followed by a short one; a late round of a loop delays all that follow. And a long
    burst shortens a clock's pause, but lengthens a loop's period.
    """
    periods, pauses = np.diff(begin), begin[1:] - end[:-1]
    if len(periods) < MIN_CYCLES:
        return None
    spread, quiet = float(np.std(periods)), float(np.std(pauses))
    if spread < 0.5 * quiet:
        return True
    if quiet < 0.5 * spread:
        return False
    drift = _drift(periods)
    return None if len(periods) < 12 or 0.25 < drift < 0.5 else drift <= 0.25


def _drift(periods: Ints) -> float:
    """Variance of sums of four periods over four times that of one: 1 for a loop, 1/4 for a clock."""
    centred: Floats = periods - np.mean(periods)
    total = np.concatenate(([0.0], np.cumsum(centred)))
    sums = total[4:] - total[:-4]
    return float(np.mean(sums**2) / max(4 * np.mean(centred**2), 1e-9))
