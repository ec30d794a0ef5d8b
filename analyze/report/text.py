"""The report as text, for a person: quality first, findings next, then what they rest on."""

import io
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Literal

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tracekit.analyze.report.latency import latency_sections, lost_line
from tracekit.analyze.results import BlockUse, OpenUse, Pattern, ProcessUse, Quality, Report
from tracekit.text import printable
from tracekit.units import format_bytes, format_count, format_ns, format_share

TOP = 5

#: Of so many commands of a chain it is told how long they live.
_LIFETIMES = 3


def to_text(report: Report, width: int = 80, color: bool = False, top: int = TOP) -> str:
    """The report in lines of at most `width` characters.

    Args:
        width: at least 60.
        color: with the escape sequences of a terminal.
        top: how long a list may be before the rest is only counted.
    """
    width = max(width, 60)
    sections = (
        _head(report),
        _quality(report.quality, report, top),
        _findings(report),
        latency_sections(report, width, top),
        pattern_sections(report),
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


def _head(report: Report) -> list[Any]:
    facts = report.trace
    start = "?" if facts.start_time is None else f"{facts.start_time[:10]} {facts.start_time[11:19]} UTC"
    total = sum(count for event, count in facts.events.items() if event != "lost")
    return [
        Text(f"Report of {printable(facts.path)}", style="bold"),
        Text(
            f"{format_ns(facts.duration_ns)} from {start}, kernel {printable(facts.kernel)}, "
            f"{format_count(total)} events"
        ),
    ]


# --- quality and findings --------------------------------------------------------------------------------------


def _quality(quality: Quality, report: Report, top: int) -> list[Any]:
    if not quality.whole:
        lines: list[Any] = [Text(f"QUALITY: {_gaps(quality, sum(report.trace.events.values()))}", style="bold red")]
    elif quality.unmatched_issues or quality.unmatched_completions:
        lines = [Text("Quality: complete, no loss counted, but not all I/O could be paired", style="yellow")]
    elif quality.lost is None:
        lines = [Text("Quality: complete; whether events were lost is unknown", style="yellow")]
    else:
        lines = [Text("Quality: complete, nothing lost", style="green")]
    lines += [_indented(Text(f"- {text}"), 2) for text in _lost_lines(quality, report, top)]
    unpaired = [
        (quality.unmatched_issues, "I/O issued, completion never seen"),
        (quality.unmatched_completions, "I/O completed, issue never seen"),
        (quality.in_flight_at_end, "I/O still under way at the end"),
    ]
    told = [f"{format_count(count)} {what}" for count, what in unpaired if count]
    if told:
        lines.append(_indented(Text(f"- {'; '.join(told)}"), 2))
    return lines + [_indented(Text(f"- {printable(note)}"), 2) for note in quality.notes]


def _gaps(quality: Quality, recorded: int) -> str:
    parts = [] if quality.complete else ["incomplete recording"]
    if quality.lost:
        families = sorted({printable(window.family) for window in quality.lost_windows})
        which = f" ({', '.join(families)})" if families else ""
        share = format_share(quality.lost / (quality.lost + recorded))
        parts.append(f"{format_count(quality.lost)} events lost, {share}{which}; the figures below miss them")
    return ", ".join(parts)


def _lost_lines(quality: Quality, report: Report, top: int) -> list[str]:
    lines = []
    for window in quality.lost_windows[:top]:
        start, end = (format_ns(at - report.trace.start_ns) for at in (window.start_ns, window.end_ns))
        lines.append(f"{format_count(window.lost)} {printable(window.family)} events lost from {start} to {end}")
    rest = len(quality.lost_windows) - top
    return [*lines, f"and {rest} more such windows"] if rest > 0 else lines


def _findings(report: Report) -> list[Any]:
    lines: list[Any] = [*_heading("FINDINGS")]
    if not report.findings:
        why = (
            "no events were recorded"
            if not sum(count for event, count in report.trace.events.items() if event not in ("process", "lost"))
            else "no rhythm, no frequent failure, and no outlier or second mode that takes long was found"
        )
        if report.quality.lost:
            why += f" in what is left, and {format_count(report.quality.lost)} events are missing"
        return [*lines, Text(f"Nothing stands out: {why}.")]
    for finding in report.findings:
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right", width=2)
        table.add_column(overflow="fold")
        table.add_row(Text(f"{finding.rank}."), Text(f"{printable(finding.title)}.", style="bold"))
        if finding.detail:
            table.add_row("", Text(printable(finding.detail)))
        lines.append(table)
    return lines


# --- patterns --------------------------------------------------------------------------------------------------


def pattern_sections(report: Report) -> list[Any]:
    """All rhythms, the most telling first."""
    if not report.patterns:
        return []
    lines = _heading("RHYTHMS")
    for pattern in report.patterns:
        lines += _pattern(pattern, report)
    return lines


def _pattern(pattern: Pattern, report: Report) -> list[Any]:
    where = ", ".join(
        printable(value) if key == "all" else f"{key} {printable(value)}" for key, value in pattern.scope.items()
    )
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    start, end = (format_ns(at - report.trace.start_ns) for at in (pattern.start_ns, pattern.end_ns))
    beat = {True: "keeps the beat of a clock", False: "each round starts when the last is over", None: ""}
    rows = [
        ("period", f"{format_ns(pattern.period_ns)} (varies by {format_share(pattern.jitter)})"),
        ("burst", f"{pattern.burst_size} events in {format_ns(pattern.burst_duration_ns)}"),
        ("pause", format_ns(pattern.pause_ns)),
        ("seen", f"{pattern.cycles:,} times, from {start} to {end}"),
        ("beat", beat[pattern.clock]),
        ("runs", _chain(pattern.chain) if pattern.event == "exec" else ""),
        ("lives", _lifetimes(pattern.lifetimes)),
        ("exits", ", ".join(f"{_status(code)}: {count:,}" for code, count in pattern.exit_codes.items())),
    ]
    if pattern.kind == "steady":
        rows = [("rate", f"{pattern.rate_per_second:,.1f} a second, steadily, from {start} to {end}")]
    elif pattern.burst_size == 1:
        rows = [row for row in rows if row[0] not in ("burst", "pause")]
    for name, text in rows:
        if text:
            table.add_row(name, Text(text))
    return [Text(f"{pattern.event}, {where}", style="bold"), _indented(table, 2), *lost_line(pattern.lost)]


def _chain(chain: Sequence[str]) -> str:
    """Commands in order, neighbours that are the same as one."""
    runs = [(name, len(list(same))) for name, same in groupby(chain)]
    return ", ".join(printable(name) if count == 1 else f"{printable(name)} x {count}" for name, count in runs)


def _lifetimes(lifetimes: dict[str, int]) -> str:
    """How long the longest-lived commands live, in the order of the chain."""
    longest = sorted(lifetimes, key=lambda name: -lifetimes[name])[:_LIFETIMES]
    told = [f"{printable(name)} {format_ns(lifetime)}" for name, lifetime in lifetimes.items() if name in longest]
    return ", ".join(told) + (f" and {len(lifetimes) - len(told)} shorter" if len(told) < len(lifetimes) else "")


def _status(code: str) -> str:
    return code if code.startswith("signal") else f"with {code}"


# --- who does what ---------------------------------------------------------------------------------------------


def _workload(report: Report, width: int, top: int) -> list[Any]:
    name_width = min(max(width - 48, 14), 40)
    used, omitted = report.workload, report.workload.omitted
    lines: list[Any] = []
    for family, keys, titles, cells in _TABLES:
        for key in keys:
            name = f"by_{key}"
            uses = getattr(used, family).get(name, ())
            rows = [(printable(use.name, name_width), *cells(use)) for use in uses]
            heading = f"{_PLURALS[family]} by {key}"
            lines += _top((heading, *titles), rows, omitted.get(f"{family}.{name}", 0), name_width, top)
            lines += lost_line(report.workload.lost.get(family, 0)) if rows else []
    return [*_heading("WHO DOES WHAT"), *lines[1:]] if lines else []


def _top(titles: Sequence[str], rows: Sequence[Sequence[str]], omitted: int, name_width: int, top: int) -> list[Any]:
    if not rows:
        return []
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index, title in enumerate(titles):
        justify: Literal["left", "right"] = "right" if index else "left"
        table.add_column(title, justify=justify, no_wrap=True, min_width=None if index else min(name_width, 24))
    shown = top if len(rows) + omitted > top + 1 else top + 1
    for row in rows[:shown]:
        table.add_row(*(Text(cell) for cell in row))
    rest = len(rows) + omitted - shown
    more = [Text(f"  and {rest:,} more", style="dim")] if rest > 0 else []
    return [Text(""), table, *more]


def _process_cells(use: ProcessUse) -> tuple[str, ...]:
    lives = (format_ns(use.lifetime_p50_ns), format_ns(use.lifetime_max_ns))
    return (format_count(use.count), format_count(use.failed), *lives)


def _block_cells(use: BlockUse) -> tuple[str, ...]:
    return (
        format_count(use.count),
        format_bytes(use.bytes),
        format_share(use.sequential_share),
        format_bytes(use.size.p50),
        f"{use.queue_depth.p50:,}/{use.queue_depth.p99:,}",
    )


def _open_cells(use: OpenUse) -> tuple[str, ...]:
    return (format_count(use.count), _failed(use.failed), format_ns(use.p50_ns), format_ns(use.p99_ns))


def _failed(failed: dict[str, int]) -> str:
    """How many, and the error if there is but one, or the most frequent one."""
    if not failed:
        return "0"
    return f"{sum(failed.values()):,} {next(iter(failed))}{'...' if len(failed) > 1 else ''}"


_PLURALS = {"process": "processes", "block": "I/O", "open": "opens"}
#: Of each family the groupings, the columns after the name, and what makes their cells.
_TABLES: tuple[tuple[str, tuple[str, ...], tuple[str, ...], Callable[[Any], tuple[str, ...]]], ...] = (
    ("process", ("path", "parent"), ("count", "failed", "life p50", "longest"), _process_cells),
    ("block", ("disk", "op", "comm"), ("count", "bytes", "in order", "size", "depth"), _block_cells),
    ("open", ("comm", "path"), ("count", "failed", "p50", "p99"), _open_cells),
)


def _heading(text: str) -> list[Any]:
    return [Text(""), Text(text, style="bold cyan")]


def _indented(what: Any, by: int) -> Padding:
    return Padding(what, (0, 0, 0, by))
