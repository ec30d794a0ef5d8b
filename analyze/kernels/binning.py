"""Where values are counted: log-linear bins, 1024 an octave, and wider ones, eight an octave."""

import numpy as np

from tracekit.analyze.kernels.compiled import Ints

_SHIFT = 10
BINS_PER_OCTAVE = 1 << _SHIFT
BINS = BINS_PER_OCTAVE * (63 - _SHIFT + 1)
#: Attributes are counted in wider bins: so many an octave.
_COARSE_PER_OCTAVE = 8
#: A float64 holds so many bits; its exponent has a bias, and its mantissa begins with what numbers the bin.
_EXACT, _MANTISSA, _BIAS = 1 << 53, 52, 1023


def bin_of(values: Ints) -> Ints:
    """The bin of each value; values are not negative."""
    most = values.max(initial=0)
    if most < BINS_PER_OCTAVE:
        return values
    rounded = values
    if most >= _EXACT:  # what a float would round up into the next bin
        rounded = np.where(values >= _EXACT, values & -(1 << 11), values)
    bits = rounded.astype(np.float64).view(np.int64)
    bins = (bits >> (_MANTISSA - _SHIFT)) - (_BIAS + _SHIFT - 1) * BINS_PER_OCTAVE
    np.copyto(bins, values, where=values < BINS_PER_OCTAVE)
    return bins


def low_edge(bins: Ints) -> Ints:
    """The smallest value of each bin; that of the bin behind it is where the bin ends."""
    above = np.maximum(bins // BINS_PER_OCTAVE - 1, 0)
    return np.asarray((bins - above * BINS_PER_OCTAVE) << above)


def _coarse_bins() -> Ints:
    """Of each bin the wider one that it lies in."""
    edges = low_edge(np.arange(BINS))
    octave = np.frexp(np.maximum(edges, 1).astype(np.float64))[1] - 1
    part = (edges >> np.maximum(octave - 3, 0)) & (_COARSE_PER_OCTAVE - 1)
    return np.where(edges < _COARSE_PER_OCTAVE, edges, octave * _COARSE_PER_OCTAVE + part).astype(np.int64)


COARSE = _coarse_bins()
COARSE_BINS = int(COARSE[-1]) + 1
