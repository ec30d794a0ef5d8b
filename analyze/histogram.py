"""One exact histogram for everything: log-linear, 32 bins an octave, mergeable in any order."""

from dataclasses import dataclass

import numpy as np

from tracekit.analyze.columns import Ints
from tracekit.analyze.results import Bucket

BINS_PER_OCTAVE = 32
_SHIFT = 5
#: Values below this have a bin each.
_EXACT = 2 * BINS_PER_OCTAVE
BINS = BINS_PER_OCTAVE * (63 - _SHIFT + 1)


def bin_of(values: Ints) -> Ints:
    """The bin of each value; values are not negative."""
    octave = np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1
    octave -= (values >> np.maximum(octave, 0)) == 0  # a value near 2**63 that was rounded up
    above = np.maximum(octave - _SHIFT, 0)
    return np.asarray(above * BINS_PER_OCTAVE + (values >> above))


def low_edge(bins: Ints) -> Ints:
    """The smallest value of each bin; that of the bin behind it is where the bin ends."""
    above = np.maximum(bins // BINS_PER_OCTAVE - 1, 0)
    return np.asarray((bins - above * BINS_PER_OCTAVE) << above)


@dataclass(frozen=True)
class Histogram:
    """Counts of non-negative integers; exact in count, sum, least and greatest value.

    Attributes:
        counts: of the bins, int64.
        total: sum of the values, exact.
    """

    counts: Ints
    total: int = 0
    low: int | None = None
    high: int | None = None

    @staticmethod
    def of(values: Ints) -> "Histogram":
        """The histogram of these values."""
        counts = np.bincount(bin_of(values), minlength=BINS).astype(np.int64)
        if not len(values):
            return Histogram(counts)
        # The sum of the two halves of each value cannot overflow before 2**31 values.
        total = (int(np.sum(values >> 32)) << 32) + int(np.sum(values & 0xFFFFFFFF))
        return Histogram(counts, total, int(values.min()), int(values.max()))

    def merge(self, other: "Histogram") -> "Histogram":
        """The histogram of the values of both; any order of merging gives the same."""
        lows = [low for low in (self.low, other.low) if low is not None]
        highs = [high for high in (self.high, other.high) if high is not None]
        return Histogram(
            self.counts + other.counts, self.total + other.total, min(lows, default=None), max(highs, default=None)
        )

    @property
    def count(self) -> int:
        """How many values there are."""
        return int(self.counts.sum())

    def octaves(self) -> tuple[Bucket, ...]:
        """Power-of-two buckets from the first to the last that is not empty; the first of all is [0, 1)."""
        used = np.flatnonzero(self.counts)
        if not len(used):
            return ()
        power = np.frexp(low_edge(used).astype(np.float64))[1]  # 0 for 0, k for [2**(k-1), 2**k)
        sums = np.bincount(power, weights=self.counts[used]).astype(np.int64)
        return tuple(Bucket((1 << k) >> 1, 1 << k, int(sums[k])) for k in range(int(power.min()), int(power.max()) + 1))


def percentiles(values: Ints, shares: tuple[float, ...]) -> tuple[int, ...]:
    """Exact percentiles by nearest rank: the least value that at least this share of the values does not exceed."""
    ranks = [max(int(np.ceil(round(share * len(values), 6))) - 1, 0) for share in shares]
    ordered = np.partition(values, sorted(set(ranks)))
    return tuple(int(ordered[rank]) for rank in ranks)
