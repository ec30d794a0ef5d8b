"""The pictures of a page, from the data of `tracekit plot`, with the places in them that findings are about."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tracekit.analyze.columns import Ints
from tracekit.analyze.plots import heatmap, latency, rates, subsecond, timeline
from tracekit.analyze.plots.latency import LatencyHistogram
from tracekit.analyze.plots.source import EVENTS_TOLD, About, NothingToShowError
from tracekit.analyze.plots.style import stacked
from tracekit.analyze.report import words
from tracekit.analyze.report.drawing import (
    LEFT,
    RIGHT,
    WIDTH,
    Axis,
    area,
    cells,
    duration,
    number,
    scale,
    svg,
    text,
    x_axis,
    y_axis,
)
from tracekit.analyze.report.markup import Html, joined, tag
from tracekit.analyze.results import Finding, Latency, Mode, Outliers, Pattern, Report
from tracekit.analyze.selection import Selection
from tracekit.schema import FAMILY_OF
from tracekit.text import printable
from tracekit.trace import Trace
from tracekit.units import SECOND_NS, format_count, format_ns, format_share

#: A picture of colours has so many cells at most, so that it stays small.
_MOST_CELLS = 20_000
_FEW = 10_000
#: So many pictures of when in its second something happens, and of bursts.
_MOST = 2
_END = float(WIDTH - RIGHT)
#: The part of a picture's width that a label takes, and its height in pixels.
_LABEL, _LABEL_HEIGHT = 0.22, 52
_ROW = 17
_SECONDS = "seconds since the recording began"
Span = tuple[float, float]


@dataclass(frozen=True)
class Spot:
    """The place in a picture that a finding is about; hidden until somebody goes there."""

    rank: int
    id: str
    label: str


@dataclass(frozen=True)
class Picture:
    """A figure of the page."""

    html: Html
    spots: tuple[Spot, ...] = ()


@dataclass(frozen=True)
class Canvas:
    """What pictures are made of."""

    trace: Trace
    selection: Selection
    report: Report

    def second(self, at_ns: int | None, otherwise: int) -> float:
        """Seconds into the recording of a time that counts from its start."""
        return (otherwise if at_ns is None else at_ns) / SECOND_NS


def latencies(canvas: Canvas) -> dict[str, Picture]:
    """How often a latency is how long: by metric, of all that say something."""
    whole = words.by_metric(canvas.report)
    return {name: _histogram(canvas, one) for name, one in whole.items() if not words.says_little(one, whole)}


def over_time(canvas: Canvas) -> dict[str, Picture]:
    """When a latency is how long: by metric, of those that findings are about, else of the first."""
    told = {finding.where.metric for finding in canvas.report.findings}
    whole = list(words.by_metric(canvas.report))
    chosen = [name for name in whole if name in told] or whole[:1]
    return {metric: _heat_map(canvas, metric) for metric in chosen}


def rhythms(canvas: Canvas) -> list[Picture]:
    """When in its second something happens, and who runs in a burst."""
    patterns = [pattern for pattern in canvas.report.patterns if pattern.kind != "steady"]
    events = list(dict.fromkeys(pattern.event for pattern in patterns))[:_MOST]
    starts = [pattern for pattern in patterns if pattern.event == "exec"]
    bursts = [(place, pattern) for place, pattern in enumerate(starts, 1) if pattern.burst_size > 1][:_MOST]
    within = [_within_second(canvas, event) for event in events]
    drawn = [*(within if any(within) else [_within_second(canvas, None)]), *(_burst(canvas, *one) for one in bursts)]
    return [picture for picture in drawn if picture is not None]


# --- histograms ------------------------------------------------------------------------------------------------


def _histogram(canvas: Canvas, one: Latency) -> Picture:
    picture = latency.of(canvas.trace, canvas.selection, one)
    edges = picture.counts.edges
    x = Axis(float(edges[0]), float(edges[-1]), LEFT, _END, logarithmic=True)
    labels, top = _labels(one, x)
    bottom = top + 210
    y = Axis(0, int(picture.counts.counts.max()) * 1.04, bottom, top)
    axes = joined(y_axis(y, number), x_axis(x, bottom, top, "latency; values per bar", duration))
    name, meaning = words.TITLES[one.metric]
    spots, places = _spots(
        canvas,
        f"length-{_id(one.metric)}",
        "histogram",
        lambda f: (_span(x, f.where.low_ns, f.where.high_ns), (4, bottom)) if f.where.metric == one.metric else None,
    )
    drawn = svg(bottom + 44, f"Histogram: {name}", axes, labels, _bars(picture, x, y), places)
    told = f"{format_count(one.count)} value{'s' if one.count > 1 else ''}, {meaning}"
    return Picture(_figure("Histogram", told, "", drawn), spots)


def _bars(picture: LatencyHistogram, x: Axis, y: Axis) -> Html:
    counts, edges = picture.counts.counts.tolist(), picture.counts.edges
    left, out = x.all_at(edges), picture.latency.outliers
    bars, hits = [], []
    for at, count in enumerate(counts):
        if not count:
            continue
        inside = any(
            mode.low_ns <= math.sqrt(edges[at] * edges[at + 1]) <= mode.high_ns for mode in picture.latency.modes
        )
        class_ = "out" if out and edges[at + 1] > out.threshold_ns else "mode" if inside else "between"
        top = min(y.at(count), y.start - 2)
        # A little wider, so that no line is left between neighbours.
        bars.append(area((left[at], left[at + 1] + 0.6), (top, y.start), class_))
        if class_ == "out":
            middle = (left[at] + left[at + 1]) / 2
            bars.append(tag("path", d=f"M{middle - 5:.1f} {top - 12:.1f}h10l-5 9z", class_="out"))
        title = f"{format_ns(edges[at])} to {format_ns(edges[at + 1])}: {format_count(count)}"
        hits.append(area((left[at], left[at + 1]), (y.end, y.start), "hit", title))
    return joined(*bars, *hits)


def _labels(one: Latency, x: Axis) -> tuple[Html, float]:
    """A band over the range of each mode and of the outliers, its label above, and where labels end."""
    marks = [*((mode, mode.peak_ns) for mode in one.modes)]
    told: list[tuple[Mode | Outliers, int]] = [*marks]
    if one.outliers is not None:
        told.append((one.outliers, math.isqrt(one.outliers.low_ns * one.outliers.high_ns)))
    half = _LABEL * (_END - LEFT) / 2
    centres = [min(max(x.at(centre), LEFT + half), _END - half) for _, centre in told]
    rows = stacked([(centre - LEFT) / (_END - LEFT) for centre in centres], _LABEL)
    top = 14.0 + _LABEL_HEIGHT * (max(rows, default=-1) + 1)
    drawn = []
    for (what, _), centre, row in zip(told, centres, rows, strict=True):
        lines = _told(what, len(one.modes) == 1)
        class_ = "out" if isinstance(what, Outliers) else "mode"
        y = 16.0 + _LABEL_HEIGHT * row
        drawn.append(
            area(_span(x, what.low_ns, what.high_ns), (y + 4 + 15 * (len(lines) - 1), top + 210), f"band {class_}")
        )
        drawn += [text(centre, y + 15 * at, line, f"label {class_}") for at, line in enumerate(lines)]
    return joined(*drawn), top


def _told(what: Mode | Outliers, only: bool) -> list[str]:
    """What is said of a mode, or of outliers."""
    if isinstance(what, Outliers):
        first = words.outlier_count(what)
    else:
        first = "one mode" if only else f"{'minor mode' if what.minor else 'mode'} of {format_share(what.share)}"
    because = [f"{one.field.replace('_', ' ')} {printable(one.value, 20)}" for one in what.sets_apart[:1]]
    return [first, words.extent(what), *because]


# --- over time -------------------------------------------------------------------------------------------------


def _heat_map(canvas: Canvas, metric: str) -> Picture:
    picture = heatmap.data(canvas.trace, canvas.selection, metric=metric)
    counts, edges, seconds = picture.counts.counts, picture.counts.edges, picture.bins.edges_s
    if counts.sum() < _FEW:  # dots that can be seen
        counts, seconds = counts.reshape(-1, 2, counts.shape[1]).sum(axis=1), seconds[::2]
    x = Axis(float(seconds[0]), float(seconds[-1]), LEFT, _END)
    y = Axis(float(edges[0]), float(edges[-1]), 290, 24, logarithmic=True)
    axes = joined(y_axis(y, duration), x_axis(x, 290, 24, _SECONDS, number), scale(14, int(counts.max())))
    told = [f"{format_ns(edges[low])} to {format_ns(edges[high])}" for low, high in map(_used, counts)]
    values = joined(cells(x.all_at(seconds), y.all_at(edges), counts), _hits(x, y, seconds, counts, told))
    name, meaning = words.TITLES[metric]
    spots, places = _spots(
        canvas,
        f"time-{_id(metric)}",
        "over time",
        lambda f: ((LEFT, _END), _span(y, f.where.low_ns, f.where.high_ns)) if f.where.metric == metric else None,
    )
    drawn = svg(334, f"Heat map: {name} over time", axes, values, _lost(picture.about, x, (24, 290)), places)
    told_of = f"each where it began, {meaning}; the colour says how many"
    return Picture(_figure("Over time", told_of, picture.about.warning, drawn), spots)


def _used(column: Ints) -> tuple[int, int]:
    """The first bin with something in it, and the one behind the last."""
    used = np.flatnonzero(column)
    return (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)


def _hits(x: Axis, y: Axis, seconds: Iterable[float], counts: Ints, told: Sequence[str]) -> Html:
    """What columns say when they are pointed at."""
    begin = list(seconds)
    left = x.all_at(begin)
    totals = counts.sum(axis=1).tolist()
    return joined(
        *(
            area((left[at], left[at + 1]), (y.end, y.start), "hit", f"{begin[at]:,.2f} s: {total:,}; {told[at]}")
            for at, total in enumerate(totals)
            if total
        )
    )


def _lost(about: About, x: Axis, y: Span) -> Html:
    """Stretches of time in which events were lost."""
    return joined(*(area(_span(x, *window), y, "lost", "events lost") for window in about.lost))


def event_rates(canvas: Canvas) -> list[Picture]:
    """How many events over time: programs started, I/O, opens."""
    try:
        picture = rates.data(canvas.trace, canvas.selection)
    except NothingToShowError:
        return []
    seconds = picture.edges_s
    x = Axis(float(seconds[0]), float(seconds[-1]), LEFT, _END)
    panels: list[Html] = []
    spots: list[Spot] = []
    for place, one in enumerate(picture.series):
        y = (26.0 + 134 * place, 120.0 + 134 * place)
        where = partial(_when, canvas, event=one.event, x=x, y=y)
        found, places = _spots(canvas, f"rate-{_id(one.event)}", "events over time", where)
        panels += [_panel(picture, one, x, y), _lost(one.about, x, y), places]
        spots += found
    last = 134.0 * len(picture.series) - 14
    title = f"Events {picture.unit}"
    drawn = svg(last + 44, f"{title} over time", *panels, x_axis(x, last, last, _SECONDS, number))
    warnings = dict.fromkeys(one.about.warning for one in picture.series if one.about.warning)
    told = f"{'means of steps of' if picture.is_mean else 'a step is'} {picture.step}"
    return [Picture(_figure(title, told, " ".join(warnings), drawn), tuple(spots))]


def _panel(picture: rates.Rates, one: rates.Series, x: Axis, span: Span) -> Html:
    seconds, values = picture.edges_s.tolist(), picture.shown(one).tolist()
    y = Axis(0, max(values) or 1.0, span[1], span[0])
    left = x.all_at(seconds)
    steps = "".join(f"V{y.at(value):.1f}H{right:.1f}" for value, right in zip(values, left[1:], strict=True))
    outline = tag("path", d=f"M{left[0]:.1f} {y.start:.1f}{steps}V{y.start:.1f}z", class_=FAMILY_OF[one.event])
    hits = (
        area(
            (left[at], left[at + 1]),
            (y.end, y.start),
            "hit",
            f"{seconds[at]:,.2f} s: {value:,.{int(picture.is_mean)}f} {one.event} {picture.unit}",
        )
        for at, value in enumerate(values)
        if value
    )
    told = rates.legend(picture, one)
    return joined(text(LEFT, y.end - 9, told, "name"), y_axis(y, number, 3), outline, *hits)


def _when(canvas: Canvas, finding: Finding, *, event: str, x: Axis, y: Span) -> tuple[Span, Span] | None:
    """Where in a picture of an event's times the events of a finding are; nowhere if it is about others."""
    where = finding.where
    if FAMILY_OF[where.events[0]] != FAMILY_OF[event] or where.metric is not None:
        return None
    end_s = canvas.second(where.end_ns, canvas.trace.metadata.duration_ns)
    return _span(x, canvas.second(where.start_ns, 0), end_s), y


