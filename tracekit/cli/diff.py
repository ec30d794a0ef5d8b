"""`tracekit diff`: what changed between two recordings."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracekit.cli.live import Progress
from tracekit.cli.options import Choice, selection_of, who_options
from tracekit.cli.screen import colours, width
from tracekit.errors import UsageError

if TYPE_CHECKING:
    from tracekit.analyze.diff import Part

TOP = 5


@click.command()
@click.argument("before", type=click.Path(path_type=Path, readable=False))
@click.argument("after", type=click.Path(path_type=Path, readable=False), required=False)
@click.option("--at", metavar="TIME", help="Compare what is before this time with what is after it, in one recording.")
@who_options
@click.option(
    "--top",
    metavar="N",
    type=click.IntRange(min=1),
    default=TOP,
    show_default=True,
    help="How many figures that did not change are listed.",
)
@click.option(
    "--format", "style", type=Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)
def diff(  # noqa: PLR0913 - an argument for each option
    before: Path, after: Path | None, at: str | None, comm: str | None, disk: str | None, top: int, style: str
) -> None:
    """Say what changed between two recordings: BEFORE and AFTER a release, a new kernel, another configuration.

    Latencies, their modes, rhythms, programs and rates are compared. What is told differs by more than chance and by
    enough to matter: by how much figures vary within each recording says how much they may between the two.

    \b
    Examples:
      tracekit diff monday.parquet tuesday.parquet
      tracekit diff before.parquet after.parquet --comm postgres --disk nvme0n1
      tracekit diff trace.parquet --at 10m
    """
    # Imported when needed: `tracekit --help` does not wait for numpy.
    from tracekit.analyze import rows_to_read
    from tracekit.analyze.diff import diff as compare
    from tracekit.analyze.report.diff import diff_json, diff_text

    parts = _parts(before, after, at, comm, disk)
    with Progress("reading both", sum(2 * rows_to_read(part.trace, part.selection) for part in parts)) as progress:
        for part in parts:
            part.trace.on_read = progress.add
        found = compare(*parts)
    if style == "json":
        click.echo(diff_json(found))
    else:
        click.echo(diff_text(found, width(), colours(), top), color=colours())


def _parts(before: Path, after: Path | None, at: str | None, comm: str | None, disk: str | None) -> "list[Part]":
    from tracekit.analyze.diff import Part
    from tracekit.analyze.selection import kept_name
    from tracekit.trace import open_trace

    if (after is None) is (at is None):
        raise UsageError("name two recordings, or one and with --at the time at which it is divided")
    first = open_trace(before)
    traces = first, first if after is None else open_trace(after)
    parts: list[Part] = []
    for trace, (start, end) in zip(traces, ((None, at), (at, None)), strict=True):
        # What the kernel keeps of a name is said once, if it is the same on both sides.
        kept = parts[0].selection.comm if parts else None
        name = kept if comm is not None and kept == kept_name(trace, comm) else comm
        parts.append(Part(trace, selection_of(trace, start, end, name, disk)))
    return parts
