"""`tracekit plot`: a picture of a recording."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tracekit.cli import complete
from tracekit.cli.live import Progress, say
from tracekit.cli.options import selection_of, selection_options, trace_argument
from tracekit.errors import UsageError
from tracekit.text import printable
from tracekit.units import format_bytes

if TYPE_CHECKING:
    from tracekit.analyze import Selection
    from tracekit.trace import Trace


class _Plot(click.Command):
    """Its help names the kinds, which are looked up only then: `tracekit --help` does not wait for numpy."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from tracekit.analyze.plots import KINDS

        with formatter.section("Kinds"):
            formatter.write_dl([(name, kind.help) for name, kind in KINDS.items()])
        super().format_epilog(ctx, formatter)


@click.command(cls=_Plot)
@click.argument("kind", required=False, shell_complete=complete.KINDS)
@trace_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The picture to write: .png or .svg. Default: TRACE-KIND.png in this folder.",
)
@click.option("--force", is_flag=True, help="Overwrite the output.")
@click.option(
    "--size",
    metavar="WxH",
    callback=lambda context, parameter, text: None if text is None else _size(text),
    help="Width and height in pixels. Default: 1500x850, and a timeline as high as it needs to be.",
)
@click.option(
    "--dpi",
    metavar="N",
    type=click.IntRange(min=1),
    help="Pixels of an inch: the more, the larger are text and lines. Default: 150, for other sizes as fits them.",
)
@click.option(
    "--finding",
    metavar="N",
    type=click.IntRange(min=1),
    help="The picture that shows this finding of the report: leave KIND out.",
)
@click.option(
    "--metric",
    metavar="METRIC",
    shell_complete=complete.METRICS,
    help="Of latency, heatmap: block.device, block.queue, block.total, open, process.lifetime.",
)
@click.option("--group", metavar="FIELDS", help="Of latency, heatmap: one group only, such as disk=sda,op=read.")
@click.option(
    "--event",
    "events",
    metavar="EVENT",
    multiple=True,
    shell_complete=complete.TIMED_EVENTS,
    help="Of subsecond, rates: exec, exit, open, block_issue, ...",
)
@click.option(
    "--pattern", metavar="N", type=click.IntRange(min=1), help="Of timeline: the N-th rhythm of process starts."
)
@selection_options
@click.pass_context
def plot(  # noqa: PLR0913 - an argument for each option
    context: click.Context,
    /,
    kind: str | None,
    trace: Path,
    output: Path | None,
    force: bool,
    size: tuple[int, int] | None,
    dpi: int | None,
    finding: int | None,
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
      tracekit plot --finding 1
      tracekit plot heatmap --metric block.device --group disk=sda,op=read
      tracekit plot subsecond nightly.parquet --event exec -o night.svg
      tracekit plot rates --event exec --event open --from 10m --to 12m
      tracekit plot timeline --pattern 2 --size 1920x1080 --force
    """
    from tracekit.analyze.plots import KINDS, check, resolution, save
    from tracekit.analyze.plots import plot as draw
    from tracekit.trace import open_trace

    chosen = _options(kind, metric, group, events, pattern)
    if finding is not None:
        trace, kind = _trace_of_finding(context, kind, trace, chosen), None
    elif kind is None:
        raise UsageError(f"name a kind of picture: there are {', '.join(KINDS)}; or give --finding N")
    path = Path(f"{trace.stem}-{kind or f'finding-{finding}'}.png") if output is None else output
    resolution(size, dpi)
    check(kind, path, chosen, force)
    opened = open_trace(trace)
    selection = selection_of(opened, **selected)
    if finding is not None:
        kind, chosen, selection = _of_finding(opened, finding, selection)
    with Progress(f"drawing {printable(path.name, 40)}") as progress:
        opened.on_read = progress.add
        save(draw(opened, str(kind), selection, size_px=size, dpi=dpi, **chosen), path, force)
    say(f"wrote {printable(str(path))} ({format_bytes(path.stat().st_size)})")


def _trace_of_finding(context: click.Context, first: str | None, second: Path, chosen: dict[str, Any]) -> Path:
    """Where a finding says what is drawn, the only argument is the trace."""
    given = context.get_parameter_source("trace") is not ParameterSource.DEFAULT
    if given or chosen:
        raise UsageError("--finding chooses the kind of picture and what it shows: leave these out")
    return second if first is None else Path(first)


def _of_finding(trace: "Trace", number: int, selection: "Selection") -> tuple[str, dict[str, Any], "Selection"]:
    """The kind of picture that shows a finding of the report, its options, and the part of the trace."""
    from tracekit.analyze import analyze, rows_to_read
    from tracekit.analyze.plots import of_finding

    with Progress(f"reading {printable(trace.path.name, 40)}", rows_to_read(trace, selection)) as progress:
        trace.on_read = progress.add
        report = analyze(trace, selection)
    return of_finding(report, number, selection)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UsageError(f"{text!r} is no size: give pixels, such as 1920x1080")
    return int(width), int(height)


def _options(
    kind: str | None, metric: str | None, group: str | None, events: tuple[str, ...], pattern: int | None
) -> dict[str, Any]:
    """What was given, as the kind of picture takes it."""
    given: dict[str, Any] = {"metric": metric, "pattern": pattern}
    given["group"] = None if group is None else _fields(group)
    if kind in ("rates", None) or len(events) > 1:
        given["events"] = events or None
    else:
        given["event"] = events[0] if events else None
    return {name: value for name, value in given.items() if value is not None}


def _fields(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name and equals and value for name, equals, value in pairs):
        raise UsageError(f"{text!r} is no group: give fields and values, such as disk=sda,op=read")
    return {name: value for name, _, value in pairs}
