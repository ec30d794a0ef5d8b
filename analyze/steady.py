"""Streams whose rate stays the same throughout: at most as uneven as chance makes them, however long one looks."""

import numpy as np

from tracekit.analyze.columns import Floats
from tracekit.analyze.rhythm import Times

#: With fewer events a rate that changes by a third would look the same.
MIN_EVENTS = 400
#: In windows of which each has so many events on average, down to the fewest windows that show a trend.
_LEAST_IN_A_WINDOW, _FEWEST_WINDOWS, _MOST_WINDOWS = 1, 8, 65536
_MUCH_WIDER = 64
#: So many standard deviations may the variance of counts exceed that of chance: of 2,000 simulated Poisson streams of
#: 400 to 100,000 events 0.3 % do at some width, and of 400 whose rate swings by half of it, all.
_DEVIATIONS = 3.3
#: A rate that changes by so little is the same for all who look at it, even where many events would show it.
_SAME_RATE = 0.05


def is_steady(times: Times, resolution_ns: int = 0) -> bool:
    """Whether counts in windows of any width vary no more than those of a Poisson process with one rate.

    Args:
        resolution_ns: how coarse the times are; windows are much wider.
    """
    if times.events < MIN_EVENTS or times.span_ns() == 0:
        return False
    counts = _counts(times, resolution_ns)
    while len(counts) >= _FEWEST_WINDOWS:
        mean, variance = float(counts.mean()), float(counts.var(ddof=1))
        chance = _DEVIATIONS * np.sqrt((2 + 1 / mean) / (len(counts) - 1))
        if variance > mean * (1 + chance) + (_SAME_RATE * mean) ** 2:
            return False
        counts = counts.reshape(-1, 2).sum(axis=1)
    return True


def _counts(times: Times, resolution_ns: int) -> Floats:
    """Events in equal windows between the first and the last: a power of two of them."""
    most = min(times.events / _LEAST_IN_A_WINDOW, times.span_ns() / max(_MUCH_WIDER * resolution_ns, 1))
    windows = min(1 << int(np.log2(max(most, 1))), _MOST_WINDOWS)
    width = times.span_ns() / windows
    window = np.minimum(((times.begin_ns - times.begin_ns[0]) / width).astype(np.int64), windows - 1)
    return np.bincount(window, weights=times.count, minlength=windows).astype(np.float64)
