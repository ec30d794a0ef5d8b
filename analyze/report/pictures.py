"""The pictures of a page: those of `tracekit plot`, what their parts say, and the places that findings are about."""

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tracekit.analyze.columns import Ints
from tracekit.analyze.plots import heatmap, latency, rates, subsecond, timeline
from tracekit.analyze.plots import io as places
from tracekit.analyze.plots import style as look
from tracekit.analyze.plots.kinds import KINDS
from tracekit.analyze.plots.source import NothingToShowError
from tracekit.analyze.report import words
from tracekit.analyze.report.markup import Html, tag
from tracekit.analyze.results import Finding, Pattern, Report
from tracekit.analyze.selection import Selection
from tracekit.schema import FAMILY_OF
from tracekit.text import printable
from tracekit.trace import Trace
from tracekit.units import SECOND_NS, format_bytes, format_count, format_ns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: So many pictures of when in its second something happens, and of bursts.
_MOST = 2
#: Of SVG, in which a point is a pixel.
_DPI = 72
#: Pixels around the place of a finding, so that what is there can be seen.
_MARGIN = 3.0
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


@dataclass(frozen=True)
class Area:
    """A part of a picture, in the units of its axes.

    Attributes:
        panel: which of the axes, in the order in which they were drawn.
        x: null for all there is, as is `y`.
        told: what it says when it is pointed at.
    """

    panel: int
    x: Span | None
    y: Span | None = None
    told: str = ""


#: Where in a picture a finding is to be seen, if it is.
Where = Callable[[Finding], Area | None]


@dataclass(frozen=True)
class Drawing:
    """What is to be drawn, and what is to be laid over it.

    Attributes:
        kind: one of `plots.KINDS`.
        title: what it is, for those who do not see it.
        told: parts that say something.
        label: what leads from a finding to its place.
    """

    kind: str
    data: Any
    title: str
    id: str
    told: Iterable[Area]
    label: str = ""
    where: Where = lambda _: None


def latencies(canvas: Canvas) -> dict[str, Picture]:
    """How often a latency is how long: by metric, of all that say something."""
    whole = words.by_metric(canvas.report)
    told = {name: one for name, one in whole.items() if not words.says_little(one, whole)}
    return {
        name: _drawn(canvas, _histogram(latency.of(canvas.trace, canvas.selection, one))) for name, one in told.items()
    }


def over_time(canvas: Canvas) -> dict[str, Picture]:
    """When a latency is how long: by metric, of those that findings are about, else of the first."""
    told = {finding.where.metric for finding in canvas.report.findings}
    whole = list(words.by_metric(canvas.report))
    chosen = [name for name in whole if name in told] or whole[:1]
    data = {name: heatmap.data(canvas.trace, canvas.selection, metric=name) for name in chosen}
    return {name: _drawn(canvas, _heat_map(one)) for name, one in data.items()}


def rhythms(canvas: Canvas) -> Iterator[Picture]:
    """When in its second something happens, and who runs in a burst."""
    patterns = [pattern for pattern in canvas.report.patterns if pattern.kind != "steady"]
    events: Sequence[str | None] = [*dict.fromkeys(pattern.event for pattern in patterns)][:_MOST]
    for event in events or (None,):
        yield from _there(_within_second, canvas, event)
    starts = [pattern for pattern in patterns if pattern.event == "exec"]
    bursts = [(place, pattern) for place, pattern in enumerate(starts, 1) if pattern.burst_size > 1]
    for place, pattern in bursts[:_MOST]:
        yield from _there(_burst, canvas, place, pattern)


def event_rates(canvas: Canvas) -> Iterator[Picture]:
    """How many events over time: programs started, I/O, opens."""
    return _there(_rates, canvas)


def io_by_place(canvas: Canvas) -> Iterator[Picture]:
    """Where on the busiest disk I/O goes."""
    return _there(_io, canvas)


def _there(drawing: Callable[..., Drawing], canvas: Canvas, *of: Any) -> Iterator[Picture]:
    """A picture, unless it would be empty."""
    try:
        yield _drawn(canvas, drawing(canvas, *of))
    except NothingToShowError:
        return


