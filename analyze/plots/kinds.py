"""Which kinds of pictures there are."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracekit.analyze.plots import heatmap, io, latency, rates, style, subsecond, timeline
from tracekit.analyze.plots.source import ALL, suggest
from tracekit.analyze.selection import Selection
from tracekit.errors import UsageError
from tracekit.files import check_output, putting
from tracekit.trace import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLES = ("png", "svg")


@dataclass(frozen=True)
class Kind:
    """A kind of picture: what it shows, what can be chosen, where its data come from, and how these are drawn."""

    help: str
    options: tuple[str, ...]
    data: Callable[..., Any]
    draw: Callable[[Any, "Figure"], None]


KINDS = {
    "latency": Kind(
        "how often a latency is how long, with modes and outliers", ("metric", "group"), latency.data, latency.draw
    ),
    "heatmap": Kind("when a latency is how long", ("metric", "group"), heatmap.data, heatmap.draw),
    "subsecond": Kind(
        "in which second, and when in it, an event happens: rhythms show", ("event",), subsecond.data, subsecond.draw
    ),
    "rates": Kind("events per second over time", ("events",), rates.data, rates.draw),
    "timeline": Kind("who runs when in a burst of processes", ("pattern",), timeline.data, timeline.draw),
    "io": Kind("where on a disk I/O goes over time", (), io.data, io.draw),
}


def kind_of(name: str) -> Kind:
    """The kind of picture of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in KINDS:
        raise suggest(name, tuple(KINDS), "kind of picture")
    return KINDS[name]


def _kind_with(name: str, options: Iterable[str]) -> Kind:
    """The kind of that name, which has these options."""
    kind = kind_of(name)
    for option in options:
        if option not in kind.options:
            having = [other for other in KINDS if option in KINDS[other].options]
            raise UsageError(f"{name} takes no {option}: that is for {' and '.join(having) or 'no kind of picture'}")
    return kind


def check(kind: str, path: Path, options: Iterable[str] = (), force: bool = False) -> None:
    """Refuse what cannot be drawn or written, before any work is done for it.

    Args:
        options: names of those that `plot` will be given.

    Raises:
        UsageError: as `plot` and `save` have it.
    """
    _kind_with(kind, options)
    style_of(path)
    check_output(path, force)


def plot(trace: Trace, kind: str, selection: Selection = ALL, **options: Any) -> "Figure":
    """Draw a picture of a trace.

    Args:
        trace: as `tracekit.open_trace` gives it.
        kind: one of `KINDS`.
        selection: the part of the trace to look at.
        options: `metric` and `group` (a dict of fields) of latency and heatmap; `event` of subsecond; `events` of
            rates; `pattern` of timeline: the number of a rhythm.

    Returns:
        A matplotlib Figure that no window and no pyplot knows of; see `save`.

    Raises:
        UsageError: there is no such kind, or the kind has no such option.
        NothingToShowError: the picture would be empty.
        TraceError: the file is damaged.
    """
    chosen = _kind_with(kind, options)
    picture = chosen.data(trace, selection, **options)
    with style.look():
        figure = style.new_figure()
        chosen.draw(picture, figure)
    return figure


def style_of(path: Path) -> str:
    """`png` or `svg`, by the end of a file's name.

    Raises:
        UsageError: it ends otherwise.
    """
    ending = path.suffix.lower().removeprefix(".")
    if ending not in STYLES:
        raise UsageError(f"the picture {path} must end in .png or .svg")
    return ending


def save(figure: "Figure", path: Path, force: bool = False) -> None:
    """Write a picture whole or not at all; the same picture gives the same file.

    Args:
        path: ends in `.png` or `.svg`.
        force: overwrite a file of that name.

    Raises:
        UsageError: the name ends otherwise, the file exists, or its folder cannot be written to.
    """
    ending = style_of(path)
    check_output(path, force)
    with putting(path, force) as temporary:
        style.picture_bytes(figure, temporary, ending)
