"""Beats that count the events of a stream instead of keeping time.

Sums of many steps are alike, however uneven the steps: who goes round ten files opens each of them at nearly equal
distances. The number of steps between is then much more alike than the time.
"""

import math
from collections.abc import Iterable

import numpy as np

from tracekit.analyze.columns import Ints
from tracekit.analyze.rhythm import Rhythm, robust_deviation

#: Rounds that vary by less than this part of the period keep time, whatever they count.
_UNEVEN = 0.025
#: Steps vary by this part of that, and are of a group that is so many times as large and has nearly all of the rhythm.
_MORE_ALIKE, _LARGER, _NEARLY_ALL = 0.5, 2, 0.9
#: Rounds that only count vary by nearly what so many independent steps would make of it; others keep better time. They
#: are looked at from so many of their steps on: the beats themselves are too few to tell.
_AS_UNEVEN, _LOOKED_AT = 0.75, 64


def is_counted(rhythm: Rhythm, rows: Ints, groups: Iterable[Ints], times_ns: Ints) -> bool:
    """Whether the beats are the n-th events, again and again, of a group that has many more.

    Args:
        rhythm: what was found in a group.
        rows: the positions of that group's events among all.
        groups: those of all groups.
        times_ns: of all events.
    """
    members, first = rows[rhythm.members()], rows[rhythm.first]
    wider = (group for group in groups if len(group) >= _LARGER * len(rows))
    wider = (group for group in wider if np.isin(members, group).mean() >= _NEARLY_ALL)
    return any(_counts(rhythm, np.searchsorted(group, first), times_ns[group]) for group in wider)


def _counts(rhythm: Rhythm, first: Ints, times_ns: Ints) -> bool:
    """Whether the beats, which begin with these of the events at some times, count them.

    Steps of a round may be uneven, and yet the rounds keep time; so steps of each length that divides it are asked.
    """
    steps = np.diff(first).astype(np.float64)
    most = int(np.median(steps))
    if robust_deviation(steps) > _MORE_ALIKE * rhythm.jitter * most:
        return False
    divisors = [size for size in range(1, most // 2 + 1) if most % size == 0]
    chance = [_variation(np.diff(times_ns[::size])) * math.sqrt(size / most) for size in divisors]
    rounds = [_variation(np.diff(times_ns[start:][::most])) for start in range(most)[:: 1 + most // _LOOKED_AT]]
    return float(np.mean(rounds)) >= max(_AS_UNEVEN * min(chance, default=math.inf), _UNEVEN)


def _variation(steps: Ints) -> float:
    return float(steps.std() / max(float(steps.mean()), 1.0))
