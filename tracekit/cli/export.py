"""`tracekit export`: a trace in the format of another tool."""

from pathlib import Path

import click

from tracekit.cli.live import Progress
from tracekit.cli.options import trace_argument
from tracekit.text import printable
from tracekit.units import format_bytes, format_count

FORMATS = ("csv", "jsonl", "arrow", "perfetto")


@click.command()
@trace_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The file to write; its ending says how: .csv, .jsonl, .arrow, .pftrace. - is the standard output.",
)
@click.option("--format", "style", type=click.Choice(FORMATS), help="What to write, whatever the ending says.")
@click.option(
    "--event", "events", metavar="EVENT", multiple=True, help="Only these rows, and their columns. Not for Perfetto."
)
@click.option("--force", is_flag=True, help="Overwrite the output.")
def export(trace: Path, output: Path, style: str | None, events: tuple[str, ...], force: bool) -> None:
    """Write TRACE for another tool.

    CSV, JSON lines and Arrow have the rows and columns of the trace. A .pftrace opens in ui.perfetto.dev: processes
    with their arguments, opens, I/O by disk, findings and losses on one axis of time. TRACE is trace.parquet unless
    you name another. Arguments and paths hold secrets: what is written is readable by its owner only.

    \b
    Examples:
      tracekit export -o trace.pftrace
      tracekit export trace.parquet -o opens.csv --event open
      tracekit export -o - --format jsonl | jq 'select(.ret == -2) | .path'
    """
    # Imported when needed: `tracekit --help` does not wait for numpy.
    from tracekit.exchange.give import STDOUT, Export, give

    with Progress(f"exporting {printable(trace.name, 40)}") as progress:
        count = give(Export(trace, output, style, events, force), progress.add)
    if output != STDOUT:
        size = format_bytes(output.stat().st_size)
        what = "packets" if (style or output.suffix) in ("perfetto", ".pftrace", ".perfetto-trace") else "rows"
        click.echo(f"tracekit: wrote {printable(str(output))} ({format_count(count)} {what}, {size})", err=True)
