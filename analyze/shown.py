"""Results that show themselves: tables and pictures in a notebook, the text of the terminal's report elsewhere."""

import base64
import contextlib
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tracekit.analyze.plots import latency as latency_plot
from tracekit.analyze.plots import style
from tracekit.analyze.plots.kinds import KINDS, kind_of, save
from tracekit.analyze.plots.source import NothingToShowError
from tracekit.analyze.report.latency import latency_sections
from tracekit.analyze.report.text import pattern_sections, printed, to_text
from tracekit.analyze.report.words import TITLES
from tracekit.analyze.results import Latency, Mode, Outliers, Pattern, Quality, Report, TraceFacts, Workload
from tracekit.analyze.selection import Selection
from tracekit.schema import FAMILY_OF
from tracekit.text import printable
from tracekit.trace import Trace
from tracekit.units import format_count, format_ns, format_share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Pixels an inch on a page: a picture is then two thirds as wide as in a file.
_DPI = 100
#: Lines that the section of a report begins with, characters of a line, and of a cell.
_HEADING, _WIDTH, _LONGEST = 2, 80, 300
_UNWRAPPED = 10_000

Result = TypeVar("Result")


@dataclass(frozen=True, repr=False)
class Picture:
    """A picture of a trace, drawn when it is shown.

    Attributes:
        kind: one of `plots.KINDS`.
        data: what it shows: frozen data and numpy arrays.
    """

    kind: str
    data: Any

    @staticmethod
    def of(trace: Trace, selection: Selection, kind: str, **options: Any) -> "Picture":
        """A picture of a part of a trace; errors are those of `plots.plot`."""
        return Picture(kind, kind_of(kind).data(trace, selection, **options))

    @property
    def figure(self) -> "Figure":
        """A new matplotlib Figure, to be changed at will."""
        with style.look():
            figure = style.new_figure()
            KINDS[self.kind].draw(self.data, figure)
        return figure

    def save(self, path: str | Path, force: bool = False) -> None:
        """Write it to a file that ends in `.png` or `.svg`.

        Raises:
            UsageError: it ends otherwise, exists (unless `force`), or cannot be written.
        """
        save(self.figure, Path(path), force)

    def _repr_png_(self) -> bytes:
        out, figure = io.BytesIO(), self.figure
        figure.set_dpi(_DPI)
        style.picture_bytes(figure, out, "png")
        return out.getvalue()

    def __repr__(self) -> str:
        return f"<Picture {self.kind}>"


class Shown(ABC):
    """What shows itself; a subclass has its words and tables."""

    # Instance attributes beside the fields of a frozen result: they are not what it is, only how it is shown.
    _origin_ns = 0
    _draw: Callable[[], Iterable[Picture]] = staticmethod(tuple)

    @abstractmethod
    def _text(self) -> str:
        """As the terminal has it."""

    @abstractmethod
    def _tables(self) -> Iterable[str]:
        """Elements of HTML."""

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """What a notebook shows below the tables."""
        return tuple(self._draw())

    def __str__(self) -> str:
        return self._text()

    def __repr__(self) -> str:
        return self._text()

    def _repr_html_(self) -> str:
        """All in one, for whatever takes nothing but HTML."""
        drawn = (base64.b64encode(picture._repr_png_()).decode() for picture in self.pictures)
        return "\n".join([*self._tables(), *(f'<img src="data:image/png;base64,{one}">' for one in drawn)])

    def _ipython_display_(self) -> None:
        # Pictures apart: sites that host code show those of a notebook, but none inside HTML.
        from IPython import get_ipython

        shell: Any = get_ipython()
        page = hasattr(shell, "kernel")
        tables = {"text/html": "\n".join(self._tables())} if page else {}
        shell.display_pub.publish({**tables, "text/plain": self._text()})
        for picture in self.pictures if page else ():
            shell.display_pub.publish({"image/png": picture._repr_png_(), "text/plain": repr(picture)})


