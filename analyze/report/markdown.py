"""The report as Markdown, to be pasted into a ticket: quality, findings, latencies, rhythms, who does what."""

import re
from collections.abc import Iterator, Mapping, Sequence

from tracekit.analyze.report import words
from tracekit.analyze.results import Latency, Report
from tracekit.text import printable
from tracekit.units import format_count, format_ns

TOP = 5
_NAME = 80
_SPECIAL = re.compile(r"([\\`*_\[\]|~$]|^[-+#=])")
#: What a ticket system would make a link to a person, a ticket or a page; a comment in between keeps it from that.
_LINK = re.compile(r"([@#!]|(?<=:)/(?=/)|\bwww(?=\.))(?=\S)", re.IGNORECASE)


def to_markdown(report: Report, top: int = TOP) -> str:
    """The report in Markdown, with the tables of GitHub and GitLab.

    Args:
        top: how long a list may be before the rest is only counted.
    """
    parts = (_head(report, top), _findings(report), _latency(report, top), _patterns(report), _workload(report, top))
    return "\n".join(line for part in parts for line in part)


def escaped(text: str) -> str:
    """Any text as Markdown that shows it: no format, no HTML, no link, no mention of anybody."""
    shown = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _LINK.sub(r"\1<!-- -->", _SPECIAL.sub(r"\\\1", shown))


def _head(report: Report, top: int) -> Iterator[str]:
    yield from (f"# {escaped(words.title(report))}", "", escaped(words.facts(report)), "")
    verdict = words.verdict(report, top)
    yield f"**{escaped(verdict.headline)}**"
    yield ""
    yield from (f"- {escaped(line)}" for line in verdict.lines)


def _findings(report: Report) -> Iterator[str]:
    yield from ("", "## Findings", "")
    if not report.findings:
        yield escaped(words.nothing(report))
    for finding in report.findings:
        detail = f" {escaped(finding.detail)}" if finding.detail else ""
        yield f"{finding.rank}. **{escaped(finding.title)}.**{detail}"


def _latency(report: Report, top: int) -> Iterator[str]:
    whole = words.by_metric(report)
    if not whole:
        return
    yield from ("", "## Latencies", "")
    names = [name for name, _ in words.percentiles(next(iter(whole.values())))]
    yield from _table(("", "count", *names), [_row(one) for one in whole.values()])
    for one in whole.values():
        yield from _shape(one, whole, report, top)


def _row(one: Latency) -> tuple[str, ...]:
    figures = (format_ns(value) for _, value in words.percentiles(one))
    return (" ".join(_titled(one)), format_count(one.count), *figures)


def _titled(one: Latency) -> tuple[str, str]:
    name, meaning = words.TITLES[one.metric]
    return name, f"({meaning})"


def _shape(one: Latency, whole: Mapping[str, Latency], report: Report, top: int) -> Iterator[str]:
    """Modes and outliers of a metric, and its groups."""
    told = [*words.total_lines(one, whole), *words.shape_lines(one, report)]
    groups = words.groups(one, report, _NAME, top)
    if not told and not groups.rows and not one.lost:
        return
    yield from ("", f"### {escaped(_titled(one)[0])}", "")
    yield from (_item(line) for line in told)
    yield from _lost(words.lost(one.lost))
    yield from _listing(groups)


def _item(line: str) -> str:
    indent = len(line) - len(line.lstrip())
    return f"{' ' * indent}- {escaped(line.strip())}"


def _lost(text: str) -> list[str]:
    return ["", f"**{escaped(text)}**"] if text else []


def _patterns(report: Report) -> Iterator[str]:
    if report.patterns:
        yield from ("", "## Rhythms")
    for pattern in report.patterns:
        yield from ("", f"### {escaped(words.pattern_title(pattern))}", "")
        yield from (f"- {name}: {escaped(text)}" for name, text in words.pattern_rows(pattern, report))
        yield from _lost(words.lost(pattern.lost))


def _workload(report: Report, top: int) -> Iterator[str]:
    listings = list(words.workload(report, _NAME, top))
    if listings:
        yield from ("", "## Who does what")
    for listing in listings:
        yield from _listing(listing)


def _listing(listing: words.Listing) -> Iterator[str]:
    if listing.rows:
        yield ""
        yield from _table(listing.titles, listing.rows)
    if listing.rest:
        yield from ("", f"and {format_count(listing.rest)} more")
    yield from _lost(listing.below)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first column to the left, the others to the right."""
    yield _cells(titles)
    yield _cells(("---", *("---:" for _ in titles[1:])), raw=True)
    yield from (_cells(row) for row in rows)


def _cells(cells: Sequence[str], raw: bool = False) -> str:
    return f"| {' | '.join(cell if raw else escaped(cell) for cell in cells)} |"
