"""When a latency was how long: time against the logarithm of the latency."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tracekit.analyze.plots import style
from tracekit.analyze.plots.bins import LOG_BINS, LogCounts, TimeBins, log_bin
from tracekit.analyze.plots.source import ALL, About, family_of, nothing, usual_metric, values
from tracekit.analyze.selection import Selection
from tracekit.trace import Trace
from tracekit.units import format_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS, _ROWS = 200, 96


@dataclass(frozen=True)
class LatencyHeatMap:
    """How many latencies began when and were how long.

    Attributes:
        counts: (time, latency) bins; `edges` in nanoseconds.
    """

    about: About
    metric: str
    group: Mapping[str, str]
    bins: TimeBins
    counts: LogCounts


def data(
    trace: Trace, selection: Selection = ALL, *, metric: str | None = None, group: Mapping[str, str] | None = None
) -> LatencyHeatMap:
    """The heat map of a metric, or of a part of its values.

    Args:
        group: fields, such as `disk`, `op` and `comm`, and the values that they have.

    Raises:
        UsageError: there is no such metric or field, or nothing was measured.
        TraceError: the file is damaged.
    """
    chosen = metric or usual_metric(trace)
    family, wanted = family_of(chosen), dict(group or {})
    selection.check(trace)
    bins = TimeBins.of(trace, selection, _COLUMNS)
    counts = np.zeros((_COLUMNS, LOG_BINS), dtype=np.int64)
    for piece in values(trace, selection, chosen, wanted):
        np.add.at(counts, (bins.number(piece.start_ns), log_bin(piece.value_ns)), 1)
    if not counts.any():
        raise nothing(trace, selection, " ".join(("latencies of", chosen, *wanted.values())))
    return LatencyHeatMap(About.of(trace, selection, family), chosen, wanted, bins, LogCounts.of(counts, _ROWS))


def draw(picture: LatencyHeatMap, figure: "Figure") -> None:
    """The colour of a cell says how many."""
    axes = figure.add_subplot()
    times = picture.bins.edges_s
    counts = picture.counts
    style.heat(axes, times, counts.edges, counts.counts, "values per cell")
    style.time_axis(axes, times[0], times[-1])
    axes.set_ylim(counts.edges[0], counts.edges[-1])
    style.duration_axis(axes, "y")
    axes.set_ylabel("latency")
    axes.grid()
    style.shade(axes, picture.about.lost)
    told = f"{format_count(int(counts.counts.sum()))} values, each where it began"
    title = f"Latencies over time: {style.metric_title(picture.metric)}"
    style.heading(axes, title, [*style.whence(picture.about, picture.group), told], picture.about.warning)
