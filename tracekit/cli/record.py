"""`tracekit record`: options to one library call, and what a person sees meanwhile."""

import mmap
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import click

from tracekit.capture.agent import record as run
from tracekit.capture.backend import BACKENDS
from tracekit.capture.filters import Filters
from tracekit.capture.host import memory_bytes
from tracekit.capture.options import Control, Observer, Progress, RecordOptions
from tracekit.capture.probes import ring_bytes
from tracekit.cli import complete
from tracekit.cli.live import LiveLine, what_was_written
from tracekit.cli.options import Choice, families_option
from tracekit.errors import TracekitError, UsageError
from tracekit.metadata import Counters, Metadata
from tracekit.text import printable
from tracekit.units import (
    SECOND_NS,
    format_bytes,
    format_count,
    format_ns,
    format_share,
    format_span,
    parse_duration,
    parse_size,
)

_MEANING = {"process": "process starts and ends", "block": "block I/O", "open": "opens of files"}
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What its rows are besides events.
_ALSO = {"process": " (with a list of those that ran already)"}
_MOST_RING_BYTES = 1 << 30
_LEAST_BYTES = 1 << 20
_WARN_EVERY_S = 10
#: Among what click keeps of a call.
_DOUBTFUL = "tracekit.doubtful"


class _Record(click.Command):
    """Notices options of its own behind COMMAND, where they are COMMAND's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = list(args)
        rest = super().parse_args(ctx, args)
        command = ctx.params.get("command") or ()
        is_marked = given[-len(command) - 1 : -len(command)] == ["--"]
        mine = {name for parameter in self.params for name in parameter.opts}
        ctx.meta[_DOUBTFUL] = [] if is_marked else [word for word in command[1:] if word.partition("=")[0] in mine]
        return rest


@click.command(cls=_Record, context_settings={"allow_interspersed_args": False})
@click.option("-d", "--duration", metavar="TIME", help="How long: seconds, or 90s, 10m, 1h. Default: until Ctrl-C.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("trace.parquet"),
    show_default=True,
    help="The trace to write.",
)
@families_option("What to record")
@click.option("--pid", "pids", metavar="PID", type=click.IntRange(min=1), multiple=True, help="Only this process.")
@click.option(
    "--tree",
    "trees",
    metavar="PID",
    type=click.IntRange(min=1),
    multiple=True,
    help="Only this process, its descendants, and all that they start later.",
)
@click.option(
    "--comm", "comms", metavar="NAME", multiple=True, help="Only programs of this name, as ps -o comm has it."
)
@click.option("--uid", "uids", metavar="USER", multiple=True, help="Only processes of this user, by id or name.")
@click.option(
    "--cgroup",
    "cgroups",
    metavar="PATH",
    multiple=True,
    shell_complete=complete.folders,
    help="Only this control group and those below it: its folder (v1 or v2), or its path as a report shows it.",
)
@click.option(
    "--disk",
    "disks",
    metavar="NAME",
    multiple=True,
    shell_complete=complete.names(complete.disks_here),
    help="Of block I/O only that of this disk.",
)
@click.option("--system", is_flag=True, help="With COMMAND: record the whole machine, not only what COMMAND does.")
@click.option(
    "--max-events",
    metavar="N",
    type=click.IntRange(min=1),
    help="End with so many events, the list of what ran already not counted.",
)
@click.option(
    "--max-size",
    metavar="SIZE",
    help="End when the recording takes so much disk, 1M or more; looked at twice a second. The trace is smaller.",
)
@click.option(
    "--min-free",
    metavar="SIZE",
    default="100M",
    show_default=True,
    help="End while the disk will have so much left when the trace is written.",
)
@click.option(
    "--last",
    metavar="TIME",
    help="A flight recorder: keep only the last 10m, say, and forget what is older. With --max-size forget more.",
)
@click.option(
    "--ring-size",
    metavar="SIZE",
    help="Room for events between the kernel and tracekit, in each of five rings: against lost events. "
    "Rounded up to a power of two. Default: by the machine's memory and CPUs.",
)
@click.option(
    "--backend",
    type=Choice(BACKENDS),
    default="auto",
    show_default=True,
    help="How the probes get into the kernel: core needs BTF, bcc compiles here.",
)
@click.option("--force", is_flag=True, help="Overwrite the output, and drop an unfinished recording of it.")
@click.pass_context
@click.argument("command", nargs=-1, type=click.UNPROCESSED, shell_complete=complete.files)
def record(  # noqa: PLR0913 - an argument for each option
    context: click.Context,
    duration: str | None,
    output: Path,
    families: tuple[str, ...],
    pids: tuple[int, ...],
    trees: tuple[int, ...],
    comms: tuple[str, ...],
    uids: tuple[str, ...],
    cgroups: tuple[str, ...],
    disks: tuple[str, ...],
    system: bool,
    max_events: int | None,
    max_size: str | None,
    min_free: str,
    last: str | None,
    ring_size: str | None,
    backend: str,
    force: bool,
    command: tuple[str, ...],
) -> int:
    """Record what the kernel does into a trace: process starts and ends, block I/O, opens.

    The recording ends after the duration, at Ctrl-C, at a limit, or when COMMAND ends. With COMMAND only what that
    does is recorded, and what it starts. COMMAND runs as the same user as tracekit; if it outlives the recording it is
    waited for, and its exit code is returned. Options stand before COMMAND: all behind it is its own.
    A filter given several times wants any of its values; different filters must all be met. Block I/O counts for who
    submitted it, which for buffered writes is a thread of the kernel.

    The signal SIGUSR1 writes a trace of what there is so far, named by the time, without ending the recording.

    \b
    Examples:
      tracekit record -d 10m
      tracekit record -d 1h -o /var/tmp/night.parquet --events process,block
      tracekit record -o build.parquet -- make -j8
      tracekit record --cgroup /system.slice/postgresql.service --disk nvme0n1
      tracekit record --last 10m -o flight.parquet
    """
    if system and not command:
        raise UsageError("--system is for a COMMAND: without one the whole machine is recorded anyway")
    options = RecordOptions(
        output=output,
        families=families,
        filters=Filters(pids, trees, bool(command) and not system, comms, uids, cgroups, disks),
        duration_ns=None if duration is None else parse_duration(duration),
        max_events=max_events,
        max_bytes=None if max_size is None else _limit(max_size),
        min_free_bytes=parse_size(min_free),
        last_ns=None if last is None else parse_duration(last),
        backend=backend,
        force=force,
        command=command,
        ring_bytes=None if ring_size is None else _ring_bytes(ring_size),
        give_up_privileges=True,
    )
    control = Control()
    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP:  # nohup ignores it
            signal.signal(number, lambda received, _: control.stop(received))
    signal.signal(signal.SIGUSR1, lambda *_: control.copy())
    with LiveLine() as line:
        for option in context.meta[_DOUBTFUL][:1]:
            name = printable(command[0])
            line.say(
                f"note: {option} goes to {name}: options of tracekit stand before it. '-- {name}' says it is meant."
            )
        _, code = run(options, control, _Screen(options, line))
        if code:
            line.say(f"{printable(command[0])} ended with exit code {code}, and tracekit ends with the same.")
    for number in _ENDING:  # it has ended: one more Ctrl-C should not make it look as if it had failed
        signal.signal(number, signal.SIG_IGN)
    return code


def _limit(text: str) -> int:
    size = parse_size(text)
    if size < _LEAST_BYTES:
        raise UsageError(f"--max-size {text} makes no sense: give {format_bytes(_LEAST_BYTES)} or more")
    return size


def _ring_bytes(text: str) -> int:
    """A size that the kernel takes for a ring: a power of two, and whole pages."""
    size = parse_size(text)
    if not mmap.PAGESIZE <= size <= _MOST_RING_BYTES:
        least, most = format_bytes(mmap.PAGESIZE), format_bytes(_MOST_RING_BYTES)
        raise UsageError(f"a ring of {text} makes no sense: give a size from {least} to {most}")
    return 1 << (size - 1).bit_length()


class _Screen(Observer):
    """What a person sees while it records: on a terminal one line that lives, else only how it began and ended."""

    def __init__(self, options: RecordOptions, line: LiveLine) -> None:
        self._options, self._line = options, line
        self._bytes_on_disk = 0
        self._lost: dict[str, int] = {}
        self._warned_s = -float(_WARN_EVERY_S)

    def started(self, backend: str, notes: tuple[str, ...]) -> None:
        """The probes run."""
        options = self._options
        what = [_MEANING[family] for family in options.families]
        listed = " and ".join(filter(None, [", ".join(what[:-1]), what[-1]]))
        if options.filters.disks:
            listed = listed.replace("block I/O", f"block I/O of {' or '.join(map(printable, options.filters.disks))}")
        limit = "" if options.duration_ns is None else f" for {format_span(options.duration_ns)}"
        command = f" while {printable(options.command[0])} runs" if options.command else ""
        kept = "what is recorded" if options.last_ns is None else f"the last {format_span(options.last_ns)}"
        self._line.say(
            f"recording {listed}{_of_whom(options.filters)}{limit}{command} ({backend} loader). "
            f"Ctrl-C ends it and keeps {kept}."
        )
        if options.last_ns is not None:
            self._line.say(f"'kill -USR1 {os.getpid()}' writes a trace of that and goes on.")
        for note in notes:
            self.noted(note)
        self._line.begin()

    def noted(self, note: str) -> None:
        """Something that the user should know."""
        self._line.say(f"note: {note}")

    def progressed(self, progress: Progress) -> None:
        """Another half second has passed."""
        self._bytes_on_disk = progress.bytes_on_disk
        self._warn_of_losses(progress)
        if not self._line.lives:
            return
        limit_ns = self._options.duration_ns
        seconds = max((progress.elapsed_ns if limit_ns is None else limit_ns - progress.elapsed_ns) // SECOND_NS, 0)
        clock = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        families = "  ".join(f"{name} {format_count(count.written)}" for name, count in progress.counters.items())
        lost = sum(count.lost for count in progress.counters.values())
        passed = clock if limit_ns is None else f"{clock} left"
        self._line.show(f"{passed}  {families}  lost {format_count(lost)}  {format_bytes(progress.bytes_on_disk)}")

    def _warn_of_losses(self, progress: Progress) -> None:
        """Say that events are being lost, when it begins and every ten seconds while it goes on."""
        if time.monotonic() - self._warned_s < _WARN_EVERY_S:
            return
        for family, count in progress.counters.items():
            lost = count.lost - self._lost.get(family, 0)
            if lost > 0:
                self._warned_s = time.monotonic()
                self._lost[family] = count.lost
                advice = _against(count, max(4 * progress.ring_bytes[family], self._usual_ring_bytes()))
                self._line.say(
                    f"WARNING: {format_count(count.lost)} {family} events were lost so far: {_reasons(count)}{advice}"
                )

    def _usual_ring_bytes(self) -> int:
        """Size of the largest ring by default."""
        return max(ring_bytes(self._options.families, memory_bytes(), os.cpu_count() or 1).values())

    def ended(self, reason: str | None, counters: dict[str, Counters]) -> None:
        """The recording is over."""
        if reason is not None:
            self._line.say(f"ending, since {_LIMITS[reason](self._options, self._bytes_on_disk)}.")
        whom = _of_whom(self._options.filters)
        if whom and all(count.written == count.lost == 0 for count in counters.values()):
            seen = sum(count.seen for count in counters.values())
            what = f"{format_count(seen)} events were seen, but none" if seen else "no events were seen"
            self._line.say(f"WARNING: {what}{whom}.")

    def writing(self, share: float) -> None:
        """So much of the trace is written."""
        self._line.show_share(f"writing {printable(self._options.output.name)}", share)

    def written(self, path: Path, metadata: Metadata) -> None:
        """A trace is there."""
        if path == self._options.output:
            self._line.end()
        for line in _what_was_recorded(path, metadata):
            self._line.say(line)

    def not_written(self, error: TracekitError) -> None:
        """A trace on the way could not be written."""
        self._line.say(f"{printable(str(error))}.")

    def waiting(self) -> None:
        """The command still runs."""
        self._line.say(f"{printable(self._options.command[0])} still runs; waiting for it to end.")


_LIMITS: dict[str, Callable[[RecordOptions, int], str]] = {
    "--max-events": lambda options, _: f"it has {format_count(options.max_events)} events (--max-events)",
    "--max-size": lambda options, taken: (
        f"it takes {format_bytes(taken)} of disk (--max-size {format_bytes(options.max_bytes)})"
    ),
    "--min-free": lambda options, _: f"the disk must keep {format_bytes(options.min_free_bytes)} free (--min-free)",
}


def _of_whom(filters: Filters) -> str:
    """The filters for processes, for a person."""
    parts = [
        f"{name} {' or '.join(printable(str(value)) for value in values)}"
        for name, values in filters.footer().items()
        if name not in ("command", "disk")
    ]
    return f" of {' and '.join(parts)}" if parts else ""


def _what_was_recorded(path: Path, metadata: Metadata) -> list[str]:
    events = sum(count.written for count in metadata.counters.values())
    families = ", ".join(
        f"{name} {format_count(count.written)}{_ALSO.get(name, '')}" for name, count in metadata.counters.items()
    )
    return [
        f"recorded {format_count(events)} events in {format_ns(metadata.duration_ns)}: {families}.",
        *(
            f"WARNING: {format_count(count.lost)} {family} events ({format_share(count.lost / count.seen)}) were lost: "
            f"{_reasons(count)}{'; see --ring-size' if count.lost_ring_full else ''}."
            for family, count in metadata.counters.items()
            if count.lost
        ),
        what_was_written(path),
    ]


def _reasons(count: Counters) -> str:
    reasons = {
        "the ring was full": count.lost_ring_full,
        "too many threads or requests at once": count.lost_state_full,
        "a probe interrupted itself": count.lost_not_run,
        "the journal was damaged": count.lost_damaged,
    }
    found = {reason: lost for reason, lost in reasons.items() if lost}
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{reason} ({format_count(lost)})" for reason, lost in found.items())


def _against(count: Counters, larger_bytes: int) -> str:
    """What helps against a loss that goes on."""
    if not count.lost_ring_full:
        return "."
    larger = format_bytes(min(larger_bytes, _MOST_RING_BYTES)).replace(".0 ", "").replace("iB", "")
    return f". A larger ring helps (--ring-size {larger}), or recording less (--events, --comm, --cgroup and others)."
