"""`tracekit info`: what a recording is, before anybody asks what it means."""

import dataclasses
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracekit.cli.live import Progress
from tracekit.cli.options import Choice, trace_argument
from tracekit.cli.screen import colours, width
from tracekit.text import printable
from tracekit.units import SECOND_NS, format_bytes, format_count, format_ns

if TYPE_CHECKING:
    from rich.table import Table

    from tracekit.metadata import Counters, Disk, Metadata
    from tracekit.trace import Trace

_FILTERED = "filtered: the recorder's own events, what the filters did not want, and what was outside the recording"


@click.command()
@trace_argument
@click.option(
    "--format", "style", type=Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)
@click.option("--verify", is_flag=True, help="Read all of TRACE: end with exit code 3 if any part is damaged.")
def info(trace: Path, style: str, verify: bool) -> None:
    """Show what TRACE is: when and where it was recorded, what it holds, and whether anything was lost.

    TRACE is trace.parquet unless you name another. Only its footer, the names of its events and what was lost are
    read: damage elsewhere shows with --verify.

    \b
    Examples:
      tracekit info
      tracekit info nightly.parquet --format json | jq .rows
      tracekit info nightly.parquet --verify
    """
    from tracekit.trace import open_trace

    opened = open_trace(trace)
    whole = opened.rows * (2 if verify else 1) + opened.rows_of("lost")
    with Progress(f"reading {printable(trace.name, 40)}", whole) as progress:
        opened.on_read = progress.add
        if verify:
            opened.verify()
        told = _as_json(opened, verify) if style == "json" else _as_text(opened, verify)
    # Printed by click, since rich leaves the program by itself when the reader of a pipe has gone.
    click.echo(told, color=colours())


def _as_json(trace: "Trace", verified: bool) -> str:
    metadata = dataclasses.asdict(trace.metadata)
    facts = {"path": str(trace.path), "size_bytes": _size(trace), "rows": trace.counts, "metadata": metadata}
    return json.dumps(facts | ({"verified": True} if verified else {}), indent=2)


def _as_text(trace: "Trace", verified: bool) -> str:
    from rich.console import Console

    # In a pipe a line is as long as it needs to be: whoever reads it there has tools to cut it.
    wide, coloured = width() if sys.stdout.isatty() else 10_000, colours()
    console = Console(
        highlight=False, width=wide, force_terminal=coloured, color_system="standard" if coloured else None
    )
    with console.capture() as captured:
        for index, table in enumerate(_tables(trace, verified)):
            if index and table != _FILTERED:
                console.print()
            console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _facts(trace: "Trace", verified: bool) -> list[tuple[str, str]]:
    metadata = trace.metadata
    return [
        ("trace", f"{printable(str(trace.path))} ({format_bytes(_size(trace))}, format {metadata.format})"),
        ("state", _state(trace)),
        *([("verified", "all of it can be read")] if verified else []),
        ("recorded", _when(trace)),
        ("duration", format_ns(metadata.duration_ns)),
        ("machine", _machine(metadata)),
        ("kernel", printable(metadata.kernel)),
        ("recorder", f"tracekit {printable(metadata.tool_version)}, backend {printable(metadata.backend)}"),
        (
            "command",
            "none" if metadata.command is None else printable(shlex.join(metadata.command)),
        ),
        ("asked for", printable(", ".join(metadata.events)) or "?"),
        ("filters", printable(metadata.chosen() or "none")),
        *(("slice", printable(cut.told())) for cut in metadata.cuts),
        ("redaction", printable("; ".join(map(str, (metadata.redaction or {}).values())) or "none")),
    ]


def _state(trace: "Trace") -> str:
    counters = trace.metadata.counters
    told = sum(lost or 0 for lost in trace.table("lost", columns=["lost"])["lost"].to_pylist())
    lost = max(sum(counts.lost for counts in counters.values()), told)
    whole = "complete" if trace.metadata.complete else "recovered: the recorder died, so the end may be missing"
    known = counters or lost
    return f"{whole}; {format_count(lost)} events lost" if known else f"{whole}; whether events were lost is unknown"


def _when(trace: "Trace") -> str:
    if not trace.metadata.clock.anchors:
        return "? (it has no wall-clock time)"
    start_ns = int(trace.metadata.clock.realtime_ns(trace.start_ns))
    end_ns = int(trace.metadata.clock.realtime_ns(trace.end_ns))
    return f"{_utc(start_ns)} to {_utc(end_ns)}"


def _utc(realtime_ns: int) -> str:
    try:
        return f"{datetime.fromtimestamp(realtime_ns // SECOND_NS, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return "?"


def _machine(metadata: "Metadata") -> str:
    unnamed = "name removed" if metadata.redaction else "name unknown"
    name = unnamed if metadata.hostname is None else printable(metadata.hostname)
    return f"{name}, {format_count(metadata.cpus)} CPUs, {printable(metadata.arch)}"


def _size(trace: "Trace") -> int:
    return trace.path.stat().st_size


def _tables(trace: "Trace", verified: bool) -> "Iterator[Table | str]":
    metadata = trace.metadata
    yield _table((), _facts(trace, verified))
    yield _table(("event", "rows"), [(printable(event), format_count(rows)) for event, rows in trace.counts.items()])
    if metadata.counters:
        yield _counter_table(metadata.counters)
        if any(counts.filtered for counts in metadata.counters.values()):
            yield _FILTERED
    if metadata.disks:
        headings = ("disk", "size", "device", "kind", "scheduler", "model")
        yield _table(headings, [_disk_row(disk) for disk in metadata.disks], numbers=2)


def _counter_table(counters: "dict[str, Counters]") -> "Table":
    rows = {family: dataclasses.asdict(counts) for family, counts in counters.items()}
    names = next(iter(rows.values()))
    headings = ("family", *(name.replace("_", " ") for name in names))
    return _table(headings, [(printable(family), *map(format_count, row.values())) for family, row in rows.items()])


def _disk_row(disk: "Disk") -> tuple[str, ...]:
    kind = {None: "?", True: "rotational", False: "not rotational"}[disk.rotational]
    device = f"{disk.dev >> 20}:{disk.dev & 0xFFFFF}"
    size, scheduler, model = format_bytes(disk.size_bytes), printable(disk.scheduler), printable(disk.model)
    return (printable(disk.name), size, device, kind, scheduler, model)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: int | None = None) -> "Table":
    """A table without lines; the columns after the first, or the given number of them, stand to the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=bool(headings), pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    last = len(headings) - 1 if numbers is None else numbers
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if 0 < index <= last else "left")
    for row in rows:
        # As text, so that no string from a trace is taken for rich's markup.
        table.add_row(*(Text(cell) for cell in row))
    return table
