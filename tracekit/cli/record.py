"""`tracekit record`: options to one library call, and what a person sees meanwhile."""

import contextlib
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import click

from tracekit.capture.agent import Progress, RecordOptions, Stop
from tracekit.capture.agent import record as run
from tracekit.capture.backend import BACKENDS
from tracekit.metadata import Counters, Metadata
from tracekit.schema import RECORDED_FAMILIES
from tracekit.text import printable
from tracekit.units import SECOND_NS, format_bytes, format_count, format_ns, parse_duration

if TYPE_CHECKING:
    from rich.live import Live

_MEANING = {"process": "process starts and ends", "block": "block I/O", "open": "opens of files"}


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("-d", "--duration", metavar="TIME", help="How long: seconds, or 90s, 10m, 1h. Default: until Ctrl-C.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("trace.parquet"),
    show_default=True,
    help="The trace to write.",
)
@click.option(
    "--events",
    metavar="FAMILIES",
    default=",".join(RECORDED_FAMILIES),
    show_default=True,
    help="What to record, with commas between.",
)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="auto",
    show_default=True,
    help="How the probes get into the kernel: core needs BTF, bcc compiles here.",
)
@click.option("--force", is_flag=True, help="Overwrite the output, and drop an unfinished recording of it.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def record(duration: str | None, output: Path, events: str, backend: str, force: bool, command: tuple[str, ...]) -> int:
    """Record what the kernel does into a trace: process starts and ends, block I/O, opens.

    The recording ends after the duration, at Ctrl-C, or when COMMAND ends. COMMAND runs as the same user as tracekit;
    if it outlives the recording it is waited for, and its exit code is returned.

    \b
    Examples:
      tracekit record -d 10m
      tracekit record -d 1h -o /var/tmp/night.parquet --events process,block
      tracekit record -o build.parquet -- make -j8
    """
    options = RecordOptions(
        output=output,
        families=tuple(dict.fromkeys(name.strip() for name in events.split(",") if name.strip())),
        duration_ns=None if duration is None else parse_duration(duration),
        backend=backend,
        force=force,
        command=command,
    )
    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP:  # nohup ignores it
            signal.signal(number, lambda received, _: stop.request(received))
    with _Screen(options) as screen:
        return run(options, stop, screen.started, screen.progressed, screen.written).exit_code


class _Screen:
    """What a person sees while it records: on a terminal one line that lives, else only how it began."""

    def __init__(self, options: RecordOptions) -> None:
        self._options = options
        self._live: Live | None = None

    def __enter__(self) -> "_Screen":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end_live_line()

    def _end_live_line(self) -> None:
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.stop()
            self._live = None

    def started(self, backend: str, notes: tuple[str, ...]) -> None:
        """The probes run."""
        options = self._options
        what = [_MEANING[family] for family in options.families]
        listed = " and ".join(filter(None, [", ".join(what[:-1]), what[-1]]))
        limit = "" if options.duration_ns is None else f" for {format_ns(options.duration_ns)}"
        command = f" while {printable(options.command[0])} runs" if options.command else ""
        _say(f"recording {listed}{limit}{command} ({backend} loader). Ctrl-C ends it and keeps what is recorded.")
        for note in notes:
            _say(f"note: {note}")
        if sys.stderr.isatty():
            self._live = _live_line()

    def progressed(self, progress: Progress) -> None:
        """Another second has passed."""
        if self._live is None:
            return
        limit_ns = self._options.duration_ns
        seconds = (progress.elapsed_ns if limit_ns is None else limit_ns - progress.elapsed_ns) // SECOND_NS
        clock = f"{max(seconds, 0) // 3600}:{max(seconds, 0) // 60 % 60:02}:{max(seconds, 0) % 60:02}"
        families = "  ".join(f"{name} {format_count(count.written)}" for name, count in progress.counters.items())
        lost = sum(count.lost for count in progress.counters.values())
        time = clock if limit_ns is None else f"{clock} left"
        line = f"{time}  {families}  lost {format_count(lost)}  {format_bytes(progress.bytes_on_disk)}"
        with contextlib.suppress(OSError):
            self._live.update(line, refresh=True)

    def written(self, metadata: Metadata, waiting: bool) -> None:
        """The trace is there."""
        self._end_live_line()
        _say_what_was_recorded(self._options.output, metadata)
        if waiting:
            _say(f"{printable(self._options.command[0])} still runs; waiting for it to end.")


def _live_line() -> "Live":
    from rich.console import Console
    from rich.live import Live

    live = Live("", console=Console(stderr=True, highlight=False), auto_refresh=False, transient=True)
    live.start()
    return live


def _say_what_was_recorded(output: Path, metadata: Metadata) -> None:
    events = sum(count.written for count in metadata.counters.values())
    families = ", ".join(f"{name} {format_count(count.written)}" for name, count in metadata.counters.items())
    _say(f"recorded {format_count(events)} events in {format_ns(metadata.duration_ns)}: {families}.")
    for family, count in metadata.counters.items():
        if count.lost:
            _say(f"WARNING: {format_count(count.lost)} {family} events were lost ({_reasons(count)}).")
    size = format_bytes(output.stat().st_size)
    _say(f"wrote {printable(str(output))} ({size}). Next: tracekit report {printable(str(output))}")


def _reasons(count: Counters) -> str:
    reasons = {
        "the ring was full": count.lost_ring_full,
        "too many calls at once": count.lost_state_full,
        "a probe interrupted itself": count.lost_not_run,
    }
    return ", ".join(f"{reason}: {format_count(lost)}" for reason, lost in reasons.items() if lost)


def _say(text: str) -> None:
    # The terminal may be gone; the recording is worth more than what is said of it.
    with contextlib.suppress(OSError):
        click.echo(f"tracekit: {text}", err=True)
