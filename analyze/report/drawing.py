"""Small pictures as SVG in a page: axes, bars, cells and areas, coloured by the page's style sheet.

They are light, follow the page's colours, and tell their values: what has a `title` says it when it is pointed at.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tracekit.analyze.columns import Ints
from tracekit.analyze.plots.style import short
from tracekit.analyze.report.markup import Html, joined, tag
from tracekit.units import format_ns

WIDTH = 960
LEFT, RIGHT, BELOW = 74, 12, 42
#: Steps of colour, from few to many.
LEVELS = 7


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high`, drawn from `start` to `end` pixels."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Where a value is drawn; what lies beside the axis, at its end."""
        low, high, value = (
            (math.log(max(one, 1e-9)) if self.logarithmic else one) for one in (self.low, self.high, value)
        )
        part = (value - low) / (high - low) if high > low else 0.0
        return self.start + (self.end - self.start) * min(max(part, 0.0), 1.0)

    def all_at(self, values: Iterable[float]) -> list[float]:
        """Where each of these is drawn."""
        return [self.at(float(value)) for value in values]

    def ticks(self, most: int = 8) -> list[float]:
        """Round values, at most about so many."""
        return list(_decades(self.low, self.high) if self.logarithmic else _round(self.low, self.high, most))


def _round(low: float, high: float, most: int) -> Iterator[float]:
    rough = max(high - low, 1e-9) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    for number in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1):
        yield round(number * step, 9)


def _decades(low: float, high: float) -> Iterator[float]:
    steps = (1,) if high / low > 3000 else (1, 2, 5) if high / low > 6 else range(1, 10)
    for power in range(-1, 19):
        yield from (step * 10.0**power for step in steps if low <= step * 10.0**power <= high)


def number(value: float) -> str:
    """A number in full, with thousands separators."""
    return f"{value:,.6g}" if value < 100_000 else f"{value:,.0f}"


def duration(value: float) -> str:
    """A duration in ns at a tick."""
    return short(format_ns(value))


# --- parts of a picture ----------------------------------------------------------------------------------------


def svg(height: float, label: str, *parts: str) -> Html:
    """A picture; the keyboard reaches it, and a reader who does not see it is told what it is."""
    box = f"0 0 {WIDTH} {height:.0f}"
    return tag("svg", *parts, viewBox=box, role="img", aria_label=label, tabindex=0)


def text(x: float, y: float, told: str, class_: str) -> Html:
    """A line of text."""
    return tag("text", told, x=x, y=y, class_=class_)


def area(x: tuple[float, float], y: tuple[float, float], class_: str, title: str = "", id_: str | None = None) -> Html:
    """A rectangle, at least two pixels wide."""
    left, right = sorted(x)
    top, bottom = sorted(y)
    more = (tag("title", title),) if title else ()
    size = {"width": max(right - left, 2.0), "height": max(bottom - top, 0.0)}
    return tag("rect", *more, x=left, y=top, class_=class_, id=id_, **size)


def x_axis(axis: Axis, bottom: float, top: float, label: str, told: Callable[[float], str]) -> Html:
    """Ticks below, and lines up to the top; the axis' name below these."""
    marks = [
        joined(
            tag("path", d=f"M{axis.at(tick):.1f} {top:.1f}V{bottom:.1f}", class_="grid"),
            text(axis.at(tick), bottom + 17, told(tick), "tick x"),
        )
        for tick in axis.ticks()
    ]
    return joined(*marks, text(axis.start, bottom + 36, label, "name"))


def y_axis(axis: Axis, told: Callable[[float], str], most: int = 5) -> Html:
    """Ticks to the left, and lines to the right."""
    return joined(
        *(
            joined(
                tag("path", d=f"M{LEFT} {axis.at(tick):.1f}H{WIDTH - RIGHT}", class_="grid"),
                text(LEFT - 8, axis.at(tick) + 4, told(tick), "tick y"),
            )
            for tick in axis.ticks(most)
        )
    )


def cells(x: Sequence[float], y: Sequence[float], counts: Ints) -> Html:
    """Counts of shape (x, y) as colours, a path for each: neighbours of one colour above each other are one."""
    level = _levels(counts)
    paths: dict[int, list[str]] = {}
    for column, row, end, one in _runs(level):
        width, height = x[column + 1] - x[column], y[end] - y[row]
        paths.setdefault(one, []).append(f"M{x[column]:.1f} {y[row]:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z")
    return joined(*(tag("path", d="".join(made), class_=f"h{one}") for one, made in sorted(paths.items())))


def _levels(counts: Ints) -> Ints:
    """From 1 for a single one to `LEVELS` for the most, by the logarithm; 0 for nothing."""
    most = max(int(counts.max(initial=0)), 2)
    part = np.log(np.maximum(counts, 1)) / np.log(most)
    return np.where(counts > 0, 1 + np.floor(part * (LEVELS - 0.001)).clip(0, LEVELS - 1), 0).astype(np.int64)


def _runs(level: Ints) -> Iterator[tuple[int, int, int, int]]:
    """Stretches of the same level above 0 in each column: column, first row, row behind the last, level."""
    border = np.ones((len(level), 1), dtype=bool)
    edge = np.hstack((border, level[:, 1:] != level[:, :-1], border))
    for column, edges in enumerate(edge):
        rows = np.flatnonzero(edges).tolist()
        for row, end in pairwise(rows):
            if level[column, row]:
                yield column, row, end, int(level[column, row])


def scale(y: float, most: int) -> Html:
    """What colours stand for, at the right end of a line."""
    start = WIDTH - RIGHT - 16 * LEVELS - 10 - 8 * len(number(most))
    steps = [area((start + 16.0 * at, start + 16.0 * (at + 1)), (y - 10, y), f"h{at + 1}") for at in range(LEVELS)]
    return joined(text(start - 6, y, "1", "tick y"), *steps, text(WIDTH - RIGHT, y, number(most), "tick y"))
