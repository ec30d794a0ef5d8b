"""Latencies as text: buckets with bars, percentiles, modes, outliers, and a line for each group."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tracekit.analyze.report import words
from tracekit.analyze.results import Bucket, Latency, Report
from tracekit.units import format_count, format_ns

_BAR, _NAME = 40, 22
#: What the numbers of a group take, and the width below which they stand closer.
_NUMBERS, _NARROW = 49, 80


def latency_sections(report: Report, width: int, top: int) -> list[Any]:
    """All latencies, metric by metric; those that say little in a line; of groups the slowest."""
    whole = words.by_metric(report)
    if not whole:
        return []
    lines: list[Any] = [Text(""), Text("LATENCY", style="bold cyan")]
    for index, one in enumerate(whole.values()):
        if index:
            lines.append(Text(""))
        lines += _short(one, whole)
        if not words.says_little(one, whole):
            lines.append(_indented(_buckets(one.histogram, width)))
        told = words.shape_lines(one, report)
        lines += [_indented(Text(line.strip()), 2 + len(line) - len(line.lstrip())) for line in told]
        lines += lost_line(one.lost)
        lines += _groups(words.groups(one, report, min(width - _NUMBERS, _NAME), top), width)
    return lines


def lost_line(lost: int) -> list[Any]:
    """What stands below figures that miss events."""
    return [_indented(Text(words.lost(lost), style="red"))] if lost else []


def _short(one: Latency, whole: Mapping[str, Latency]) -> list[Any]:
    name, meaning = words.TITLES[one.metric]
    title = Text(name, style="bold")
    title.append(f" ({meaning}): {format_count(one.count)}", style="not bold")
    figures = "   ".join(f"{name} {format_ns(value)}" for name, value in words.percentiles(one))
    return [title, _indented(Text(figures)), *(_indented(Text(line)) for line in words.total_lines(one, whole))]


def _buckets(buckets: Sequence[Bucket], width: int) -> Table:
    """One line a bucket; a stretch of three or more empty ones is one line."""
    table = Table.grid(padding=(0, 1))
    for justify in ("right", "left", "right", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    most = max(bucket.count for bucket in buckets)
    bar = max(min(width - 40, _BAR), 10)
    index = 0
    while index < len(buckets):
        empty = _empty_run(buckets, index)
        if empty >= 3:
            table.add_row(
                format_ns(buckets[index].low_ns), "to", format_ns(buckets[index + empty - 1].high_ns), "none", ""
            )
            index += empty
            continue
        one = buckets[index]
        marks = "#" * max(round(bar * one.count / most), 1 if one.count else 0)
        table.add_row(format_ns(one.low_ns), "to", format_ns(one.high_ns), f"{one.count:,}", Text(f"|{marks:<{bar}}|"))
        index += 1
    return table


def _empty_run(buckets: Sequence[Bucket], index: int) -> int:
    length = 0
    while index + length < len(buckets) and not buckets[index + length].count:
        length += 1
    return length


def _groups(listing: words.Listing, width: int) -> list[Any]:
    if not listing.rows:
        return []
    gap = 1 if width < _NARROW else 2
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
    for index, title in enumerate(listing.titles):
        table.add_column(title, justify="right" if index else "left", no_wrap=True)
    for row in listing.rows:
        table.add_row(*(Text(cell) for cell in row))
    more = [_indented(Text(f"and {listing.rest:,} more", style="dim"))] if listing.rest else []
    return [_indented(table), *more]


def _indented(what: Any, by: int = 2) -> Padding:
    return Padding(what, (0, 0, 0, by))
