"""`tracekit report`: what a recording means."""

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracekit.cli.options import selection_of, selection_options
from tracekit.errors import UsageError

if TYPE_CHECKING:
    from tracekit.analyze import Report, Selection
    from tracekit.trace import Trace

INCOMPLETE = 3
DEFAULT_WIDTH = 80
DEFAULT_TOP, DEFAULT_EVENTS = 5, 1000


@click.command()
@click.argument("trace", type=click.Path(path_type=Path, readable=False), default=Path("trace.parquet"))
@click.option(
    "--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)
@selection_options
@click.option(
    "--top",
    metavar="N",
    type=click.IntRange(min=1),
    help=f"Lines of each list (default {DEFAULT_TOP}); with --finding, events (default {DEFAULT_EVENTS:,}).",
)
@click.option("--finding", metavar="N", type=click.IntRange(min=1), help="Print the raw events behind this finding.")
@click.option("--strict", is_flag=True, help="End with exit code 3 if TRACE is incomplete or has lost events.")
def report(  # noqa: PLR0913 - an argument for each option
    trace: Path,
    style: str,
    start: str | None,
    end: str | None,
    comm: str | None,
    disk: str | None,
    top: int | None,
    finding: int | None,
    strict: bool,
) -> int:
    """Say what TRACE shows: findings, latencies, bursts, and who does what; its own gaps first.

    TRACE is trace.parquet unless you name another. Times count from the start of the recording.
    """
    # Imported when needed: `tracekit --help` does not wait for numpy.
    from tracekit.analyze import analyze
    from tracekit.trace import open_trace

    opened = open_trace(trace)
    selection = selection_of(start, end, comm, disk)
    result = analyze(opened, selection, processes=True)
    if finding is not None:
        _print_events(opened, selection, result, finding, top or DEFAULT_EVENTS)
    elif style == "json":
        from tracekit.analyze.report.json import to_json

        click.echo(to_json(result))
    else:
        from tracekit.analyze.report.text import to_text

        terminal = sys.stdout.isatty()
        width = shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns if terminal else DEFAULT_WIDTH
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        click.echo(to_text(result, width=width, color=terminal and not plain, top=top or DEFAULT_TOP))
    return INCOMPLETE if strict and not result.quality.whole else 0


def _print_events(trace: "Trace", selection: "Selection", result: "Report", number: int, most: int) -> None:
    """The events of a finding, one a line, and on stderr how many were left out."""
    from tracekit.analyze import raw_events
    from tracekit.analyze.report.events import event_lines

    if number > len(result.findings):
        raise UsageError(f"there is no finding {number}: the report has {len(result.findings)}")
    chosen = result.findings[number - 1]
    batches = raw_events(trace, selection, chosen.where)
    left, more = most, 0
    for rows in batches:
        for line in event_lines([rows[:left]], trace.start_ns):
            click.echo(line)
        more, left = max(len(rows) - left, 0), max(left - len(rows), 0)
        if not left:
            more += sum(len(rest) for rest in batches)
            break
    if more:
        click.echo(f"and {more:,} more: --top {most + more} shows all", err=True)