def _showing(kind: type[Result], result: object, origin_ns: int, draw: Callable[[], Iterable[Picture]]) -> Result:
    """The same frozen result, of a class that shows itself."""
    shown = object.__new__(kind)
    vars(shown).update(vars(result), _origin_ns=origin_ns, _draw=draw)
    return shown


# --- latency ---


class LatencyResult(Shown, Latency):
    """A `Latency` that shows its percentiles, modes and outliers, and their histogram."""

    def _text(self) -> str:
        whole = replace(self, group={})
        sections = latency_sections(_report_of(self._origin_ns, latency=(whole,)), _WIDTH, 0)
        return "\n".join([*_only(self.group), printed(sections[_HEADING:], _WIDTH)])

    def _tables(self) -> Iterable[str]:
        name, meaning = TITLES[self.metric]
        yield _paragraph(f"{name} ({meaning})", *_only(self.group))
        yield _table(_FIGURES, [_figures(self)])
        out = self.outliers
        rows = [_mode_row(mode) for mode in self.modes]
        rows += [("outliers", _range(out), "", *_shares(out))] if out else []
        yield _table(("", "range", "peak", "count", "share", "set apart by"), rows)
        yield _lost(self.lost)


def latency_of(trace: Trace, selection: Selection, metric: str | None, group: Mapping[str, str]) -> LatencyResult:
    """The distribution of a metric or one of its groups; errors are those of `plots.latency.data`."""
    data = latency_plot.data(trace, selection, metric=metric, group=group)
    return _showing(LatencyResult, data.latency, trace.start_ns, lambda: (Picture("latency", data),))


_FIGURES = ("count", "min", "p50", "p90", "p99", "p99.9", "max")


def _figures(one: Latency) -> tuple[str, ...]:
    values = (one.min_ns, one.p50_ns, one.p90_ns, one.p99_ns, one.p999_ns, one.max_ns)
    return (format_count(one.count), *map(format_ns, values))


def _only(group: Mapping[str, str]) -> list[str]:
    return [f"Only {', '.join(f'{name} {printable(value)}' for name, value in group.items())}"] if group else []


def _mode_row(mode: Mode) -> tuple[str, ...]:
    return ("minor mode" if mode.minor else "mode", _range(mode), format_ns(mode.peak_ns), *_shares(mode))


def _range(what: Mode | Outliers) -> str:
    return f"{format_ns(what.low_ns)} to {format_ns(what.high_ns)}"


def _shares(what: Mode | Outliers) -> tuple[str, str, str]:
    reasons = what.sets_apart[:3]
    told = (f"{one.field.replace('_', ' ')} {one.value} ({format_share(one.share_inside)})" for one in reasons)
    return format_count(what.count), format_share(what.share), ", ".join(told)


# --- rhythms ---


class PatternResult(Shown, Pattern):
    """A `Pattern` that shows its sentence, its figures, and a typical burst or when in its second it happens."""

    def _text(self) -> str:
        sections = pattern_sections(_report_of(self._origin_ns, patterns=(self,)))
        return "\n".join([_sentence(self), printed(sections[_HEADING:], _WIDTH)])

    def _tables(self) -> Iterable[str]:
        yield _paragraph(_sentence(self))
        yield _rhythms((self,))
        yield _lost(self.lost)


class Patterns(Shown, tuple[PatternResult, ...]):
    """All rhythms, the most telling first; they show a row each, and when in its second the first one happens."""

    def _text(self) -> str:
        sections = pattern_sections(_report_of(self._origin_ns, patterns=self))
        return printed(sections[_HEADING:], _WIDTH) if self else "No rhythm was found."

    def _tables(self) -> Iterable[str]:
        if not self:
            yield _paragraph(self._text())
            return
        yield _rhythms(self)
        for one in self:
            yield _paragraph(_sentence(one))


def patterns_of(trace: Trace, selection: Selection, report: Report) -> Patterns:
    """The rhythms of a report on a part of a trace."""

    def draw(one: Pattern) -> Callable[[], Iterable[Picture]]:
        return lambda: (_rhythm(trace, selection, report, one),)

    shown = Patterns(_showing(PatternResult, one, trace.start_ns, draw(one)) for one in report.patterns)
    vars(shown).update(_origin_ns=trace.start_ns, _draw=lambda: _seconds(trace, selection, report))
    return shown


