"""One exact histogram for everything: log-linear, mergeable in any order.

Exact in every count; a value that is read from it errs by half a bin, 0.05 % at most, and not at all below 2048.
"""

from dataclasses import dataclass

import numpy as np

from tracekit.analyze.columns import Ints
from tracekit.analyze.kernels import distributions as kernels
from tracekit.analyze.kernels.binning import BINS, bin_of, low_edge
from tracekit.analyze.kernels.distributions import Filled
from tracekit.analyze.results import Bucket


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
        return Histograms(1).add(np.zeros(len(values), dtype=np.int64), values)[0]

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

    def below(self, bound: int | None) -> "Histogram":
        """The part below the bin of a value; all of it for null. Sum, least and greatest value stay those of all."""
        if bound is None:
            return self
        counts = self.counts.copy()
        counts[int(bin_of(np.array([bound]))[0]) :] = 0
        return Histogram(counts, self.total, self.low, self.high)

    def percentiles(self, shares: tuple[float, ...]) -> tuple[int, ...]:
        """By nearest rank: the least value that at least this share of the values does not exceed, to half a bin.

        Raises:
            ValueError: there are no values.
        """
        if self.low is None or self.high is None:
            raise ValueError("nothing has no percentiles")
        upto = np.cumsum(self.counts)
        ranks = np.maximum(np.ceil(np.round(np.array(shares) * upto[-1], 6)), 1)
        bins = np.searchsorted(upto, ranks)
        ends = np.where(bins + 1 < BINS, low_edge(np.minimum(bins + 1, BINS - 1)), np.iinfo(np.int64).max)
        middle = low_edge(bins) + (ends - 1 - low_edge(bins)) // 2
        middle = np.where(ranks == upto[-1], self.high, np.where(ranks == 1, self.low, middle))
        return tuple(np.clip(middle, self.low, self.high).tolist())

    def octaves(self) -> tuple[Bucket, ...]:
        """Power-of-two buckets from the first to the last that is not empty; the first of all is [0, 1)."""
        used = np.flatnonzero(self.counts)
        if not len(used):
            return ()
        power = np.frexp(low_edge(used).astype(np.float64))[1]  # 0 for 0, k for [2**(k-1), 2**k)
        sums = np.bincount(power, weights=self.counts[used]).astype(np.int64)
        return tuple(Bucket((1 << k) >> 1, 1 << k, int(sums[k])) for k in range(int(power.min()), int(power.max()) + 1))


class Histograms:
    """Several histograms, filled together.

    Attributes:
        filled: what they are filled into.
    """

    def __init__(self, size: int) -> None:
        self.counts = np.zeros((size, BINS), dtype=np.int64)
        # The sum of the two halves of each value cannot overflow before 2**31 values of the greatest kind.
        halves, low = np.zeros(2 * size, dtype=np.int64), np.full(size, np.iinfo(np.int64).max)
        self.filled = Filled(self.counts.reshape(-1), halves, low, np.full(size, -1, dtype=np.int64))

    def add(self, which: Ints, values: Ints) -> "Histograms":
        """Put each value into one of the histograms."""
        kernels.fill(which, values, self.filled)
        return self

    def __getitem__(self, index: int) -> Histogram:
        counts, filled = self.counts[index], self.filled
        low_half, high_half = filled.halves.reshape(2, -1)[:, index].tolist()
        if filled.high[index] < 0:
            return Histogram(counts)
        return Histogram(counts, low_half + (high_half << 32), int(filled.low[index]), int(filled.high[index]))

    def whole(self) -> Histogram:
        """All of them as one."""
        found = Histogram(np.zeros(BINS, dtype=np.int64))
        for index in range(len(self.counts)):
            found = found.merge(self[index])
        return found
