"""`tracekit report`: what a recording means."""

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracekit.cli.options import selection_of, selection_options
from tracekit.errors import UsageError
from tracekit.files import check_output, putting
from tracekit.text import printable
from tracekit.units import format_bytes

if TYPE_CHECKING:
    from tracekit.analyze import Report, Selection
    from tracekit.trace import Trace

INCOMPLETE = 3
DEFAULT_WIDTH = 80
DEFAULT_TOP, DEFAULT_EVENTS = 5, 1000


#: What a report can be, by the end of its file's name.
STYLES = {".html": "html", ".json": "json", ".md": "md", ".txt": "text"}


@click.command()
@click.argument("trace", type=click.Path(path_type=Path, readable=False), default=Path("trace.parquet"))
@click.option("--format", "style", type=click.Choice(["text", "json", "md"]), help="How to print it (default text).")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write it to this file instead; its ending says how: .html (with pictures), .json, .md, .txt.",
)
@click.option("--force", is_flag=True, help="Overwrite the output.")
@selection_options
@click.option(
    "--top",
    metavar="N",
    type=click.IntRange(min=1),
    help=f"Lines of each list (default {DEFAULT_TOP}, in HTML all there are); with --finding, events "
    f"(default {DEFAULT_EVENTS:,}).",
)
@click.option("--finding", metavar="N", type=click.IntRange(min=1), help="Print the raw events behind this finding.")
@click.option("--strict", is_flag=True, help="End with exit code 3 if TRACE is incomplete or has lost events.")
def report(  # noqa: PLR0913 - an argument for each option
    trace: Path,
    style: str | None,
    output: Path | None,
    force: bool,
    top: int | None,
    finding: int | None,
    strict: bool,
    **selected: str | None,
) -> int:
    """Say what TRACE shows: findings, latencies, bursts, and who does what; its own gaps first.

    TRACE is trace.parquet unless you name another. Times count from the start of the recording.
    """
    # Imported when needed: `tracekit --help` does not wait for numpy.
    from tracekit.analyze import analyze
    from tracekit.trace import open_trace

    chosen = _style(style, output, finding)
    if output is not None:
        check_output(output, force)
    opened, selection = open_trace(trace), selection_of(**selected)
    result = analyze(opened, selection, processes=True)
    if finding is not None:
        _print_events(opened, selection, result, finding, top or DEFAULT_EVENTS)
    elif output is None:
        click.echo(_rendered(chosen, opened, selection, result, top, sys.stdout.isatty()))
    else:
        text = _rendered(chosen, opened, selection, result, top, terminal=False)
        with putting(output, force) as temporary:
            temporary.write_text(f"{text}\n", encoding="utf-8")
        click.echo(f"tracekit: wrote {printable(str(output))} ({format_bytes(output.stat().st_size)})", err=True)
    return INCOMPLETE if strict and not result.quality.whole else 0


def _style(style: str | None, output: Path | None, finding: int | None) -> str:
    """What to write: as the output's name ends, or as `--format` says."""
    if output is None:
        return style or "text"
    if finding is not None:
        raise UsageError("-o takes a whole report: leave it out, and redirect what --finding prints")
    by_name = STYLES.get(output.suffix.lower())
    if by_name is None:
        raise UsageError(f"the report {output} must end in {', '.join(STYLES)}: its ending says what is written")
    if style not in (None, by_name):
        raise UsageError(f"--format {style} contradicts the ending of {output}: leave one of them out")
    return by_name


def _rendered(
    style: str, trace: "Trace", selection: "Selection", result: "Report", top: int | None, terminal: bool
) -> str:
    if style == "json":
        from tracekit.analyze.report.json import to_json

        return to_json(result)
    if style == "html":
        from tracekit.analyze.report.html import to_html

        return to_html(result, trace, selection, top)
    if style == "md":
        from tracekit.analyze.report.markdown import to_markdown

        return to_markdown(result, top or DEFAULT_TOP)
    from tracekit.analyze.report.text import to_text

    width = shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns if terminal else DEFAULT_WIDTH
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return to_text(result, width=width, color=terminal and not plain, top=top or DEFAULT_TOP)


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
