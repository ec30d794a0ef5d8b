"""What changed, as text for a person, and as JSON."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tracekit.analyze.diff.results import Change, Diff, LatencyChange, RateChange
from tracekit.analyze.diff.telling import WHAT, interval, named, plain, times
from tracekit.analyze.report import words
from tracekit.analyze.report.json import to_dict
from tracekit.analyze.report.text import printed
from tracekit.text import printable
from tracekit.units import format_count, format_ns

DIFF_FORMAT = 1
_NAME = 44


def diff_json(found: Diff) -> str:
    """One JSON object; the same recordings give the same bytes."""
    sides = {"before": to_dict(found.before), "after": to_dict(found.after)}
    told: dict[str, Any] = {"diff_format": DIFF_FORMAT}
    told |= {name: {part: side[part] for part in ("trace", "quality")} for name, side in sides.items()}
    told |= {"compared": found.compared, "notes": found.notes}
    for name in ("changes", "unsure", "latency", "rates"):
        told[name] = [dataclasses.asdict(one) for one in getattr(found, name)]
    return json.dumps(told, indent=2, ensure_ascii=True, allow_nan=False)


def diff_text(found: Diff, width: int = 80, color: bool = False, top: int = 5) -> str:
    """The comparison in lines of at most `width` characters.

    Args:
        width: at least 60.
        color: with the escape sequences of a terminal.
        top: how many figures that did not change are listed.
    """
    width = max(width, 60)
    tables = (_latencies(found.latency, top), _rates(found.rates, top), _legend(found))
    sections = (_head(found), _changes(found), *tables)
    return printed([line for section in sections for line in section], width, color)


def _head(found: Diff) -> Iterable[Any]:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, side in (("before", found.before), ("after", found.after)):
        lines = (printable(side.trace.path), words.facts(side), words.verdict(side, 0).headline)
        table.add_row(name, Text("\n".join(lines)))
    yield table
    yield from (Padding(Text(f"- {note}"), (0, 0, 0, 2)) for note in found.notes)


def _changes(found: Diff) -> Iterable[Any]:
    yield from (Text(""), Text("CHANGES", style="bold cyan"))
    if not found.compared:
        yield Text("Nothing could be compared: both together have too little of anything.")
    elif not found.changes:
        figures = f"none of the {found.compared} figures that both have"
        yield Text(f"No change: {figures} differs by more than chance, and by enough to matter.")
    yield from _listed(found.changes, "bold")
    if found.unsure:
        yield from (Text(""), Text("NOT SURE", style="bold cyan"))
        yield from _listed(found.unsure, "")


def _listed(changes: Sequence[Change], style: str) -> Iterable[Any]:
    for change in changes:
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right", width=len(f"{len(changes)}."))
        table.add_column(overflow="fold")
        table.add_row(Text(f"{change.rank}."), Text(f"{change.title}.", style=style))
        if change.detail:
            table.add_row("", Text(f"{change.detail}."))
        yield table


def _latencies(latency: Sequence[LatencyChange], top: int) -> Iterable[Any]:
    chosen, rest = _chosen(latency, top)
    rows = [
        (
            named(one.metric, one.group),
            f"p{one.share * 100:.0f}",
            format_ns(one.before_ns),
            format_ns(one.after_ns),
            *_ratio(one),
        )
        for one in chosen
    ]
    return _table("LATENCY", ("", "", "before", "after", "change", "95 % sure"), rows, rest)


def _rates(rates: Sequence[RateChange], top: int) -> Iterable[Any]:
    chosen, rest = _chosen(rates, top)
    rows = [(_what(one), "", plain(one.before_per_second), plain(one.after_per_second), *_ratio(one)) for one in chosen]
    return _table("EVENTS PER SECOND", ("", "", "before", "after", "change", "95 % sure"), rows, rest)


def _legend(found: Diff) -> Iterable[Any]:
    figures: tuple[LatencyChange | RateChange, ...] = (*found.latency, *found.rates)
    if any(one.sure or one.perhaps for one in figures):
        yield from (Text(""), Text(f"* changed, ? perhaps: some of {found.compared} figures differ as much by chance."))


def _what(one: RateChange) -> str:
    return f"{WHAT[one.event]} {' '.join(printable(value, _NAME) for value in one.group.values())}".strip()


def _ratio(one: LatencyChange | RateChange) -> tuple[str, str]:
    if one.ratio is None:
        return "new" if isinstance(one, RateChange) and one.after_count else "gone", ""
    mark = " *" if one.sure else " ?" if one.perhaps else ""
    return f"{times(one.ratio)}{mark}", interval(one)


def _chosen(figures: Sequence[Any], top: int) -> tuple[list[Any], int]:
    """Those that changed, those of everything, and some of the others; how many are left out."""
    first = [one for one in figures if one.sure or not one.group]
    others = sorted((one for one in figures if not one.sure and one.group), key=lambda one: not one.perhaps)
    return first + others[:top], max(len(others) - top, 0)


def _table(title: str, titles: Sequence[str], rows: Sequence[Sequence[str]], rest: int) -> Iterable[Any]:
    if not rows:
        return
    yield from (Text(""), Text(title, style="bold cyan"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for at, name in enumerate(titles):
        table.add_column(name, justify="left" if at < 2 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    yield table
    if rest:
        yield Text(f"and {format_count(rest)} more without a sure change")