# --- each kind -------------------------------------------------------------------------------------------------


def _histogram(data: latency.LatencyHistogram) -> Drawing:
    one = data.latency
    bars = zip(pairwise(data.counts.edges.tolist()), data.counts.counts.tolist(), strict=True)
    told = [Area(0, bar, None, f"{_range(*bar)}: {format_count(count)}") for bar, count in bars if count]

    def where(finding: Finding) -> Area | None:
        its = finding.where
        return Area(0, (its.low_ns, its.high_ns)) if its.metric == one.metric else None

    title = f"Histogram: {words.TITLES[one.metric][0]}"
    return Drawing("latency", data, title, f"length-{_id(one.metric)}", told, "histogram", where)


def _heat_map(data: heatmap.LatencyHeatMap) -> Drawing:
    edges = data.counts.edges.tolist()
    told = _columns(data.bins.edges_s.tolist(), data.counts.counts, lambda low, high: _range(edges[low], edges[high]))

    def where(finding: Finding) -> Area | None:
        its = finding.where
        return Area(0, None, (its.low_ns, its.high_ns)) if its.metric == data.metric else None

    title = f"Over time: {words.TITLES[data.metric][0]}"
    return Drawing("heatmap", data, title, f"time-{_id(data.metric)}", told, "over time", where)


def _within_second(canvas: Canvas, event: str | None) -> Drawing:
    data = subsecond.data(canvas.trace, canvas.selection, event=event)
    begin = [data.first_s + at * float(data.seconds) for at in range(len(data.counts) + 1)]
    ms = np.linspace(0, 1000, data.counts.shape[1] + 1)
    told = _columns(begin, data.counts, lambda low, high: f"{ms[low]:.0f} to {ms[high]:.0f} ms into the second")
    where = _when(canvas, [data.event])
    title = f"When in its second: {data.event}"
    return Drawing("subsecond", data, title, f"second-{_id(data.event)}", told, "when in its second", where)


def _rates(canvas: Canvas) -> Drawing:
    data = rates.data(canvas.trace, canvas.selection)
    steps, digits = list(pairwise(data.edges_s.tolist())), int(data.is_mean)
    told = [
        Area(panel, step, None, f"{step[0]:,.2f} s: {value:,.{digits}f} {one.event} {data.unit}")
        for panel, one in enumerate(data.series)
        for step, value in zip(steps, data.shown(one).tolist(), strict=True)
        if value
    ]
    where = _when(canvas, [one.event for one in data.series])
    return Drawing("rates", data, "Events over time", "rates", told, "events over time", where)


def _burst(canvas: Canvas, place: int, pattern: Pattern) -> Drawing:
    data = timeline.data(canvas.trace, canvas.selection, pattern=place)
    told = [Area(0, None, (row + 0.36, row - 0.36), _lived(bar)) for row, bar in enumerate(data.bars)]

    def where(finding: Finding) -> Area | None:
        return Area(0, None) if finding.where.rhythm == pattern else None

    return Drawing("timeline", data, f"Who runs when: {data.what}", f"burst-{place}", told, "one burst", where)


def _lived(bar: timeline.Bar) -> str:
    lived = "end not seen" if bar.end_ns is None else format_ns(bar.end_ns - bar.start_ns)
    return f"{printable(bar.name, 40)}: {lived}{', ' if bar.exit else ''}{bar.exit}"


def _io(canvas: Canvas) -> Drawing:
    data = places.data(canvas.trace, canvas.selection)
    steps = data.bins.edges_s.tolist()
    told = [
        area
        for zone in range(len(data.zones))
        # The topmost panel is drawn first.
        for area in _zone(data.zones[zone], len(data.zones) - 1 - zone, steps)
    ]
    return Drawing("io", data, f"I/O by place on {printable(data.disk, 40)}", "io", told)


