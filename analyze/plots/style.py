"""How all pictures look, and the one place that imports matplotlib: only when something is drawn.

Colours are those of Okabe and Ito, and viridis, which people tell apart whatever colours they see.
"""

import contextlib
import functools
import io
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tracekit.analyze.report.words import TITLES
from tracekit.text import printable
from tracekit.units import format_bytes, format_ns, format_span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.ft2font import FT2Font
    from matplotlib.ticker import FuncFormatter

    from tracekit.analyze.columns import Floats, Ints
    from tracekit.analyze.plots.source import About

BLUE, ORANGE, GREEN, PURPLE, VERMILION = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00"
PALE_BLUE, GREY, DARK = "#9CC7E0", "#8A8A8A", "#333333"
#: Pixels of a picture, as it is pasted into a ticket or shown on a wall.
SIZE_PX, DPI = (1500, 850), 150
_FONT = "DejaVu Sans"
_LOOK: dict[Any, Any] = {
    # Where text is text, another one must do where this one is not there.
    "font.family": [_FONT, "sans-serif"],
    "font.sans-serif": [_FONT],
    "font.size": 11,
    "axes.edgecolor": GREY,
    "axes.labelcolor": DARK,
    "axes.labelsize": 11.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "figure.dpi": DPI,
    "grid.color": "#E3E3E3",
    "text.color": DARK,
    "xtick.color": DARK,
    "ytick.color": DARK,
    # The same picture is the same file.
    "svg.hashsalt": "tracekit",
}
_RIGHT_TO_LEFT = {"R", "AL", "AN"}
#: Points.
_TITLE, _LINE, _LINE_STEP, _LEGEND = 14, 10.5, 15, 24
#: On a scale of colours the greatest has a tick; a number above this part of the scale would be too close to it.
_CLOSE = 0.94


@contextlib.contextmanager
def look(**options: Any) -> Iterator[None]:
    """What is drawn in this block looks the same everywhere, whatever matplotlib is told to do on this machine.

    Args:
        options: more of matplotlib's parameters, with `_` for the dot in their names.
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_LOOK | {name.replace("_", ".", 1): value for name, value in options.items()})
        yield


def new_figure(size_px: tuple[int, int] = SIZE_PX, dpi: int = DPI) -> "Figure":
    """An empty picture.

    Args:
        size_px: width and height in pixels.
        dpi: pixels of an inch, which say how large text and lines are.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    margins = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    return Figure(figsize=(size_px[0] / dpi, size_px[1] / dpi), dpi=dpi, layout=margins)


# --- strings ---


def shown(text: str | None, limit: int = 40) -> str:
    """A string as a picture may show it: hostile characters and those without a glyph escaped, nothing taken for TeX.

    Args:
        text: from a trace, or anything else.
        limit: longest result in characters, before dollars are escaped for matplotlib.
    """
    drawn = "".join(
        character if _is_drawable(character) else character.encode("unicode_escape").decode()
        for character in printable(text)
    )
    return printable(drawn, limit).replace("$", r"\$")


def _is_drawable(character: str) -> bool:
    if character.isascii():
        return True
    turns = unicodedata.bidirectional(character) in _RIGHT_TO_LEFT or unicodedata.category(character).startswith("M")
    return not turns and _font().get_char_index(ord(character)) != 0


@functools.cache
def _font() -> "FT2Font":
    from matplotlib.font_manager import findfont, get_font

    return get_font(findfont(_FONT))


def heading(axes: "Axes", title: str, told: Sequence[str], warning: str = "") -> None:
    """A title above some axes, lines that say where it is from, and a warning in the colour of one."""
    count = lines(axes, told, warning)
    axes.set_title(title, loc="left", fontsize=_TITLE, fontweight="bold", pad=11 + count * _LINE_STEP)


def lines(axes: "Axes", told: Sequence[str], warning: str = "") -> int:
    """Small lines above some axes; how many there are."""
    coloured = [(line, DARK) for line in told] + ([(warning, VERMILION)] if warning else [])
    for index, (line, colour) in enumerate(reversed(coloured)):
        offset = (0, 6 + index * _LINE_STEP)
        axes.annotate(
            line, (0, 1), xytext=offset, xycoords="axes fraction", textcoords="offset points", fontsize=_LINE, c=colour
        )
    return len(coloured)


def whence(about: "About", group: Mapping[str, str] | None = None) -> list[str]:
    """The lines that say which recording, and which part of it, a picture is of."""
    began = f" from {about.began}" if about.began else ""
    whole = f"{shown(about.name, 48)}, {format_span(about.duration_ns)}{began}"
    parts = [about.part] if about.part else []
    parts += [f"{name} {value}" for name, value in (group or {}).items()]
    return [whole, f"only {shown('; '.join(parts), 90)}"] if parts else [whole]


def metric_title(metric: str) -> str:
    """What a metric is called in a title."""
    name, meaning = TITLES[metric]
    return f"{name} ({meaning})"


# --- axes ---


def short(text: str) -> str:
    """A number with its unit and without zeros that say nothing: `10 ms` for `10.0 ms`."""
    return text.replace(".00 ", " ").replace(".0 ", " ")


def time_axis(axes: "Axes", start_s: float, end_s: float) -> None:
    """An x axis of seconds since the recording began."""
    axes.set_xlim(start_s, end_s)
    axes.set_xlabel("seconds since the recording began", loc="left")
    axes.xaxis.set_major_formatter(plain_numbers())


def plain_numbers() -> "FuncFormatter":
    """What writes numbers at ticks in full, with thousands separators."""
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: f"{value:,.9g}")


