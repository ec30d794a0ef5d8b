"""Counting while events go by: equal stretches of time, and bins of equal width on a logarithmic axis."""

import math
from dataclasses import dataclass

import numpy as np

from tracekit.analyze.columns import Floats, Ints
from tracekit.analyze.selection import Selection
from tracekit.trace import Trace
from tracekit.units import SECOND_NS

#: No two values that a picture could keep apart share a bin of this width.
PER_OCTAVE = 32
LOG_BINS = 63 * PER_OCTAVE


@dataclass(frozen=True)
class TimeBins:
    """Equal stretches of the time that is looked at.

    Attributes:
        origin_ns: when the recording began: what the axis counts from.
        start_ns: when the first bin begins, on the boot clock.
        end_ns: when the last bin ends.
    """

    origin_ns: int
    start_ns: int
    end_ns: int
    count: int

    @staticmethod
    def of(trace: Trace, selection: Selection, count: int) -> "TimeBins":
        """So many bins of the part of a trace that was selected."""
        start_ns, end_ns = selection.span(trace)
        return TimeBins(trace.start_ns, start_ns, max(end_ns, start_ns + 1), count)

    @staticmethod
    def round(trace: Trace, selection: Selection, most: int) -> "TimeBins":
        """At most so many bins of 1, 2 or 5 times a power of ten nanoseconds; the last may end behind the part."""
        start_ns, end_ns = selection.span(trace)
        least_ns = -(-max(end_ns - start_ns, 1) // most)
        power = 10 ** (len(str(least_ns)) - 1)
        width_ns = next(step * power for step in (1, 2, 5, 10) if step * power >= least_ns)
        count = -(-max(end_ns - start_ns, 1) // width_ns)
        return TimeBins(trace.start_ns, start_ns, start_ns + count * width_ns, count)

    @property
    def width_ns(self) -> int:
        """How long a bin is."""
        return -(-(self.end_ns - self.start_ns) // self.count)

    def number(self, ts_ns: Ints) -> Ints:
        """The bin of each time; what lies a little beside all of them belongs to the first or the last."""
        return np.clip((ts_ns - self.start_ns) // self.width_ns, 0, self.count - 1)

    @property
    def edges_s(self) -> Floats:
        """Where bins begin, and where the last one ends, in seconds from the start of the recording."""
        edges = np.arange(self.count + 1) * self.width_ns + (self.start_ns - self.origin_ns)
        return np.asarray(edges / SECOND_NS)


def log_bin(values: Ints) -> Ints:
    """The logarithmic bin of each value; 0 counts as 1."""
    return np.asarray(np.log2(np.maximum(values, 1)) * PER_OCTAVE).astype(np.int64)


@dataclass(frozen=True)
class LogCounts:
    """Counts along a logarithmic axis: the first one or two dimensions of the last axis are bins of a value.

    Attributes:
        counts: (..., bins).
        edges: bins + 1 values, where bins begin and the last one ends.
    """

    counts: Ints
    edges: Floats

    @staticmethod
    def of(counts: Ints, most: int) -> "LogCounts":
        """The part of all `LOG_BINS` that has values, in at most so many bins that divide an octave evenly.

        An octave is one bin at least, so that a range of more octaves than `most` has more bins.
        """
        used = np.flatnonzero(counts.reshape(-1, LOG_BINS).any(axis=0))
        low, high = int(used[0]), int(used[-1]) + 1
        wide = 1
        while wide < PER_OCTAVE and math.ceil((high - low) / wide) + 1 > most:
            wide *= 2
        low, high = low // wide, -(-high // wide)
        shape = (*counts.shape[:-1], high - low, wide)
        held = counts[..., low * wide : high * wide].reshape(shape).sum(axis=-1)
        # An empty bin on either side, so that the outer ones are seen whole.
        around = [(0, 0)] * (counts.ndim - 1) + [(1, 1)]
        return LogCounts(np.pad(held, around), np.exp2(np.arange(low - 1, high + 2) * wide / PER_OCTAVE))
