"""`tracekit report`: what a recording means."""

import os
import shutil
import sys
from pathlib import Path

import click

INCOMPLETE = 3
DEFAULT_WIDTH = 80


@click.command()
@click.argument("trace", type=click.Path(path_type=Path, readable=False), default=Path("trace.parquet"))
@click.option(
    "--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)
@click.option("--strict", is_flag=True, help="End with exit code 3 if TRACE is incomplete or has lost events.")
def report(trace: Path, style: str, strict: bool) -> int:
    """Say what TRACE shows: findings, latencies, bursts, and who does what; its own gaps first.

    TRACE is trace.parquet unless you name another.
    """
    # Imported when needed: `tracekit --help` does not wait for numpy.
    from tracekit.analyze import analyze
    from tracekit.trace import open_trace

    result = analyze(open_trace(trace))
    if style == "json":
        from tracekit.analyze.report.json import to_json

        click.echo(to_json(result))
    else:
        from tracekit.analyze.report.text import to_text

        terminal = sys.stdout.isatty()
        width = shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns if terminal else DEFAULT_WIDTH
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        click.echo(to_text(result, width=width, color=terminal and not plain))
    return INCOMPLETE if strict and not result.quality.whole else 0
