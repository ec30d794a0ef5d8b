"""How a latency is distributed: a histogram with its modes and outliers marked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tracekit.analyze.families import tell_blocks, tell_opens, tell_processes
from tracekit.analyze.plots import style
from tracekit.analyze.plots.bins import LOG_BINS, LogCounts, log_bin
from tracekit.analyze.plots.source import ALL, About, family_of, nothing, usual_metric, values
from tracekit.analyze.results import Latency, Mode, SetsApart
from tracekit.analyze.selection import Selection
from tracekit.errors import UsageError
from tracekit.trace import Trace
from tracekit.units import format_count, format_ns, format_share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FEWEST_BARS, _MOST_BARS = 12, 96
#: Parts of the picture's width and height that a label takes.
_LABEL, _ROW = 0.215, 0.17


@dataclass(frozen=True)
class LatencyHistogram:
    """How often a latency was how long.

    Attributes:
        latency: the same distribution as the report tells it.
        counts: values by bin; `edges` in nanoseconds.
    """

    about: About
    latency: Latency
    counts: LogCounts


@dataclass(frozen=True)
class _Mark:
    """A range of values and what is said of it."""

    low_ns: int
    high_ns: int
    centre_ns: int
    lines: tuple[str, ...]
    colour: str


def data(
    trace: Trace, selection: Selection = ALL, *, metric: str | None = None, group: Mapping[str, str] | None = None
) -> LatencyHistogram:
    """The histogram of a metric, or of one of its groups in the report.

    Raises:
        UsageError: there is no such metric or group, or nothing was measured.
        TraceError: the file is damaged.
    """
    chosen = metric or usual_metric(trace)
    wanted = dict(group or {})
    selection.check(trace)
    return of(trace, selection, _of_report(trace, selection, chosen, wanted))


def of(trace: Trace, selection: Selection, latency: Latency) -> LatencyHistogram:
    """The histogram of a distribution that a report of the same part of the trace tells."""
    counts = np.zeros(LOG_BINS, dtype=np.int64)
    for piece in values(trace, selection, latency.metric, latency.group):
        counts += np.bincount(log_bin(piece.value_ns), minlength=LOG_BINS)
    bars = int(np.clip(2 * np.sqrt(latency.count), _FEWEST_BARS, _MOST_BARS))
    about = About.of(trace, selection, family_of(latency.metric))
    return LatencyHistogram(about, replace(latency, lost=about.lost_count), LogCounts.of(counts, bars))


def _of_report(trace: Trace, selection: Selection, metric: str, group: dict[str, str]) -> Latency:
    tell = {"block": tell_blocks, "open": tell_opens, "process": tell_processes}[family_of(metric)]
    told = [one for one in tell(trace, selection).latency if one.metric == metric]
    if not told:
        raise nothing(trace, selection, f"latencies of {metric}")
    found = [one for one in told if one.group == group]
    if not found:
        groups = [_named(one.group) for one in told if one.group]
        there = f"there are {'; '.join(groups)}" if groups else "it has none"
        raise UsageError(f"{metric} has no group {_named(group)} in the report: {there}")
    return found[0]


def _named(group: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in group.items())


def draw(picture: LatencyHistogram, figure: "Figure") -> None:
    """Bars on a logarithmic axis; above them what is said of modes and outliers."""
    axes = figure.add_subplot()
    _bars(axes, picture)
    axes.set_xlim(picture.counts.edges[0], picture.counts.edges[-1])
    style.count_axis(axes, "values per bar")
    axes.set_xlabel("latency", loc="left")
    style.duration_axis(axes, "x")
    _marks(axes, _what_to_mark(picture.latency))
    title = f"Latencies: {style.metric_title(picture.latency.metric)}"
    style.heading(axes, title, _lines(picture), picture.about.warning.replace(" in the shaded time", " meanwhile"))


def _lines(picture: LatencyHistogram) -> list[str]:
    one = picture.latency
    named = (("p50", one.p50_ns), ("p90", one.p90_ns), ("p99", one.p99_ns), ("p99.9", one.p999_ns), ("max", one.max_ns))
    figures = "   ".join(f"{name} {format_ns(value)}" for name, value in named)
    return [*style.whence(picture.about, one.group), f"{format_count(one.count)} values   {figures}"]


def _bars(axes: "Axes", picture: LatencyHistogram) -> None:
    """Blue within a mode, pale between them, vermilion among the outliers."""
    counts, edges = picture.counts.counts, picture.counts.edges
    middle = np.sqrt(edges[1:] * edges[:-1])
    dense = np.zeros(len(counts), dtype=np.bool_)
    for mode in picture.latency.modes:
        dense |= (middle >= mode.low_ns) & (middle <= mode.high_ns)
    out = picture.latency.outliers
    far = edges[1:] > out.threshold_ns if out else np.zeros(len(counts), dtype=np.bool_)
    for chosen, colour in ((dense & ~far, style.BLUE), (~dense & ~far, style.PALE_BLUE), (far, style.VERMILION)):
        axes.stairs(np.where(chosen, counts, 0), edges, fill=True, color=colour, lw=0.3)
    # A single value of very many would be less than a pixel.
    few = far & (counts > 0)
    if few.any():  # for none the layout would leave room in a corner
        axes.plot(middle[few], counts[few] + 0.02 * counts.max(), "v", color=style.VERMILION, ms=6, clip_on=False)


def _what_to_mark(latency: Latency) -> list[_Mark]:
    marks = [_mode_mark(mode, len(latency.modes) == 1) for mode in latency.modes]
    out = latency.outliers
    if out is not None:
        count = f"{format_count(out.count)} outlier{'s' if out.count > 1 else ''}"
        lines = (f"{count} ({format_share(out.share)})", _range(out.low_ns, out.high_ns), *_because(out.sets_apart))
        centre = math.isqrt(out.low_ns * out.high_ns)
        marks.append(_Mark(out.low_ns, out.high_ns, centre, lines, style.VERMILION))
    return marks


def _mode_mark(mode: Mode, only: bool) -> _Mark:
    name = "one mode" if only else f"{'minor mode' if mode.minor else 'mode'} of {format_share(mode.share)}"
    lines = (name, _range(mode.low_ns, mode.high_ns), f"most often {format_ns(mode.peak_ns)}")
    return _Mark(mode.low_ns, mode.high_ns, mode.peak_ns, (*lines, *_because(mode.sets_apart)), style.BLUE)


def _range(low_ns: int, high_ns: int) -> str:
    low, high = format_ns(low_ns), format_ns(high_ns)
    return low if low == high else f"{low} to {high}"


def _because(sets_apart: Sequence[SetsApart]) -> tuple[str, ...]:
    """The most telling thing that these have in common."""
    return tuple(f"{one.field.replace('_', ' ')} {style.shown(one.value, 20)}" for one in sets_apart[:1])


def _marks(axes: "Axes", marks: Sequence[_Mark]) -> None:
    """A band over each range, and its label above the highest bar, where no other label is."""
    low, high = np.log(axes.get_xlim())
    places = [(np.log(max(mark.centre_ns, 1)) - low) / (high - low) for mark in marks]
    places = [float(np.clip(place, _LABEL / 2, 1 - _LABEL / 2)) for place in places]
    order = np.argsort(places)
    rows = style.stacked([places[index] for index in order], _LABEL)
    room = _ROW * (max(rows, default=-1) + 1)
    axes.set_ylim(0, axes.get_ylim()[1] / (1 - room))
    for row, index in zip(rows, order, strict=True):
        mark = marks[index]
        top = 1 - _ROW * row
        axes.axvspan(mark.low_ns, max(mark.high_ns, mark.low_ns + 1), ymax=top, color=mark.colour, alpha=0.1, lw=0)
        text = "\n".join(mark.lines)
        place: dict[str, Any] = {
            "transform": axes.transAxes,
            "ha": "center",
            "va": "top",
            "fontsize": 10.5,
            "linespacing": 1.15,
        }
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5}
        axes.text(places[index], top - 0.01, text, color=mark.colour, bbox=box, **place)