def duration_axis(axes: "Axes", which: str) -> None:
    """A logarithmic axis of durations in ns, with their units at the ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set_xscale("log") if which == "x" else axes.set_yscale("log")
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    steps = (1.0,) if decades > 3 else (1.0, 2.0, 5.0) if decades > 0.5 else tuple(np.arange(1, 10, 0.5))
    axis.set_major_locator(LogLocator(subs=steps, numticks=20))
    axis.set_minor_locator(LogLocator(subs=tuple(range(1, 10)), numticks=200) if decades > 3 else NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(format_ns(value))))
    axis.set_minor_formatter(FuncFormatter(lambda *_: ""))


def count_axis(axes: "Axes", label: str, ticks: int = 6) -> None:
    """A y axis of counts from 0 on, with a grid."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=ticks, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylabel(label)
    axes.grid(axis="y")


def offset_axis(axes: "Axes", low: int, high: int, most: int) -> None:
    """A y axis of places on a disk in bytes, with at most so many ticks; all but the first count from it if they must.

    That is where these differ too little to be told apart.
    """
    step = 1 << max((max(high - low, 1) // most).bit_length(), 9)
    ticks = list(range(low // step * step, high + step, step))
    labels = [short(format_bytes(tick)) for tick in ticks]
    if len(set(labels)) < len(labels):
        labels[1:] = [f"+{short(format_bytes(tick - ticks[0]))}" for tick in ticks[1:]]
    axes.set_yticks(ticks, labels)
    first, last = min(ticks[0], low), max(ticks[-1], high)
    # What lies at the very edge must be seen.
    axes.set_ylim(first - 0.02 * (last - first), last + 0.02 * (last - first))
    axes.grid(axis="y")


# --- marks ---


@functools.cache
def _colours() -> "Colormap":
    """From few, which must be seen on white, and on a dark page that turns light to dark, to many."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    return ListedColormap(matplotlib.colormaps["viridis_r"](np.linspace(0.36, 1, 256)))


def heat(axes: "Axes", x_edges: "Floats", y_edges: "Floats", counts: "Ints", label: str) -> "QuadMesh":
    """Counts of shape (x, y) as colours, white where there is nothing, with a scale beside them."""
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import FuncFormatter

    most = max(int(counts.max(initial=0)), 2)
    scale = LogNorm(1, most) if most > 10 else Normalize(1, most)
    drawn = np.ma.masked_equal(counts.T, 0)
    # Pixels inside an SVG, too: its size must not grow with the number of cells.
    mesh = axes.pcolormesh(x_edges, y_edges, drawn, cmap=_colours(), norm=scale, rasterized=True)
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.015, fraction=0.05, aspect=30)
    bar.set_label(label)
    bar.set_ticks([*(count for count in _round_counts(most) if scale(count) < _CLOSE), most])
    bar.minorticks_off()
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    return mesh


def _round_counts(most: int) -> Iterator[int]:
    """1, 2, 5, 10, ... up to a count; all up to a small one, only powers of ten up to a great one."""
    if most <= 6:
        yield from range(1, most + 1)
        return
    for power in range(19):
        for first in (1, 2, 5) if most < 2000 else (1,):
            if first * 10**power <= most:
                yield first * 10**power


def shade(axes: "Axes", windows_s: Sequence[tuple[float, float]]) -> None:
    """Mark stretches of time in which events were lost; the shortest can still be seen."""
    low, high = axes.get_xlim()
    least = (high - low) / 400
    for start, end in windows_s:
        start, end = max(start, low), min(max(end, start + least), high)
        if start < end:
            axes.axvspan(start, end, facecolor=VERMILION, alpha=0.25, edgecolor=VERMILION, hatch="////", lw=0, zorder=3)


def legend(axes: "Axes", **options: Any) -> None:
    """What colours stand for, beside the name of the x axis, where no data are."""
    from matplotlib.transforms import ScaledTranslation

    figure = axes.get_figure()
    assert figure is not None  # what is drawn is in a picture
    below = axes.transAxes + ScaledTranslation(0, -_LEGEND / 72, figure.dpi_scale_trans)
    axes.legend(
        loc="upper right",
        bbox_to_anchor=(1, 0),
        bbox_transform=below,
        ncols=4,
        frameon=False,
        borderpad=0,
        handletextpad=0.4,
        columnspacing=1.2,
        **options,
    )


def stacked(centres: Sequence[float], width: float) -> list[int]:
    """The row of each label, 0 the lowest, so that labels of a width do not cover each other."""
    rows: list[float] = []
    found = []
    for centre in centres:
        row = next((row for row, end in enumerate(rows) if centre - width / 2 >= end), len(rows))
        rows[row:] = [centre + width / 2, *rows[row + 1 :]]
        found.append(row)
    return found


def picture_bytes(figure: "Figure", target: Any, style: str, **options: Any) -> None:
    """Write a picture to an open file or a path, as `png` or `svg`; the same picture gives the same bytes."""
    with look(**options):
        figure.savefig(target, format=style, dpi=figure.dpi, metadata={"Date": None} if style == "svg" else None)


def page_svg(figure: "Figure") -> bytes:
    """A picture for a page as SVG: text is text, and the page's own colour shows through."""
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_visible(False)
    out = io.BytesIO()
    # Letters as shapes, which look the same everywhere, would be more than half of it.
    picture_bytes(figure, out, "svg", svg_fonttype="none")
    return out.getvalue().replace(b"*{", b"text{white-space:pre}*{", 1)  # several spaces are several
