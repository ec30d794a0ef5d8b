"""`tracekit redact`: a trace that may leave."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracekit.cli.live import Progress, what_was_written
from tracekit.cli.options import pseudonym_options, trace_argument
from tracekit.errors import UsageError
from tracekit.files import check_output
from tracekit.text import printable
from tracekit.units import SECOND_NS, format_count

if TYPE_CHECKING:
    from tracekit.share.redacting import Replaced, Suspect
    from tracekit.trace import Trace

FOUND = 1


@click.command()
@trace_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The trace to write. Default: TRACE-redacted.parquet in this folder.",
)
@click.option("--force", is_flag=True, help="Overwrite the output.")
@pseudonym_options
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; say what of TRACE looks like a secret, and end with exit code 1 if any.",
)
def redact(
    trace: Path, output: Path | None, force: bool, allow: tuple[str, ...], key_file: Path | None, check: bool
) -> int:
    """Write TRACE with pseudonyms for names, and without secrets.

    Paths, arguments, users, control groups and programs get pseudonyms, the same name the same one; programs and paths
    that come with the system stay, and so do options. Host name and disk models are removed. What looks like a secret
    goes wherever it stands. Reports of both find the same.

    TRACE is trace.parquet unless you name another.

    \b
    Examples:
      tracekit redact
      tracekit redact night.parquet -o out.parquet --allow '/opt/ourdb/**'
      tracekit redact --key-file ~/redaction.key
      tracekit redact --check trace-redacted.parquet
    """
    from tracekit.trace import open_trace

    if check:
        if output is not None or allow or key_file is not None:
            raise UsageError("--check writes nothing: leave -o, --allow and --key-file out")
        return _print_suspects(open_trace(trace))
    from tracekit.share.names import read_allowed, read_key
    from tracekit.share.redacting import redact as run

    path = Path(f"{trace.stem}-redacted.parquet") if output is None else output
    check_output(path, force, [trace])
    opened, allowed = open_trace(trace), read_allowed(allow)
    with Progress(f"redacting {printable(trace.name, 40)}") as progress:
        opened.on_read = progress.add
        _, replaced = run(opened, path, read_key(key_file), allowed, force=force)
    _print_replaced(replaced)
    click.echo(f"tracekit: {what_was_written(path)}", err=True)
    return 0


def _print_replaced(replaced: "Replaced") -> None:
    click.echo(f"tracekit: replaced {replaced.told()}.", err=True)
    secrets = ", ".join(f"{name} {format_count(count)}" for name, count in replaced.secrets.most_common() if count)
    if secrets:
        click.echo(f"tracekit: among them, what looks like a secret: {secrets}.", err=True)


def _print_suspects(trace: "Trace") -> int:
    from tracekit.share.redacting import suspects

    with Progress(f"looking at {printable(trace.path.name, 40)}") as progress:
        trace.on_read = progress.add
        found = suspects(trace)
    for one in found:
        click.echo(suspicion(one))
    if not found:
        click.echo("nothing looks like a secret")
    return FOUND if found else 0


def suspicion(one: "Suspect") -> str:
    """What looks like a secret, on a line that does not tell it."""
    times = "once" if one.count == 1 else f"{format_count(one.count)} times"
    first = "" if one.event is None else f", {'' if one.count == 1 else 'first '}in {_when(one)}"
    return f"{one.shape} in {one.place}, {times}{first}: {printable(one.begins)}..."


def _when(one: "Suspect") -> str:
    event = printable(one.event)
    return f"{'an' if event[0] in 'aeiou' else 'a'} {event} at {one.at_ns / SECOND_NS:.9f} s"
