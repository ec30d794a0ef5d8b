"""`tracekit plot`: a picture of a recording."""

from pathlib import Path
from typing import Any

import click

from tracekit.cli import complete
from tracekit.cli.live import Progress, say
from tracekit.cli.options import selection_of, selection_options, trace_argument
from tracekit.errors import UsageError
from tracekit.text import printable
from tracekit.units import format_bytes


class _Plot(click.Command):
    """Its help names the kinds, which are looked up only then: `tracekit --help` does not wait for numpy."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from tracekit.analyze.plots import KINDS

        with formatter.section("Kinds"):
            formatter.write_dl([(name, kind.help) for name, kind in KINDS.items()])
        super().format_epilog(ctx, formatter)


@click.command(cls=_Plot)
@click.argument("kind", shell_complete=complete.names(complete.kinds))
@trace_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The picture to write: .png or .svg. Default: TRACE-KIND.png in this folder.",
)
@click.option("--force", is_flag=True, help="Overwrite the output.")
@click.option(
    "--metric",
    metavar="METRIC",
    shell_complete=complete.names(complete.metrics),
    help="Of latency, heatmap: block.device, block.queue, block.total, open, process.lifetime.",
)
@click.option("--group", metavar="FIELDS", help="Of latency, heatmap: one group only, such as disk=sda,op=read.")
@click.option(
    "--event",
    "events",
    metavar="EVENT",
    multiple=True,
    shell_complete=complete.names(complete.events),
    help="Of subsecond, rates: exec, exit, open, block_issue, ...",
)
@click.option(
    "--pattern", metavar="N", type=click.IntRange(min=1), help="Of timeline: the N-th rhythm of process starts."
)
@selection_options
def plot(  # noqa: PLR0913 - an argument for each option
    kind: str,
    trace: Path,
    output: Path | None,
    force: bool,
    metric: str | None,
    group: str | None,
    events: tuple[str, ...],
    pattern: int | None,
    **selected: str | None,
) -> None:
    """Draw a picture of TRACE, as PNG or SVG.

    TRACE is trace.parquet unless you name another. Times count from the start of the recording.

    \b
    Examples:
      tracekit plot latency
      tracekit plot heatmap --metric block.device --group disk=sda,op=read
      tracekit plot subsecond nightly.parquet --event exec -o night.svg
      tracekit plot rates --event exec --event open --from 10m --to 12m
      tracekit plot timeline --pattern 2 --force
    """
    from tracekit.analyze.plots import check, save
    from tracekit.analyze.plots import plot as draw
    from tracekit.trace import open_trace

    options = _options(kind, metric, group, events, pattern)
    path = Path(f"{trace.stem}-{kind}.png") if output is None else output
    check(kind, path, options, force)
    opened = open_trace(trace)
    with Progress(f"drawing {printable(path.name)}") as progress:
        opened.on_read = progress.add
        save(draw(opened, kind, selection_of(**selected), **options), path, force)
    say(f"wrote {printable(str(path))} ({format_bytes(path.stat().st_size)})")


def _options(
    kind: str, metric: str | None, group: str | None, events: tuple[str, ...], pattern: int | None
) -> dict[str, Any]:
    """What was given, as the kind of picture takes it."""
    given: dict[str, Any] = {"metric": metric, "pattern": pattern}
    given["group"] = None if group is None else _fields(group)
    if kind == "rates" or len(events) > 1:
        given["events"] = events or None
    else:
        given["event"] = events[0] if events else None
    return {name: value for name, value in given.items() if value is not None}


def _fields(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name and equals and value for name, equals, value in pairs):
        raise UsageError(f"{text!r} is no group: give fields and values, such as disk=sda,op=read")
    return {name: value for name, _, value in pairs}
