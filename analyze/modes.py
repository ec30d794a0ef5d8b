"""The hills of a distribution, on the log scale: smoothed histogram, persistence, split at the valleys.

A hill counts if its peak stands out over the saddle to a higher one by ratio, by Poisson statistics and by mass. The
bandwidth comes from the data; a value of a coarse clock is spread over its tick, for its ticks are no hills.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from tracekit.analyze.columns import Floats, Ints
from tracekit.analyze.histogram import Histogram
from tracekit.analyze.kernels.binning import low_edge

STEPS_PER_OCTAVE = 32
MIN_COUNT = 100
MAJOR_RATIO = 1.4
MINOR_RATIO = 1.2
MIN_Z = 5.0
MAJOR_SHARE = 0.01
MIN_SHARE = 0.001
#: A mode ends where the density has fallen by this part of the way from the peak to the valley.
RANGE_DEPTH = 0.75
_MIN_BANDWIDTH = 1 / 8
_PAD = 3.0
#: A hill with less than this part of its peak around it stands alone.
_ISOLATED = 0.02
#: Where values that are zero ticks begin: they stand for everything below half a tick, many octaves wide.
_ZERO = 1 / 32


@dataclass(frozen=True)
class Hill:
    """A mode: its range, the valleys between which its values lie, and how many there are."""

    low: float
    peak: float
    high: float
    valley_low: float
    valley_high: float
    count: int
    share: float
    minor: bool


def find_modes(histogram: Histogram, resolution_ns: int = 1) -> tuple[Hill, ...]:
    """The modes of a histogram; none if there is too little data to say.

    Args:
        histogram: of the values.
        resolution_ns: step of the clock; differences below it mean nothing.
    """
    used = np.flatnonzero(histogram.counts)
    if not len(used):
        return ()
    bins = np.arange(used[0], used[-1] + 2)
    ticks = np.ceil(low_edge(bins) / resolution_ns)
    edges = np.maximum(ticks - 0.5, _ZERO) * resolution_ns
    return modes_of_buckets(edges, histogram.counts[bins[:-1]])


def modes_of_buckets(edges: Floats, counts: Ints) -> tuple[Hill, ...]:
    """The modes of counts between edges, as if the values lay log-uniformly within each bucket.

    Args:
        edges: one more than counts, rising; a first edge of 0 stands for half the second.
        counts: how many values lie between each edge and the next.
    """
    edges = np.asarray(edges, dtype=np.float64).copy()
    counts = np.asarray(counts, dtype=np.int64)
    if edges[0] == 0:
        edges[0] = edges[1] / 2
    total = int(counts.sum())
    if total < MIN_COUNT:
        return ()
    logs = np.log2(edges)
    grid = np.arange(logs[0] - _PAD, logs[-1] + _PAD, 1 / STEPS_PER_OCTAVE)
    below = np.interp(grid, logs, np.concatenate(([0.0], np.cumsum(counts))))
    mass = np.diff(below)
    bandwidth = _bandwidth(grid, below, total)
    density = _smooth(mass, bandwidth * STEPS_PER_OCTAVE)
    return _hills(density, grid, below, bandwidth)


def _bandwidth(grid: Floats, below: Floats, total: int) -> float:
    """Silverman's rule in octaves, on the narrowest half of the values: one mode of several must not set it."""
    middle = (grid[1:] + grid[:-1]) / 2
    mass = np.diff(below)
    if not mass.sum() > 0:  # values beyond what the grid can tell apart
        return _MIN_BANDWIDTH
    mean = float(np.average(middle, weights=mass))
    deviation = float(np.sqrt(np.average((middle - mean) ** 2, weights=mass)))
    starts = np.interp(np.linspace(0, 0.5, 101) * total, below, grid)
    half = float(np.min(np.interp(np.linspace(0.5, 1, 101) * total, below, grid) - starts)) / 1.35
    spread = min(deviation, half)
    return float(max(1.06 * spread * total**-0.2, _MIN_BANDWIDTH))