def _zone(zone: places.Zone, panel: int, steps: Sequence[float]) -> Iterator[Area]:
    ops = {op: counts.sum(axis=1).tolist() for op, counts in zone.counts.items()}
    at = f"{format_bytes(zone.low)} to {format_bytes(zone.high)}"
    for column, step in enumerate(pairwise(steps)):
        seen = [f"{format_count(counts[column])} {op}" for op, counts in ops.items() if counts[column]]
        if seen:
            yield Area(panel, step, None, f"{step[0]:,.2f} s: {', '.join(seen)}; {at}")


def _when(canvas: Canvas, events: Sequence[str]) -> Where:
    """Where in a picture of some events' times those of a finding are; nowhere if it is about others, or latencies."""
    whole_ns = canvas.trace.metadata.duration_ns

    def where(finding: Finding) -> Area | None:
        its = finding.where
        panels = [panel for panel, event in enumerate(events) if FAMILY_OF[event] == FAMILY_OF[its.events[0]]]
        if not panels or its.metric is not None:
            return None
        start_ns, end_ns = its.start_ns or 0, whole_ns if its.end_ns is None else its.end_ns
        return Area(panels[0], (start_ns / SECOND_NS, end_ns / SECOND_NS))

    return where


def _columns(edges: Sequence[float], counts: Ints, extent: Callable[[int, int], str]) -> Iterator[Area]:
    """What the columns of a picture of colours say."""
    totals = counts.sum(axis=1).tolist()
    for step, total, column in zip(pairwise(edges), totals, counts, strict=True):
        if total:
            used = np.flatnonzero(column)
            told = f"{step[0]:,.2f} s: {format_count(total)}; {extent(int(used[0]), int(used[-1]) + 1)}"
            yield Area(0, step, None, told)


def _range(low: float, high: float) -> str:
    return f"{format_ns(low)} to {format_ns(high)}"


# --- as HTML ---------------------------------------------------------------------------------------------------


def _drawn(canvas: Canvas, drawing: Drawing) -> Picture:
    """An image, which no name in it can get out of; above it what can be pointed at and gone to."""
    with look.look():
        figure = look.new_figure()
        KINDS[drawing.kind].draw(drawing.data, figure)
    image = base64.b64encode(look.page_svg(figure)).decode()
    figure.set_dpi(_DPI)
    hits = [_rectangle(figure, area, "hit") for area in drawing.told]
    found = [(one.rank, drawing.where(one)) for one in canvas.report.findings]
    places = {Spot(rank, f"{drawing.id}-{rank}", drawing.label): area for rank, area in found if area is not None}
    marks = [_rectangle(figure, area, "spot", spot.id, _MARGIN) for spot, area in places.items()]
    width, height = (round(inches * _DPI) for inches in figure.get_size_inches())
    source = Html(f"data:image/svg+xml;base64,{image}")
    shown = tag("img", src=source, alt=drawing.title, width=width, height=height)
    box = f"0 0 {width} {height}"
    above = tag("svg", *hits, *marks, viewBox=box, role="img", aria_label=drawing.title, tabindex=0)
    return Picture(tag("figure", tag("div", tag("div", shown, above), class_="picture"), id=drawing.id), tuple(places))


def _rectangle(figure: "Figure", area: Area, class_: str, id_: str | None = None, margin: float = 0.0) -> Html:
    """An area of a drawn picture, at least two pixels wide and high, within its axes."""
    axes = figure.axes[area.panel]
    x, y = area.x or axes.get_xlim(), area.y or axes.get_ylim()
    least, most = axes.bbox.get_points()
    corners = np.clip(axes.transData.transform(list(zip(x, y, strict=True))), least, most)
    (left, bottom), (right, top) = corners.min(axis=0) - margin, corners.max(axis=0) + margin
    height = figure.bbox.height
    size = {"width": max(float(right - left), 2.0), "height": max(float(top - bottom), 2.0)}
    more = (tag("title", area.told),) if area.told else ()
    return tag("rect", *more, x=float(left), y=float(height - top), class_=class_, id=id_, **size)


def _id(name: str) -> str:
    return name.replace(".", "-").replace("_", "-")
