"""`tracekit import`: a trace of what another tool recorded."""

from pathlib import Path

import click

from tracekit.cli.live import Progress, what_it_holds, what_was_written
from tracekit.files import naming
from tracekit.text import printable
from tracekit.units import format_count, format_ns

FORMATS = ("perf", "tools", "blkparse", "blktrace", "parquet", "arrow", "csv", "jsonl")
UNITS = ("s", "ms", "us", "ns")


@click.command(name="import")
@click.argument("sources", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path, readable=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("trace.parquet"),
    show_default=True,
    help="The trace to write.",
)
@click.option("--force", is_flag=True, help="Overwrite the output.")
@click.option("--format", "kind", type=click.Choice(FORMATS), help="What FILE is. Default: as it looks.")
@click.option(
    "--column",
    "columns",
    metavar="OURS=THEIRS",
    multiple=True,
    help="Of named columns: what FILE calls a column of a trace. More than once.",
)
@click.option("--event", metavar="EVENT", help="Of named columns: what each row is, where no column says it.")
@click.option(
    "--time-unit",
    "unit",
    type=click.Choice(UNITS),
    default="ns",
    show_default=True,
    help="Of named columns: the unit of those with a time.",
)
def import_(  # noqa: PLR0913 - an argument for each option
    sources: tuple[Path, ...],
    output: Path,
    force: bool,
    kind: str | None,
    columns: tuple[str, ...],
    event: str | None,
    unit: str,
) -> None:
    """Make a trace of what another tool recorded.

    FILE is what `perf script` printed (perf), what execsnoop, opensnoop, biosnoop or exitsnoop of bcc or bpftrace
    printed (tools), what blktrace wrote (blktrace) or blkparse printed (blkparse), or a Parquet, Arrow, CSV or JSON
    lines file with columns named as in a trace. `-` is the standard input. docs/exchange.md has more of each.

    \b
    Examples:
      tracekit import perf.txt -o perf.parquet    # what perf script printed
      tracekit import opens.txt    # of opensnoop -T -U
      tracekit import sda.blktrace.*
      tracekit import --column ts_ns=when --event open --time-unit us opens.csv
    """
    # Imported when needed: `tracekit --help` does not wait for numpy.
    from tracekit.exchange.bring import Import, bring
    from tracekit.exchange.columns import Naming

    called = Naming(_pairs(columns), event, unit)
    with naming(output), Progress(f"importing {printable(sources[0].name, 40)}"):
        done = bring(Import(sources, output, kind, force, called))
    tally = done.tally
    if tally.nonsense:
        many = tally.nonsense > 1
        what = "lines make no sense and were left out, such as" if many else "line makes no sense and was left out"
        _say(f"{format_count(tally.nonsense)} {what}:")
        for number, text in sorted(tally.examples):
            _say(f"  {number}: {printable(text, 160)}")
    if tally.passed_over:
        others = ", ".join(f"{printable(name)} ({count:,})" for name, count in tally.passed_over.most_common(5))
        more = " and others" if len(tally.passed_over) > 5 else ""
        _say(f"passed over what a trace has not: {others}{more}.")
    for note in tally.notes:
        _say(f"note: {printable(note)}.")
    missing = f"; its recorder lost {format_count(done.lost)}" if done.lost else ""
    span = format_ns(done.metadata.duration_ns)
    _say(f"imported {format_count(done.rows)} events of {span}: {what_it_holds(output)}{missing}.")
    _say(what_was_written(output))


def _pairs(columns: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for column in columns:
        ours, separator, theirs = column.partition("=")
        if not separator or not ours or not theirs:
            raise click.UsageError(f"--column {column!r} is not OURS=THEIRS, such as ts_ns=when")
        pairs[ours] = theirs
    return pairs


def _say(text: str) -> None:
    click.echo(f"tracekit: {text}" if not text.startswith(" ") else text, err=True)
