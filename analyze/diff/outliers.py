"""Outliers beyond everything that the other side has."""

from dataclasses import dataclass

import numpy as np

from tracekit.analyze.columns import Ints
from tracekit.analyze.diff.chance import is_one_sided
from tracekit.analyze.diff.stretches import edges
from tracekit.analyze.results import Latency, Outliers

#: So many times the greatest value of the other side must the greatest be: as an outlier stands from the rest.
_BEYOND = 2


@dataclass(frozen=True)
class OutlierChange:
    """Outliers of a metric that only one side has.

    Attributes:
        came: whether that side is the one after.
        counts: how many there are by stretch.
        size: of how many values.
        greatest_ns: of the other side.
        sure: whether it is more than chance that it has none.
    """

    metric: str
    outliers: Outliers
    came: bool
    counts: Ints
    size: int
    greatest_ns: int
    sure: bool


def outlier_change(before: Latency, after: Latency, was: Ints, now: Ints) -> OutlierChange | None:
    """The outliers that only one side has, from counts by stretch and bin; null if there are none."""
    for mine, other, counts, came in ((after, before, now, True), (before, after, was, False)):
        if mine.outliers is None or mine.outliers.high_ns < _BEYOND * other.max_ns:
            continue
        if mine.outliers.low_ns > other.max_ns:
            first = int(np.searchsorted(edges(), mine.outliers.low_ns, side="right")) - 1
            beyond = counts[:, first:].sum(axis=1)
            sure = is_one_sided(beyond, mine.count / (mine.count + other.count))
            return OutlierChange(mine.metric, mine.outliers, came, beyond, mine.count, other.max_ns, sure)
    return None