# --- rhythms ---------------------------------------------------------------------------------------------------


def _within_second(canvas: Canvas, event: str | None) -> Picture | None:
    try:
        picture = subsecond.data(canvas.trace, canvas.selection, event=event)
    except NothingToShowError:
        return None
    counts = picture.counts
    if counts.size > _MOST_CELLS:
        counts = counts.reshape(len(counts), -1, 2).sum(axis=2)
    begin = picture.first_s + np.arange(len(counts) + 1) * float(picture.seconds)
    ms = np.linspace(0, 1000, counts.shape[1] + 1)
    x = Axis(float(begin[0]), float(begin[-1]), LEFT, _END)
    y = Axis(0, 1000, 290, 24)
    axes = joined(y_axis(y, number), x_axis(x, 290, 24, _SECONDS, number), scale(14, int(counts.max())))
    told = [f"{ms[low]:.0f} to {ms[high]:.0f} ms into the second" for low, high in map(_used, counts)]
    values = joined(cells(x.all_at(begin), y.all_at(ms), counts), _hits(x, y, begin, counts, told))
    spots, places = _spots(
        canvas,
        f"second-{_id(picture.event)}",
        "when in its second",
        partial(_when, canvas, event=picture.event, x=x, y=(24, 290)),
    )
    title = f"When in its second: {picture.event} ({EVENTS_TOLD[picture.event]})"
    lost = _lost(picture.about, x, (24, 290))
    drawn = svg(334, title, axes, text(LEFT, 14, "ms into the second", "name"), values, lost, places)
    each = f"a column is {picture.seconds} s; what keeps to the second is a line, what drifts is a slope"
    return Picture(_figure(title, each, picture.about.warning, drawn), spots)


