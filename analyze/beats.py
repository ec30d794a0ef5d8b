"""Beats among other events: a chain of points at nearly equal distances, longer than chance would make it.

The distances of neighbours, near and further, pile up at the period. From each point the chain leads to the one nearest
to a period later; the longest chain is then weighed against the points that are there anyway.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tracekit.analyze.columns import Bools, Ints

MIN_BEATS = 10
#: Of the beats of a chain so many may be missing, and so many in a row.
MAX_MISSED, _STRIDES = 0.3, (1, 2, 3)
#: How far from its beat a point may be, over the period.
TOLERANCES = (0.015, 0.04, 0.1)
#: Points are looked at in parts of so many, each with so many of those that follow it.
MOST_POINTS, _NEIGHBOURS = 20_000, 16
#: Distances are alike within this part of an octave, 1 %, and are compared to so many steps around.
_STEPS, _AROUND, _BESIDE = 70, 20, 4
#: So many distances are tried, each so many standard deviations more frequent than those around it.
_CANDIDATES, _LEAST_CONSPICUOUS = 6, 4.0
#: ... and parts of each, unless there is one as long but for this part.
_PARTS, _SAME = (1, 2, 3), 0.01
#: Where between two beats to look for what is there anyway.
_BETWEEN = (0.25, 0.375, 0.5, 0.625, 0.75)
#: Of a beat that is up to so many times as fast, each n-th is none of its own. The others, of which so many are looked
#: at, are there in such a share of the rounds, above what is between them by that part of what is missing to all
#: rounds, and by so many standard deviations.
_FASTEST, _LOOKED_AT, _OFTEN, _ABOVE, _DEVIATIONS = 32, 8, 0.5, 0.5, 3.0
#: A chain is believed if chance makes one as good once in so many trains, by the bound of Chernoff.
_ONCE_IN = 100_000
#: ... which cannot be told of times at which nearly always something is there.
_CROWDED = 0.9


@dataclass(frozen=True)
class Chain:
    """Positions of the points that keep the beat; `excess` is how many more they are than chance brings near to it."""

    rows: Ints
    excess: float


def periods(points_ns: Ints) -> list[float]:
    """Distances that are more frequent than those a little shorter and longer, the most conspicuous ones first."""
    steps = range(1, min(_NEIGHBOURS, len(points_ns) - 1) + 1)
    distances = np.concatenate([points_ns[step:] - points_ns[:-step] for step in steps])
    counts = np.bincount((np.log2(np.maximum(distances, 1)) * _STEPS).astype(np.int64))
    total = np.concatenate((np.zeros(_AROUND + 1), np.cumsum(counts), np.full(_AROUND + 1, counts.sum())))
    place = np.arange(len(counts)) + _AROUND
    here = total[place + 2] - total[place]
    around = total[place + 1 + _AROUND] - total[place + 1 - _AROUND]
    beside = total[place + 1 + _BESIDE] - total[place + 1 - _BESIDE]
    usual = (around - beside) / (_AROUND - _BESIDE)
    conspicuous = (here - usual) / np.sqrt(usual + 1)
    found: list[float] = []
    while len(found) < _CANDIDATES and conspicuous.max() > _LEAST_CONSPICUOUS:
        best = int(np.argmax(conspicuous))
        conspicuous[max(best - _BESIDE, 0) : best + _BESIDE] = 0
        # Jitter hides a period more than its multiples.
        parts = [2 ** ((best + 1) / _STEPS) / part for part in _PARTS]
        found += [part for part in parts if all(abs(part / other - 1) > _SAME for other in found)]
    return found


def find_chain(points_ns: Ints, period: float) -> Chain | None:
    """The chain of points that keeps a period best; null if chance may have made it."""
    if len(points_ns) < MIN_BEATS:
        return None
    found = [chain for tolerance in TOLERANCES for chain in _chains(points_ns, period, tolerance)]
    return max(found, key=lambda chain: chain.excess, default=None)


def _chains(points: Ints, period: float, tolerance: float) -> Iterator[Chain]:
    following, stride = _following(points, period, tolerance)
    hits, beats, leaps = _lengths(following, stride)
    start = int(np.argmax(hits))
    if hits[start] < MIN_BEATS or hits[start] < (1 - MAX_MISSED) * beats[start]:
        return
    rows = _along(start, leaps)
    # Trials: every point may begin a chain, of several periods and tolerances.
    trials = np.log(len(points) * _CANDIDATES * len(TOLERANCES) * _ONCE_IN)
    chance = _there_anyway(points, rows, period, tolerance)
    if _unlikely(int(hits[start]), int(beats[start]), chance) <= trials:
        return
    most = min(int(np.median(np.diff(rows))) + 1, _FASTEST)
    if not any(_is_faster(points, rows, period, tolerance, times) for times in range(2, most + 1)):
        yield Chain(rows, float(hits[start] - chance * beats[start]))


def _following(points: Ints, period: float, tolerance: float) -> tuple[Ints, Ints]:
    """Of each point the one that is nearest to a beat later, or two, or three; and which. The end follows itself."""
    size = len(points)
    following, stride = np.full(size + 1, size, dtype=np.int64), np.zeros(size + 1, dtype=np.int64)
    for beats in reversed(_STRIDES):
        nearest, near = _near(points, points + round(beats * period), tolerance * period)
        following[:-1][near], stride[:-1][near] = nearest[near], beats
    return following, stride


def _near(points: Ints, wanted: Ints, distance: float) -> tuple[Ints, Bools]:
    """The point nearest to each wanted time, and whether it is near enough."""
    after = np.clip(np.searchsorted(points, wanted), 1, len(points) - 1)
    nearest = after - (wanted - points[after - 1] < points[after] - wanted)
    return nearest, np.abs(points[nearest] - wanted) <= distance


def _lengths(following: Ints, stride: Ints) -> tuple[Ints, Ints, list[Ints]]:
    """From each point on: points that follow, beats that they span; and who follows after 1, 2, 4, ... points."""
    hits, beats, leaps = (stride > 0).astype(np.int64), stride.copy(), [following]
    while 1 << len(leaps) < 2 * len(following) and (leaps[-1] < len(following) - 1).any():
        hits, beats = hits + hits[leaps[-1]], beats + beats[leaps[-1]]
        leaps.append(leaps[-1][leaps[-1]])
    return hits, beats, leaps


def _along(start: int, leaps: list[Ints]) -> Ints:
    rows = np.array([start], dtype=np.int64)
    for leap in leaps:
        rows = np.concatenate((rows, leap[rows]))
    return np.unique(rows[rows < len(leaps[0]) - 1])


def _there_anyway(points: Ints, rows: Ints, period: float, tolerance: float) -> float:
    """How probably a point is near to any time: as of all points, or as of those between the beats."""
    rate = len(points) / max(float(points[-1] - points[0]), 1.0)
    between = [_near(points, points[rows] + round(part * period), tolerance * period)[1].mean() for part in _BETWEEN]
    return float(max(1 - np.exp(-2 * rate * tolerance * period), np.mean(between)))


def _is_faster(points: Ints, rows: Ints, period: float, tolerance: float, times: int) -> bool:
    """Whether points keep a beat so many times as fast, of which these are each so many-th."""
    parts = range(1, times)[:: 1 + times // _LOOKED_AT]

    def often(offset: float) -> Iterator[float]:
        for part in parts:
            wanted = points[rows[:-1]] + round((part + offset) / times * period)
            yield float(_near(points, wanted, tolerance * period)[1].mean())

    if any(share < _OFTEN for share in often(0)):
        return False
    between = float(np.mean([*often(0.5)]))
    return min(often(0)) - between >= max(_ABOVE * (1 - between), _DEVIATIONS * 0.5 / math.sqrt(len(rows)))


def _unlikely(hits: int, beats: int, chance: float) -> float:
    """The logarithm of how seldom at least so many of the beats are hit (Chernoff 1952); 0 where nearly all are."""
    share = hits / beats
    if share <= chance or not 0 < chance <= _CROWDED:
        return 0.0
    missed = (1 - share) * math.log((1 - share) / (1 - chance)) if share < 1 else 0.0
    return beats * (share * math.log(share / chance) + missed)
