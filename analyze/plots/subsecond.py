"""When in its second an event happened: what happens every second is a line, and what drifts is a slope."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tracekit.analyze.columns import Ints
from tracekit.analyze.plots import style
from tracekit.analyze.plots.source import ALL, EVENTS_TOLD, About, check_event, nothing, times, usual_event
from tracekit.analyze.selection import Selection
from tracekit.schema import FAMILY_OF
from tracekit.trace import Trace
from tracekit.units import SECOND_NS, format_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Rows of 10 ms, and columns of so many seconds that there are no more than these.
ROWS, _MOST_COLUMNS = 100, 400


@dataclass(frozen=True)
class SubSecond:
    """How many events happened in which second, and when in it.

    Attributes:
        seconds: of each column, how many it stands for.
        first_s: second of the recording in which the first column begins.
        end_s: when what is looked at ends.
        counts: (columns, `ROWS`).
    """

    about: About
    event: str
    seconds: int
    first_s: int
    end_s: float
    counts: Ints


def data(trace: Trace, selection: Selection = ALL, *, event: str | None = None) -> SubSecond:
    """Seconds against sub-second offsets of an event, both from the start of the recording.

    Raises:
        UsageError: there is no such event, or none happened.
        TraceError: the file is damaged.
    """
    chosen = check_event(event or usual_event(trace))
    selection.check(trace)
    start_ns, end_ns = (at_ns - trace.start_ns for at_ns in selection.span(trace))
    first, last = start_ns // SECOND_NS, max(end_ns - 1, start_ns) // SECOND_NS
    seconds = -(-(last - first + 1) // _MOST_COLUMNS)
    columns = -(-(last - first + 1) // seconds)
    counts = np.zeros(columns * ROWS, dtype=np.int64)
    for ts_ns in times(trace, selection, chosen):
        second, rest = np.divmod(np.clip(ts_ns - trace.start_ns, start_ns, max(end_ns - 1, start_ns)), SECOND_NS)
        cell = (second - first) // seconds * ROWS + rest * ROWS // SECOND_NS
        counts += np.bincount(cell, minlength=len(counts))
    if not counts.any():
        raise nothing(trace, selection, f"{chosen} events")
    about = About.of(trace, selection, FAMILY_OF[chosen])
    return SubSecond(about, chosen, seconds, first, end_ns / SECOND_NS, counts.reshape(columns, ROWS))


def draw(picture: SubSecond, figure: "Figure") -> None:
    """A column a second, from its beginning at the bottom to its end."""
    axes = figure.add_subplot()
    x = np.asarray(picture.first_s + np.arange(len(picture.counts) + 1) * float(picture.seconds), dtype=np.float64)
    y = np.linspace(0, 1000, ROWS + 1)
    each = f"{picture.seconds} s"
    style.heat(axes, x, y, picture.counts, "events per cell")
    style.time_axis(axes, x[0], picture.end_s)
    axes.set_ylabel("offset within the second (ms)")
    axes.set_yticks(range(0, 1001, 100))
    axes.grid(axis="y")
    style.shade(axes, picture.about.lost)
    total = int(picture.counts.sum())
    told = f"{format_count(total)} events; a column is {each}, a cell 10 ms"
    title = f"When in its second: {picture.event} ({EVENTS_TOLD[picture.event]})"
    style.heading(axes, title, [*style.whence(picture.about), told], picture.about.warning)