def _burst(canvas: Canvas, place: int, pattern: Pattern) -> Picture | None:
    """A bar for each process of a typical burst."""
    try:
        picture = timeline.data(canvas.trace, canvas.selection, pattern=place)
    except NothingToShowError:
        return None
    begin, bottom = picture.start_ns, 24.0 + _ROW * len(picture.bars)
    x = Axis(0, (picture.end_ns - begin) / 1e6, 240, _END - 60)
    rows = joined(*(_process(bar, x, begin, 24.0 + _ROW * row) for row, bar in enumerate(picture.bars)))
    axes = x_axis(x, bottom, 16, "milliseconds since the first of them began", number)
    title = picture.what[:1].upper() + picture.what[1:]
    more = f"; {format_count(picture.omitted)} more are not shown" if picture.omitted else ""
    at = f"at {format_ns(begin - picture.origin_ns)} into the recording{more}"
    told = f"{picture.which}, {at}" if picture.which else at
    drawn, id_ = svg(bottom + 44, title, axes, rows), f"burst-{place}"
    ranks = [one.rank for one in canvas.report.findings if one.title[1:] == pattern.sentence[1:]]
    return Picture(_figure(title, told, "", drawn, id_), tuple(Spot(rank, id_, "one burst") for rank in ranks))


def _process(bar: timeline.Bar, x: Axis, begin_ns: int, y: float) -> Html:
    start = (bar.start_ns - begin_ns) / 1e6
    end = x.high if bar.end_ns is None else (bar.end_ns - begin_ns) / 1e6
    name = printable(bar.name, 24)
    lived = "end not seen" if bar.end_ns is None else format_ns(bar.end_ns - bar.start_ns)
    title = f"{name}: {lived}{', ' if bar.exit else ''}{bar.exit}"
    return joined(
        text(12.0 + 14 * bar.depth, y + 12, name, "name"),
        area((x.at(start), x.at(end)), (y + 3, y + 14), f"life {bar.outcome} tip", title),
        *([text(x.at(end) + 5, y + 12, bar.exit, "label exit")] if bar.exit else []),
    )


# --- all of them -----------------------------------------------------------------------------------------------


def _spots(
    canvas: Canvas, picture: str, label: str, place: Callable[[Finding], tuple[Span, Span] | None]
) -> tuple[tuple[Spot, ...], Html]:
    """The places of findings in a picture."""
    spots, drawn = [], []
    for finding in canvas.report.findings:
        found = place(finding)
        if found is not None:
            spots.append(Spot(finding.rank, f"{picture}-{finding.rank}", label))
            drawn.append(area(*found, "spot", id_=spots[-1].id))
    return tuple(spots), joined(*drawn)


def _span(axis: Axis, low: float, high: float) -> Span:
    """A stretch of an axis, wide enough to be seen."""
    first, last = sorted((axis.at(low), axis.at(high)))
    return first - 2, last + 2


def _figure(title: str, told: str, warning: str, drawn: Html, id_: str | None = None) -> Html:
    more = (tag("strong", warning, class_="warning"),) if warning else ()
    caption = tag("figcaption", tag("b", title), " ", tag("span", told), *more)
    return tag("figure", caption, tag("div", drawn, class_="picture"), id=id_)


def _id(name: str) -> str:
    return name.replace(".", "-").replace("_", "-")
