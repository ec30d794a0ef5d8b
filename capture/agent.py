"""The capture agent: attaches the probes, drains their rings into the journal, and writes the trace at the end."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from tracekit import __version__
from tracekit.capture import host
from tracekit.capture.backend import attach, check_backend
from tracekit.capture.finish import write_trace
from tracekit.capture.journal import JournalReader, JournalWriter, check_leftover
from tracekit.capture.loading import find_out
from tracekit.capture.session import Session
from tracekit.errors import TracekitError, UsageError
from tracekit.metadata import Anchor, Clock, Counters, Metadata
from tracekit.schema import RECORDED_FAMILIES
from tracekit.text import decode
from tracekit.trace import journal_path
from tracekit.units import SECOND_NS
from tracekit.writer import check_output

# How long a command may go on after it was asked to end.
_GRACE_NS = 5 * SECOND_NS
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True)
class RecordOptions:
    """What to record.

    Attributes:
        output: the trace to write.
        families: of `process`, `block` and `open` those that are wanted.
        duration_ns: how long; None: until stopped, or until the command ends.
        backend: `auto`, `core` or `bcc`.
        force: overwrite the output, and throw away an unfinished recording of it.
        command: program and arguments to run and record; empty for none.
        ring_bytes: size of each ring, a power of two and whole pages; None: as fits the family.
    """

    output: Path
    families: tuple[str, ...] = RECORDED_FAMILIES
    duration_ns: int | None = None
    backend: str = "auto"
    force: bool = False
    command: tuple[str, ...] = ()
    ring_bytes: int | None = None


@dataclass(frozen=True)
class Progress:
    """How a recording is getting on.

    Attributes:
        elapsed_ns: since it began.
        counters: of each family, so far.
        bytes_on_disk: size of the journal.
    """

    elapsed_ns: int
    counters: dict[str, Counters]
    bytes_on_disk: int


@dataclass(frozen=True)
class Summary:
    """What was recorded.

    Attributes:
        metadata: the footer of the trace.
        exit_code: of the command: 0 if there was none, 128 + n if signal n ended it.
    """

    metadata: Metadata
    exit_code: int


@dataclass
class Stop:
    """Asks a recording to end, from a signal handler or another thread.

    Attributes:
        times: how often it was asked.
        number: of the signal that asked for it last.
    """

    times: int = 0
    number: int = 0

    def request(self, number: int = signal.SIGTERM) -> None:
        """End the recording soon; asked again, do not wait for the command."""
        self.times += 1
        self.number = number


def record(
    options: RecordOptions,
    stop: Stop,
    on_start: Callable[[str, tuple[str, ...]], None] = lambda backend, notes: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_written: Callable[[Metadata, bool], None] = lambda metadata, waiting: None,
) -> Summary:
    """Record kernel events into a trace.

    Args:
        options: what to record.
        stop: ends the recording before its time; the trace is whole all the same.
        on_start: called when the probes run, with the loader's name and what the recording lacks.
        on_progress: called once a second.
        on_written: called when the trace is there, with its footer and whether the command still runs.

    Raises:
        UsageError: the options make no sense, or the output is there already; nothing has been attached.
        UnsupportedError: this machine cannot record.
        TracekitError: the journal or the trace cannot be written; what the journal holds can be recovered.
    """
    _check(options)
    facts = find_out(options.families)
    attached, notes = attach(options.backend, options.families, facts, options.ring_bytes)
    try:
        began = host.anchor()
        running = host.running_processes(began.boot_ns)
        journal = _journal(options, attached.backend, began)
        try:
            with Session(attached, facts, journal, began.boot_ns, running) as session:
                on_start(attached.backend, notes)
                command = _start(options.command, journal)
                try:
                    _run(session, began.boot_ns, options.duration_ns, command, stop, on_progress)
                except BaseException:
                    command.end()
                    raise
        except OSError as error:
            raise _interrupted(options.output, error) from error
        finally:
            journal.close()
    finally:
        attached.close()
    metadata = _finish(options)
    on_written(metadata, command.runs())
    return Summary(metadata, command.wait(stop))


def _journal(options: RecordOptions, backend: str, began: Anchor) -> JournalWriter:
    metadata = Metadata(
        tool_version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        duration_ns=0,
        backend=backend,
        events=options.families,
        clock=Clock(resolution_ns=host.clock_resolution_ns(), anchors=(began,)),
        disks=host.disks(),
        command=tuple(decode(os.fsencode(argument)) for argument in options.command) or None,
        **host.facts(),
    )
    try:
        return JournalWriter(options.output, metadata, options.force)
    except OSError as error:
        raise TracekitError(
            f"the journal {journal_path(options.output)} cannot be made: {error.strerror}; "
            "choose another output with -o"
        ) from None


def _finish(options: RecordOptions) -> Metadata:
    """Journal to trace."""
    reader = JournalReader(journal_path(options.output))
    try:
        return write_trace(reader, options.output, complete=True, force=options.force)
    except (OSError, pa.ArrowException) as error:
        raise _interrupted(options.output, error) from error
    finally:
        reader.close()


def _interrupted(output: Path, error: Exception) -> TracekitError:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error).partition("\n")[0]
    return TracekitError(
        f"recording ended early: {reason}; what was recorded is kept in {journal_path(output)}: "
        f"when that is mended, type 'tracekit recover {output}'"
    )


def _check(options: RecordOptions) -> None:
    """Everything that can be known to be wrong before anything is attached."""
    check_backend(options.backend)
    for family in options.families:
        if family not in RECORDED_FAMILIES:
            raise UsageError(f"there are no {family!r} events: there are {', '.join(RECORDED_FAMILIES)}")
    if not options.families:
        raise UsageError(f"no events to record: name some of {', '.join(RECORDED_FAMILIES)}")
    if options.command and shutil.which(options.command[0]) is None:
        raise UsageError(f"the command {options.command[0]!r} was not found, or cannot be executed")
    check_output(options.output, options.force)
    check_leftover(options.output, options.force)


def _run(
    session: Session,
    began_ns: int,
    duration_ns: int | None,
    command: "_Command",
    stop: Stop,
    on_progress: Callable[[Progress], None],
) -> None:
    """Drain until it is time to end."""
    flushed_ns = began_ns
    end_ns = None if duration_ns is None else began_ns + duration_ns
    while not command.ended():
        now_ns = host.boot_ns()
        if stop.times > command.asked:
            command.ask(stop.number)
            end_ns = now_ns + (_GRACE_NS if command.runs() and command.asked == 1 else 0)
        if end_ns is not None and now_ns >= end_ns:
            break
        session.wait(None if end_ns is None else end_ns - now_ns)
        session.drain()
        if now_ns - flushed_ns >= SECOND_NS:
            flushed_ns = now_ns
            session.flush()
            on_progress(Progress(now_ns - began_ns, session.counters(), session.journal.size()))
    session.end()


def _start(arguments: tuple[str, ...], journal: JournalWriter) -> "_Command":
    try:
        return _Command(arguments)
    except OSError as error:
        journal.discard()
        raise UsageError(f"the command {arguments[0]!r} cannot be executed: {error.strerror}") from None


class _Command:
    """The command that is recorded, if there is one."""

    def __init__(self, arguments: tuple[str, ...]) -> None:
        # Looked up here, so that the trace does not begin with failing execs all along PATH.
        self._process = subprocess.Popen(arguments, executable=shutil.which(arguments[0])) if arguments else None
        self.asked = 0

    def runs(self) -> bool:
        """Whether there is a command and it has not ended."""
        return self._process is not None and self._process.poll() is None

    def ended(self) -> bool:
        """Whether there was a command and it has ended."""
        return self._process is not None and self._process.poll() is not None

    def ask(self, number: int) -> None:
        """Ask it to end: first as we were asked, then more firmly. An interrupt from the keyboard reaches it anyway."""
        self.asked += 1
        firmer = {1: number, 2: signal.SIGTERM}.get(self.asked, signal.SIGKILL)
        if self._process is not None and firmer != signal.SIGINT:
            self._process.send_signal(firmer)

    def end(self) -> None:
        """End it: the recording has failed."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_GRACE_NS / SECOND_NS)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def wait(self, stop: Stop) -> int:
        """Wait for its end, and pass on each further wish to stop. A recording for a limited time leaves it alone.

        Returns:
            Its exit code as a shell tells it; 0 if there is no command.
        """
        if self._process is None:
            return 0
        while self.runs():
            if stop.times > self.asked:
                self.ask(stop.number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LOOK_EVERY_S)
        code = self._process.returncode
        return code if code >= 0 else 128 - code
