"""Beats that count the events of a stream instead of keeping time.

Sums of many steps are alike, however uneven the steps: who goes round ten files opens each of them at nearly equal
distances. The number of steps between is then much more alike than the time.
"""

from collections.abc import Iterable

import numpy as np

from tracekit.analyze.columns import Floats, Ints
from tracekit.analyze.rhythm import Rhythm, robust_deviation

#: Beats that vary by less than this part of the period keep time, whatever they count.
_UNEVEN = 0.05
#: Steps vary by this part of that, and are of a group that is so many times as large and has nearly all of the rhythm.
_MORE_ALIKE, _LARGER, _NEARLY_ALL = 0.5, 2, 0.9


def is_counted(rhythm: Rhythm, rows: Ints, groups: Iterable[Ints]) -> bool:
    """Whether the beats are the n-th events, again and again, of a group that has many more.

    Args:
        rhythm: what was found in a group.
        rows: the positions of that group's events among all.
        groups: those of all groups.
    """
    if rhythm.jitter < _UNEVEN:
        return False
    members, first = rows[rhythm.members()], rows[rhythm.first]
    wider = (group for group in groups if len(group) >= _LARGER * len(rows))
    wider = (group for group in wider if np.isin(members, group).mean() >= _NEARLY_ALL)
    return any(_variation(np.diff(np.searchsorted(group, first))) <= _MORE_ALIKE * rhythm.jitter for group in wider)


def _variation(steps: Ints) -> float:
    values: Floats = steps.astype(np.float64)
    return robust_deviation(values) / float(np.median(values))
