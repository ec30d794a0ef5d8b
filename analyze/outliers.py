"""Values that stand apart from the rest and from its tail.

A gap of at least an octave with hardly anything above it, and wider than a power-law tail through the values below
it would leave by chance. Six sigma fires on every heavy tail; a gap does not.
"""

import numpy as np

from tracekit.analyze.columns import Bools, Ints
from tracekit.analyze.results import Episode

MIN_COUNT = 30
MAX_SHARE = 0.005
#: In few values half a percent is next to none: so many may be outliers if they are at most that share.
FEW, MAX_SHARE_OF_FEW = 10, 0.02
MIN_GAP = float(np.log(2))
MAX_CHANCE = 1e-4
_TAIL_SHARE = 0.1
_MIN_TAIL = 15
_JOIN_NS = 100_000_000


def outlier_threshold(values: Ints) -> int | None:
    """The least outlier, or null if there is none, or too little data to say.

    Args:
        values: any order. With k of n above a gap, the logarithms of the m next values under a power law make
            k * gap / (sum of their excess) a ratio of gamma variables, whose tail is (1 + ratio) ** -m.
    """
    count = len(values)
    allowed = max(int(count * MAX_SHARE), min(FEW, int(count * MAX_SHARE_OF_FEW)), 1)
    tail = int(np.clip(count * _TAIL_SHARE, _MIN_TAIL, 1000))
    if count < MIN_COUNT:
        return None
    top = np.sort(np.partition(values, count - min(count, allowed + tail + 1))[-(allowed + tail + 1) :])[::-1]
    logs = np.log(np.maximum(top, 1).astype(np.float64))
    above = np.arange(1, min(allowed, len(logs) - _MIN_TAIL - 1) + 1)
    if not len(above):
        return None
    gaps = logs[above - 1] - logs[above]
    excess = _excess(logs, above, tail)
    chance = (1 + above * gaps / np.maximum(excess, 1e-9)) ** -np.minimum(tail, len(logs) - above - 1.0)
    found = above[(gaps >= MIN_GAP) & (chance * len(above) < MAX_CHANCE)]
    return int(top[found[-1] - 1]) if len(found) else None


def _excess(logs: np.typing.NDArray[np.float64], above: Ints, tail: int) -> np.typing.NDArray[np.float64]:
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


def apart(values: Ints, threshold: int | None) -> Bools:
    """Which values are outliers."""
    return np.zeros(len(values), dtype=np.bool_) if threshold is None else np.asarray(values >= threshold)
