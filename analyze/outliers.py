"""Values that stand apart from the rest and from its tail.

A gap of at least an octave with hardly anything above it, and wider than a power-law tail through the values below
it would leave by chance. Six sigma fires on every heavy tail; a gap does not.
"""

import numpy as np

from tracekit.analyze.columns import Floats, Ints
from tracekit.analyze.results import Episode

MIN_COUNT = 30
MAX_SHARE = 0.005
#: In few values half a percent is next to none: so many may be outliers if they are at most that share.
FEW, MAX_SHARE_OF_FEW = 10, 0.02
#: So many slow ones are no exception, however many others there are.
MOST = 20_000
MIN_GAP = float(np.log(2))
MAX_CHANCE = 1e-4
_TAIL_SHARE = 0.1
_MIN_TAIL, _MAX_TAIL = 15, 1000
_JOIN_NS = 100_000_000


def _allowed(count: int) -> int:
    return min(max(int(count * MAX_SHARE), min(FEW, int(count * MAX_SHARE_OF_FEW)), 1), MOST)


def _tail(count: int) -> int:
    return int(np.clip(count * _TAIL_SHARE, _MIN_TAIL, _MAX_TAIL))


def looked_at(count: int) -> int:
    """How many of the greatest of so many values must be known to find the outliers among them."""
    return _allowed(count) + _tail(count) + 1


def outlier_threshold(greatest: Ints, count: int) -> int | None:
    """The least outlier, or null if there is none, or too little data to say.

    Args:
        greatest: the `looked_at(count)` greatest values or more, any order. With k of n above a gap, the logarithms
            of the m next values under a power law make k * gap / (sum of their excess) a ratio of gamma variables,
            whose tail is (1 + ratio) ** -m.
        count: of all values.
    """
    if count < MIN_COUNT:
        return None
    allowed, tail = _allowed(count), _tail(count)
    top = np.sort(greatest)[::-1][: looked_at(count)]
    logs = np.log(np.maximum(top, 1).astype(np.float64))
    above = np.arange(1, min(allowed, len(logs) - _MIN_TAIL - 1) + 1)
    if not len(above):
        return None
    gaps = logs[above - 1] - logs[above]
    excess = _excess(logs, above, tail)
    chance = (1 + above * gaps / np.maximum(excess, 1e-9)) ** -np.minimum(tail, len(logs) - above - 1.0)
    found = above[(gaps >= MIN_GAP) & (chance * len(above) < MAX_CHANCE)]
    return int(top[found[-1] - 1]) if len(found) else None


def _excess(logs: Floats, above: Ints, tail: int) -> Floats:
    """For each gap, the sum over the `tail` values below it of their logarithm over that of the next value down."""
    total = np.concatenate(([0.0], np.cumsum(logs)))
    end = np.minimum(above + tail, len(logs) - 1)
    return np.asarray(total[end] - total[above] - (end - above) * logs[end])


def episodes(start_ns: Ints, end_ns: Ints, join_ns: int = _JOIN_NS) -> tuple[Episode, ...]:
    """Intervals that overlap or nearly do, as one each, in time order."""
    if not len(start_ns):
        return ()
    order = np.lexsort((end_ns, start_ns))
    start, end = start_ns[order], np.maximum.accumulate(end_ns[order])
    begins = np.append(True, start[1:] > end[:-1] + join_ns)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(start)) - 1
    return tuple(Episode(int(start[a]), int(end[b]), int(b - a + 1)) for a, b in zip(first, last, strict=True))
