"""`tracekit bundle`: one file to attach to a bug report."""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracekit.cli.live import Progress
from tracekit.cli.options import pseudonym_options, trace_argument
from tracekit.cli.redact import suspicion
from tracekit.errors import UsageError
from tracekit.files import check_output, naming
from tracekit.text import printable
from tracekit.units import format_bytes, parse_size

if TYPE_CHECKING:
    from tracekit.share.bundling import Bundle

DEFAULT_SIZE = "24M"
NOT_WRITTEN = 1


@click.command()
@trace_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The zip file to write. Default: TRACE-bundle.zip in this folder.",
)
@click.option("--force", is_flag=True, help="Overwrite the output.")
@click.option("--yes", is_flag=True, help="Do not ask before it is written.")
@click.option(
    "--max-size",
    metavar="SIZE",
    default=DEFAULT_SIZE,
    show_default=True,
    help="Keep of a larger trace the part around the first finding that fits in.",
)
@click.option("--no-redact", is_flag=True, help="Leave names as they are.")
@click.option("--no-machine", is_flag=True, help="Do not tell the kernel, processors and disks.")
@pseudonym_options
def bundle(  # noqa: PLR0913 - an argument for each option
    trace: Path,
    output: Path | None,
    force: bool,
    yes: bool,
    max_size: str,
    no_redact: bool,
    no_machine: bool,
    allow: tuple[str, ...],
    key_file: Path | None,
) -> int:
    """Put TRACE into one zip file, with its report in Markdown and HTML, what machine it was, and checksums.

    Names are replaced as `tracekit redact` does. It shows what is inside before it writes, and on a terminal asks.
    Every command that reads a trace takes a bundle as well.

    TRACE is trace.parquet unless you name another.

    \b
    Examples:
      tracekit bundle
      tracekit bundle night.parquet --allow '/opt/ourdb/**' --max-size 9M
      tracekit bundle --yes --no-machine
    """
    from tracekit.share.bundling import Terms, prepare, write_bundle
    from tracekit.share.names import read_allowed, read_key
    from tracekit.trace import open_trace

    if no_redact and (no_machine or allow or key_file is not None):
        raise UsageError("--no-redact leaves the trace as it is: leave --no-machine, --allow and --key-file out")
    path = Path(f"{trace.stem}-bundle.zip") if output is None else output
    check_output(path, force, [trace])
    opened = open_trace(trace)
    key = None if no_redact else read_key(key_file)
    terms = Terms(parse_size(max_size), key, read_allowed(allow), not no_machine)
    with (
        naming(path),
        tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".tmp", dir=path.absolute().parent) as place,
    ):
        with Progress(f"bundling {printable(trace.name, 40)}") as progress:
            opened.on_read = progress.add
            made = prepare(opened, terms, Path(place))
        _show(made, path)
        if not (yes or _agreed()):
            click.echo("tracekit: nothing was written", err=True)
            return NOT_WRITTEN
        write_bundle(made, path, force)
    click.echo(f"tracekit: wrote {printable(str(path))} ({format_bytes(path.stat().st_size)})", err=True)
    return 0


def _show(made: "Bundle", path: Path) -> None:
    click.echo(f"{printable(str(path))} will have", err=True)
    for name, place in made.members:
        click.echo(f"  {name:14} {format_bytes(place.stat().st_size):>10}", err=True)
    for note in made.notes:
        click.echo(printable(note), err=True)
    for name, value in made.machine:
        click.echo(f"machine.txt tells: {name} {value}", err=True)
    for one in made.suspects:
        click.echo(f"Look at this: {suspicion(one)}", err=True)


def _agreed() -> bool:
    """What a person says; where there is none, the command itself says it."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    return click.confirm("Write it?", err=True)
