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
#: Pixels each way, those of an inch, and how small a picture may be, beside the usual one, for the same size of text.
_MOST_PX, _LEAST_DPI, _LEAST_SHARE = 10_000, 30, 0.9


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
    "rates": Kind("how many events over time, and when some were lost", ("events",), rates.data, rates.draw),
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


def check(kind: str | None, path: Path, options: Iterable[str] = (), force: bool = False) -> None:
    """Refuse what cannot be drawn or written, before any work is done for it.

    Args:
        kind: null if it is not known yet.
        options: names of those that `plot` will be given.

    Raises:
        UsageError: as `plot` and `save` have it.
    """
    if kind is not None:
        _kind_with(kind, options)
    style_of(path)
    check_output(path, force)


def resolution(size_px: tuple[int, int] | None, dpi: int | None) -> tuple[tuple[int, int], int]:
    """The size of a picture in pixels, and how many of them are an inch, which says how large text is.

    Args:
        size_px: width and height; null for the usual.
        dpi: null for as many as keep the usual look, whatever the size.

    Raises:
        UsageError: there is no room for the text, or there are too many pixels.
    """
    width, height = size_px or style.SIZE_PX
    if max(width, height) > _MOST_PX:
        raise UsageError(f"a picture has at most {_MOST_PX:,} pixels each way, not {width}x{height}")
    usual = style.DPI * min(width / style.SIZE_PX[0], height / style.SIZE_PX[1])
    if round(usual) < _LEAST_DPI:
        least = "x".join(f"{side * _LEAST_DPI // style.DPI}" for side in style.SIZE_PX)
        raise UsageError(f"nobody could read a picture of {width}x{height}: give at least {least}")
    chosen = round(usual) if dpi is None else dpi
    if chosen < _LEAST_DPI:
        raise UsageError(f"nobody could read a picture at {chosen} dpi: give at least {_LEAST_DPI}")
    if chosen > usual / _LEAST_SHARE:
        most = int(usual / _LEAST_SHARE)
        raise UsageError(f"in {width}x{height} at {chosen} dpi text has no room: give at most {most} dpi")
    return (width, height), chosen


def plot(
    trace: Trace,
    kind: str,
    selection: Selection = ALL,
    *,
    size_px: tuple[int, int] | None = None,
    dpi: int | None = None,
    **options: Any,
) -> "Figure":
    """Draw a picture of a trace.

    Args:
        trace: as `tracekit.open_trace` gives it.
        kind: one of `KINDS`.
        selection: the part of the trace to look at.
        size_px: width and height in pixels; as usual by default, where a timeline is as high as it needs to be.
        dpi: pixels of an inch: how large text is; by default it keeps its share of the picture.
        options: `metric` and `group` (a dict of fields) of latency and heatmap; `event` of subsecond; `events` of
            rates; `pattern` of timeline: the number of a rhythm.

    Returns:
        A matplotlib Figure that no window and no pyplot knows of; see `save`.

    Raises:
        UsageError: there is no such kind, the kind has no such option, or the size makes no sense.
        NothingToShowError: the picture would be empty.
        TraceError: the file is damaged.
    """
    chosen = _kind_with(kind, options)
    (width, height), inch = resolution(size_px, dpi)
    picture = chosen.data(trace, selection, **options)
    with style.look():
        figure = style.new_figure((width, height), inch)
        chosen.draw(picture, figure)
        if size_px is not None:
            figure.set_size_inches(width / inch, height / inch)
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