def _smooth(mass: Floats, width: float) -> Floats:
    reach = int(np.ceil(4 * width))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    smooth: Floats = np.convolve(mass, kernel / kernel.sum(), mode="same")
    if len(smooth) > len(mass):  # numpy's "same" is that of the longer of the two
        extra = (len(smooth) - len(mass)) // 2
        smooth = smooth[extra : extra + len(mass)]
    return smooth


def _hills(density: Floats, grid: Floats, below: Floats, bandwidth: float) -> tuple[Hill, ...]:
    # A peak of smoothed mass stands for this many steps' worth of independent values.
    window = 2 * np.sqrt(np.pi) * bandwidth * STEPS_PER_OCTAVE
    saddles = _persistent(density, window)
    peaks = sorted(saddles)
    cuts = [0, *(_lowest(density, a, b) for a, b in itertools.pairwise(peaks)), len(density)]
    total = below[-1]
    hills = []
    for index, peak in enumerate(peaks):
        left, right = cuts[index], cuts[index + 1]
        count = round(below[right]) - round(below[left])
        share = count / total
        minor = bool(density[peak] < MAJOR_RATIO * saddles[peak] or share < MAJOR_SHARE)
        if share < MIN_SHARE:
            continue
        low, high = _extent(density, grid, peak, left, right)
        hills.append(
            Hill(low, 2 ** grid[peak : peak + 2].mean(), high, 2 ** grid[left], 2 ** grid[right], count, share, minor)
        )
    return tuple(hills)


def _persistent(density: Floats, window: float) -> dict[int, float]:
    """The peaks that stand out, each with its saddle to a higher one: 0-dimensional persistence, highest first."""
    rises = np.diff(density, prepend=0.0, append=0.0)
    tops = np.flatnonzero((rises[:-1] > 0) & (rises[1:] <= 0))
    kept: dict[int, float] = {}
    for top in tops[np.argsort(-density[tops], kind="stable")]:
        sides = [density[min(top, other) : max(top, other) + 1].min() for other in kept]
        saddle = max(sides, default=0.0)
        if _stands_out(density, int(top), float(saddle), window):
            kept[int(top)] = float(saddle)
    return kept


def _stands_out(density: Floats, top: int, saddle: float, window: float) -> bool:
    peak = float(density[top])
    if peak < MINOR_RATIO * saddle:
        return False
    if saddle < _ISOLATED * peak:
        # Next to nothing around it: all its values count, not only those near the peak.
        low = density <= _ISOLATED * peak
        left, right = np.flatnonzero(low[:top]), np.flatnonzero(low[top:])
        ends = (int(left[-1]) if len(left) else 0, top + int(right[0]) if len(right) else len(density))
        return bool(np.sqrt(density[ends[0] : ends[1]].sum()) >= MIN_Z)
    return bool((peak - saddle) * window / np.sqrt((peak + saddle) * window) >= MIN_Z)


def _lowest(density: Floats, left: int, right: int) -> int:
    """The middle of the lowest stretch between two peaks."""
    part = density[left : right + 1]
    lowest = np.flatnonzero(part <= part.min() * (1 + 1e-9) + 1e-12)
    return left + int(lowest[len(lowest) // 2])


def _extent(density: Floats, grid: Floats, peak: int, left: int, right: int) -> tuple[float, float]:
    right = min(right, len(density) - 1)
    top = density[peak]
    ends = []
    for valley, side in ((left, density[left : peak + 1][::-1]), (right, density[peak : right + 1])):
        level = top - RANGE_DEPTH * (top - density[valley])
        under = np.flatnonzero(side < level)
        steps = int(under[0]) if len(under) else len(side) - 1
        ends.append(peak - steps + 1 if valley <= peak and valley == left else peak + steps)
    return 2 ** float(grid[ends[0]]), 2 ** float(grid[ends[1]])
