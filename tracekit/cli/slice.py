"""`tracekit slice`: a smaller trace."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracekit.cli.live import Progress, what_it_holds, what_was_written
from tracekit.cli.options import command_of, families_option, selection_of, trace_argument
from tracekit.errors import UsageError
from tracekit.files import check_output
from tracekit.schema import RECORDED_FAMILIES
from tracekit.text import printable
from tracekit.units import format_ns, parse_offset

if TYPE_CHECKING:
    from tracekit.trace import Trace

DEFAULT_MARGIN = "1s"


@click.command()
@trace_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The trace to write. Default: TRACE-slice.parquet in this folder.",
)
@click.option("--force", is_flag=True, help="Overwrite the output.")
@click.option("--from", "start", metavar="TIME", help="What happens from this time on: 90s, 10m into TRACE.")
@click.option("--to", "end", metavar="TIME", help="What begins before this time.")
@click.option("--finding", metavar="N", type=click.IntRange(min=1), help="The time of this finding of the report.")
@click.option("--margin", metavar="TIME", help=f"So much before and after the finding (default {DEFAULT_MARGIN}).")
@families_option("Families to keep")
@click.option("--tree", "trees", metavar="PID", type=int, multiple=True, help="A process and all that came of it.")
@click.option("--comm", "comms", metavar="COMMAND", multiple=True, help="A command: its processes, opens, and I/O.")
@click.option("--disk", "disks", metavar="DISK", multiple=True, help="Of I/O, that of this disk.")
def slice(  # noqa: PLR0913 - the command's name; an argument for each option
    trace: Path,
    output: Path | None,
    force: bool,
    start: str | None,
    end: str | None,
    finding: int | None,
    margin: str | None,
    families: tuple[str, ...],
    trees: tuple[int, ...],
    comms: tuple[str, ...],
    disks: tuple[str, ...],
) -> None:
    """Cut a smaller trace out of TRACE.

    I/O that was under way in the part is there from its start to its completion, processes that ran when it begins are
    listed, and processes that led to the wanted ones are kept. The same option again widens, different options narrow.

    TRACE is trace.parquet unless you name another. Times count from the start of the recording.

    \b
    Examples:
      tracekit slice --from 90s --to 2m
      tracekit slice nightly.parquet --finding 2 --margin 500ms -o stall.parquet
      tracekit slice --tree 4711 --comm postgres
      tracekit slice --disk sda --events block
    """
    from tracekit.share.slicing import Slice, slice_trace
    from tracekit.trace import open_trace

    if not any((start, end, finding, margin, trees, comms, disks)) and set(families) == set(RECORDED_FAMILIES):
        raise UsageError("say what to keep: --from, --to, --finding, --events, --tree, --comm or --disk")
    path = Path(f"{trace.stem}-slice.parquet") if output is None else output
    check_output(path, force, [trace])
    opened = open_trace(trace)
    with Progress(f"cutting {printable(trace.name, 40)}") as progress:
        opened.on_read = progress.add
        from_ns, to_ns = _times(opened, start, end, finding, margin)
        commands = tuple(command_of(opened, name) for name in comms)
        footer = slice_trace(opened, Slice(from_ns, to_ns, families, trees, commands, disks), path, force)
    kept = f"kept {format_ns(footer.duration_ns)} with these events: {what_it_holds(path)}."
    click.echo(f"tracekit: {kept}", err=True)
    click.echo(f"tracekit: {what_was_written(path)}", err=True)


def _times(
    trace: "Trace", start: str | None, end: str | None, finding: int | None, margin: str | None
) -> tuple[int | None, int | None]:
    """The part of the recording, as offsets from its start."""
    if finding is None:
        if margin is not None:
            raise UsageError("--margin belongs to --finding: name a finding, or use --from and --to")
        part = selection_of(trace, start, end, None, None)
        return part.start_ns, part.end_ns
    if start is not None or end is not None:
        raise UsageError("--finding has its own time: leave --from and --to out, or the finding")
    from tracekit.share.slicing import around

    return around(trace, finding, parse_offset(margin or DEFAULT_MARGIN))
