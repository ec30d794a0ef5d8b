"""Lanes for what overlaps: on one lane, nothing begins before what is before it has ended."""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


class Lanes:
    """Lanes of several groups; what was given to them stays where it is."""

    def __init__(self) -> None:
        self._ends: dict[int, Ints] = {}

    def assign(self, group: Ints, begin: Ints, end: Ints) -> Ints:
        """The lane of each interval within its group, as few as there are at a time; ends are not before begins.

        Intervals come in any order, but one that begins before others of an earlier call may get a lane of its own.
        """
        lane = np.empty(len(group), np.int64)
        for number in np.unique(group):
            mine = np.flatnonzero(group == number)
            mine = mine[np.argsort(begin[mine], kind="stable")]
            lane[mine], self._ends[int(number)] = _assign(
                begin[mine], end[mine], self._ends.get(int(number), np.empty(0, np.int64))
            )
        return lane


def _assign(begin: Ints, end: Ints, free_from: Ints) -> tuple[Ints, Ints]:
    """Lanes of intervals sorted by their begin, of which some exist and are free from a time on; and when all are.

    A lane is taken by the next interval in the order in which lanes become free. So the number of the end whose lane
    an interval takes is its own number, less those that found none and were given a new one.
    """
    old, count = len(free_from), len(begin)
    # An interval of no length ends just after its begin: it must not take the lane that it leaves.
    until = np.maximum(end, begin + 1)
    all_ends = np.concatenate([free_from, until])
    order = np.argsort(all_ends, kind="stable")
    ended = np.searchsorted(all_ends[order], begin, side="right")
    place = np.arange(count)
    made = np.maximum.accumulate(np.maximum(place + 1 - ended, 0)) if count else place
    new = np.diff(made, prepend=0) > 0
    # Who had the lane before: below `old` a lane of before, else an interval here.
    before = order[np.minimum(place - made, len(order) - 1)] if count else place
    lane = np.where(new, old + made - 1, -1)
    source = np.where(new, -1, before)
    from_old = (source >= 0) & (source < old)
    lane[from_old] = source[from_old]
    parent = np.where(lane >= 0, place, source - old)
    while (lane[parent] < 0).any():
        parent = parent[parent]
    lane = lane[parent]
    free = np.concatenate([free_from, np.zeros(int(made[-1]) if count else 0, np.int64)])
    np.maximum.at(free, lane, until)
    return lane, free