def _seconds(trace: Trace, selection: Selection, report: Report) -> Iterable[Picture]:
    """When in its second the first rhythm happens, if there is one."""
    for one in report.patterns[:1]:
        yield Picture.of(trace, selection, "subsecond", event=one.event)


def _rhythm(trace: Trace, selection: Selection, report: Report, one: Pattern) -> Picture:
    bursts = [other for other in report.patterns if FAMILY_OF[other.event] == "process" and other.kind != "steady"]
    if one in bursts and one.burst_size > 1:
        return Picture.of(trace, selection, "timeline", pattern=bursts.index(one) + 1)
    return Picture.of(trace, selection, "subsecond", event=one.event)


def _sentence(one: Pattern) -> str:
    told = printable(one.sentence)
    return f"{told[:1].upper()}{told[1:]}."


def _rhythms(patterns: Iterable[Pattern]) -> str:
    rows = [
        (
            ", ".join(f"{name} {value}".replace("all all", "all") for name, value in one.scope.items()),
            one.event,
            "steady" if one.kind == "steady" else format_ns(one.period_ns),
            "" if one.kind == "steady" else f"{one.burst_size:,} in {format_ns(one.burst_duration_ns)}",
            "" if one.kind == "steady" else format_ns(one.pause_ns),
            format_count(one.cycles),
            f"{one.rate_per_second:,.1f}",
            format_share(one.share),
        )
        for one in patterns
    ]
    return _table(("who", "event", "every", "burst", "pause", "times", "a second", "of all such events"), rows)


# --- report ---


class ReportResult(Shown, Report):
    """A `Report` that shows its quality, findings, latencies and rhythms, and in full its text."""

    def _text(self) -> str:
        return to_text(self)

    def _tables(self) -> Iterable[str]:
        yield _paragraph(*to_text(self, _UNWRAPPED).split("\n\n", 1)[0].splitlines())
        yield _list([finding.title for finding in self.findings]) or _paragraph("Nothing stands out.")
        rows = [(TITLES[one.metric][0], *_figures(one)) for one in self.latency if not one.group]
        yield _table(("latency", *_FIGURES), rows)
        yield _rhythms(self.patterns)
        yield f"<details><summary>All of it, as text</summary><pre>{escape(self._text())}</pre></details>"


def report_of(trace: Trace, selection: Selection, report: Report) -> ReportResult:
    """The report on a part of a trace, which shows itself."""
    return _showing(ReportResult, report, trace.start_ns, lambda: _telling(trace, selection, report))


def _telling(trace: Trace, selection: Selection, report: Report) -> Iterable[Picture]:
    """The first rhythm, and the latency that is looked at where nobody says."""
    yield from _seconds(trace, selection, report)
    with contextlib.suppress(NothingToShowError):
        yield Picture.of(trace, selection, "latency")


def _report_of(origin_ns: int, latency: tuple[Latency, ...] = (), patterns: tuple[Pattern, ...] = ()) -> Report:
    """A report of nothing else."""
    facts = TraceFacts("", 1, None, None, origin_ns, 0, {}, True)
    return Report(facts, Quality(0, (), 0, 0, 0, ()), latency, patterns, Workload(), ())


# --- HTML: what a trace has is hostile ---


def _cell(text: str, tag: str = "td") -> str:
    return f"<{tag}>{escape(printable(text, _LONGEST))}</{tag}>"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, or nothing where it would have no rows."""
    head = "".join(_cell(title, "th") for title in titles)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if rows else ""


def _paragraph(first: str, *more: str) -> str:
    return f"<p><b>{escape(printable(first))}</b>{''.join(f'<br>{escape(printable(line))}' for line in more)}</p>"


def _list(lines: Sequence[str]) -> str:
    return f"<ol>{''.join(_cell(f'{line}.', 'li') for line in lines)}</ol>" if lines else ""


def _lost(count: int) -> str:
    return _paragraph(f"(!) {format_count(count)} events lost meanwhile: these figures miss them") if count else ""
