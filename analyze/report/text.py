"""The report as text, for a person: quality first, findings next, then what they rest on."""

import io
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tracekit.analyze.report import words
from tracekit.analyze.report.latency import latency_sections, lost_line
from tracekit.analyze.results import Pattern, Report
from tracekit.text import printable

TOP = 5
#: So many findings and rhythms are told even where lists are shorter.
_AT_LEAST = 10
Shown = TypeVar("Shown")
_COLOURS = {"good": "green", "doubtful": "yellow", "bad": "bold red"}


def to_text(report: Report, width: int = 80, color: bool = False, top: int = TOP) -> str:
    """The report in lines of at most `width` characters.

    Args:
        width: at least 60.
        color: with the escape sequences of a terminal.
        top: how long a list may be before the rest is only counted; of findings and rhythms ten are told at least.
    """
    width = max(width, 60)
    sections = (
        [Text(words.title(report), style="bold"), Text(words.facts(report))],
        _quality(words.verdict(report, top)),
        _findings(report, max(top, _AT_LEAST)),
        latency_sections(report, width, top),
        pattern_sections(report, max(top, _AT_LEAST)),
        _workload(report, width, top),
    )
    return printed([line for section in sections for line in section], width, color)


def printed(lines: Sequence[Any], width: int = 80, color: bool = False) -> str:
    """What rich prints of some lines, tables and the like."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=color,
        force_jupyter=False,  # in a notebook rich would show the lines there, and return none
        color_system="standard" if color else None,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )
    for line in lines:
        console.print(line)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _quality(verdict: words.Verdict) -> list[Any]:
    lines = [_indented(Text(f"- {line}"), 2) for line in verdict.lines]
    return [Text(verdict.headline, style=_COLOURS[verdict.level]), *lines]


def _findings(report: Report, top: int) -> list[Any]:
    lines: list[Any] = [*_heading("FINDINGS")]
    if not report.findings:
        return [*lines, Text(words.nothing(report))]
    shown, more = _first(report.findings, top)
    for finding in shown:
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right", width=len(f"{len(shown)}."))
        table.add_column(overflow="fold")
        table.add_row(Text(f"{finding.rank}."), Text(f"{printable(finding.title)}.", style="bold"))
        if finding.detail:
            table.add_row("", Text(printable(finding.detail)))
        lines.append(table)
    return [*lines, *more]


def _first(listed: Sequence[Shown], top: int) -> tuple[Sequence[Shown], list[Text]]:
    """The first of a list, and a line that says how to see the rest of it, if there is any."""
    more = f"and {len(listed) - top:,} more: --top {len(listed)} shows all"
    return listed[:top], [Text(more, style="dim")] if len(listed) > top else []


# --- patterns --------------------------------------------------------------------------------------------------


def pattern_sections(report: Report, top: int | None = None) -> list[Any]:
    """Rhythms, the most telling first: so many, or all."""
    if not report.patterns:
        return []
    lines = _heading("RHYTHMS")
    shown, more = _first(report.patterns, top or len(report.patterns))
    for pattern in shown:
        lines += _pattern(pattern, report)
    return [*lines, *more]


def _pattern(pattern: Pattern, report: Report) -> list[Any]:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, text in words.pattern_rows(pattern, report):
        table.add_row(name, Text(text))
    return [Text(words.pattern_title(pattern), style="bold"), _indented(table, 2), *lost_line(pattern.lost)]


def _workload(report: Report, width: int, top: int) -> list[Any]:
    name_width = min(max(width - 48, 14), 40)
    lines: list[Any] = []
    for listing in words.workload(report, name_width, top):
        lines += _table(listing, name_width)
    return [*_heading("WHO DOES WHAT"), *lines[1:]] if lines else []


def _table(listing: words.Listing, name_width: int) -> list[Any]:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index, title in enumerate(listing.titles):
        justify: Literal["left", "right"] = "right" if index else "left"
        table.add_column(title, justify=justify, no_wrap=True, min_width=None if index else min(name_width, 24))
    for row in listing.rows:
        table.add_row(*(Text(cell) for cell in row))
    more = [Text(f"  and {listing.rest:,} more", style="dim")] if listing.rest else []
    below = [_indented(Text(listing.below, style="red"), 2)] if listing.below else []
    return [Text(""), table, *more, *below]


def _heading(text: str) -> list[Any]:
    return [Text(""), Text(text, style="bold cyan")]


def _indented(what: Any, by: int) -> Padding:
    return Padding(what, (0, 0, 0, by))
