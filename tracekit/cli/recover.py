"""`tracekit recover`: a trace from the journal of a recorder that was killed."""

from datetime import UTC, datetime
from pathlib import Path

import click

from tracekit.capture.finish import recover as run
from tracekit.cli.live import Progress, say, what_was_written
from tracekit.units import format_count, format_ns


@click.command()
@click.argument("recording", type=click.Path(path_type=Path, readable=False), default=Path("trace.parquet"))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The trace to write. Default: as recorded.")
@click.option("--force", is_flag=True, help="Overwrite the output.")
def recover(recording: Path, output: Path | None, force: bool) -> None:
    """Make a trace of a recording that was cut short.

    RECORDING is the trace that was to be written, trace.parquet unless you name another, or its journal, such as
    .trace.parquet.journal.

    \b
    Examples:
      tracekit recover
      tracekit recover /var/tmp/night.parquet -o night-until-crash.parquet
    """
    with Progress("recovering", 1.0) as progress:
        path, metadata, damaged = run(recording, output, force, progress.reach)
    events = sum(count.written for count in metadata.counters.values())
    families = ", ".join(f"{name} {format_count(count.written)}" for name, count in metadata.counters.items())
    say(f"recovered {format_count(events)} events of {format_ns(metadata.duration_ns)}: {families}.")
    if metadata.clock.anchors:
        ended = datetime.fromtimestamp(metadata.clock.anchors[-1].realtime_ns // 10**9, UTC)
        say(f"it ends at {ended:%H:%M:%S} UTC: up to a second before the recorder ended is missing.")
    if damaged:
        say(f"note: {', '.join(damaged)} could not be read, nor what follows in the same minute.")
    say(what_was_written(path))
