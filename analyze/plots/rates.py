"""How many events over time, and when the recorder was blind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tracekit.analyze.columns import Floats, Ints
from tracekit.analyze.plots import style
from tracekit.analyze.plots.bins import TimeBins
from tracekit.analyze.plots.source import ALL, EVENTS_TOLD, About, check_event, nothing, times
from tracekit.analyze.selection import Selection
from tracekit.errors import UsageError
from tracekit.schema import FAMILY_OF
from tracekit.trace import Trace
from tracekit.units import SECOND_NS, format_count, format_ns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

USUAL = ("exec", "block_issue", "open")
_BINS, _MOST = 300, 6
_COLOURS = {"process": style.BLUE, "block": style.ORANGE, "open": style.GREEN}


@dataclass(frozen=True)
class Series:
    """How often an event happened in each stretch of time; `about` has what of its family was lost when."""

    about: About
    event: str
    counts: Ints


@dataclass(frozen=True)
class Rates:
    """How often several events happened.

    Attributes:
        end_ns: when what is looked at ends: the last step may be cut short by that.
    """

    bins: TimeBins
    end_ns: int
    series: tuple[Series, ...]

    @property
    def is_mean(self) -> bool:
        """Whether steps are so long that the mean rate in each is shown, instead of how many events it has."""
        return self.bins.width_ns >= SECOND_NS

    @property
    def unit(self) -> str:
        """What a value of `shown` is: `per second`, or `per 50 ms` where a step is that short."""
        return "per second" if self.is_mean else f"per {self.step}"

    @property
    def step(self) -> str:
        """How long a step is, for a person."""
        return style.short(format_ns(self.bins.width_ns))

    @property
    def edges_s(self) -> Floats:
        """Where steps begin, and where the last one ends, in seconds from the start of the recording."""
        return np.minimum(self.bins.edges_s, (self.end_ns - self.bins.origin_ns) / SECOND_NS)

    def shown(self, one: Series) -> Floats:
        """What is drawn of an event in each step; one that is cut short counts as whole, lest a moment look busy."""
        return np.asarray(one.counts * (SECOND_NS / self.bins.width_ns if self.is_mean else 1), dtype=np.float64)


def data(trace: Trace, selection: Selection = ALL, *, events: Sequence[str] = ()) -> Rates:
    """The rates of these events; without any, of program starts, I/O and opens, as far as there are some.

    Raises:
        UsageError: there is no such event, or more than a picture holds, or none happened.
        TraceError: the file is damaged.
    """
    wanted = [check_event(event) for event in dict.fromkeys(events)] or USUAL
    if len(wanted) > _MOST:
        raise UsageError(f"a picture holds the rates of {_MOST} events, not of {len(wanted)}")
    selection.check(trace)
    bins = TimeBins.round(trace, selection, _BINS)
    series = [
        Series(About.of(trace, selection, FAMILY_OF[event]), event, _count(trace, selection, event, bins))
        for event in wanted
    ]
    kept = tuple(one for one in series if one.counts.any() or one.about.lost)
    if not kept:
        raise nothing(trace, selection, f"{' or '.join(wanted)} events")
    return Rates(bins, selection.span(trace)[1], kept)


def _count(trace: Trace, selection: Selection, event: str, bins: TimeBins) -> Ints:
    counts = np.zeros(bins.count, dtype=np.int64)
    for ts_ns in times(trace, selection, event):
        counts += np.bincount(bins.number(ts_ns), minlength=bins.count)
    return counts


def draw(picture: Rates, figure: "Figure") -> None:
    """A panel for each event, above each other on one axis of time."""
    panels = figure.subplots(len(picture.series), 1, sharex=True, squeeze=False)[:, 0]
    for axes, one in zip(panels, picture.series, strict=True):
        _panel(axes, picture, one)
        axes.tick_params(labelbottom=axes is panels[-1])
    times_s = picture.edges_s
    style.time_axis(panels[-1], times_s[0], times_s[-1])
    for axes, one in zip(panels, picture.series, strict=True):
        style.shade(axes, one.about.lost)
    first = picture.series[0]
    whole, *part = style.whence(first.about)
    told = [f"{whole}{f'; steps are means of {picture.step}' if picture.is_mean else ''}", *part]
    title = f"Events {picture.unit}: {', '.join(one.event for one in picture.series)}"
    style.heading(panels[0], title, [*told, legend(picture, first)], first.about.warning)
    figure.align_ylabels(panels)
    for axes, one in list(zip(panels, picture.series, strict=True))[1:]:
        style.lines(axes, [legend(picture, one)], one.about.warning)


def _panel(axes: "Axes", picture: Rates, one: Series) -> None:
    axes.stairs(picture.shown(one), picture.edges_s, fill=True, color=_COLOURS[FAMILY_OF[one.event]])
    style.count_axis(axes, picture.unit, ticks=max(6 // len(picture.series), 2) + 1)


def legend(picture: Rates, one: Series) -> str:
    """What stands above the panel of an event."""
    total, peak = int(one.counts.sum()), round(float(picture.shown(one).max()))
    least = "fewer than 1" if total and not peak else format_count(peak)
    told = f"{format_count(total)} in all, at most {least} {picture.unit}"
    return f"{one.event} ({EVENTS_TOLD[one.event]}): {told}"
