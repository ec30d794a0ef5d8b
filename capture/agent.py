"""The capture agent: attaches the probes, drains their rings into the journal, and writes the trace at the end."""

import contextlib
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa

from tracekit import __version__
from tracekit.capture import host, kernel, privilege
from tracekit.capture.backend import attach, check_backend
from tracekit.capture.command import GRACE_NS, Command
from tracekit.capture.filters import Selection
from tracekit.capture.journal import JournalWriter, Keep, check_leftover, moved
from tracekit.capture.journal_reader import JournalReader
from tracekit.capture.loading import Attached, Plan, find_out
from tracekit.capture.options import Control, Observer, Progress, RecordOptions
from tracekit.capture.probes import check_families, open_calls, ring_bytes
from tracekit.capture.session import Session
from tracekit.errors import TracekitError, UsageError
from tracekit.files import check_output, copy_path, journal_path, remove_temporaries
from tracekit.metadata import Anchor, Clock, Metadata
from tracekit.text import decode
from tracekit.units import SECOND_NS, format_bytes

# A killed recorder has lost what came since the last flush, so a second must have two.
_FLUSH_EVERY_NS = SECOND_NS // 2
# Damage to the journal costs at most the rest of a segment.
_SEGMENT_NS = 60 * SECOND_NS
_SEGMENT_BYTES = 32 << 20
# A flight recorder holds so many segments at least, and one more: it forgets a segment at a time.
_SEGMENTS_HELD = 10


def record(
    options: RecordOptions, control: Control | None = None, observer: Observer | None = None
) -> tuple[Metadata, int]:
    """Record kernel events into a trace.

    Args:
        options: what to record.
        control: ends the recording before its time; the trace is whole all the same.
        observer: is told how it goes.

    Returns:
        The footer of the trace, and the exit code of the command: 0 if there was none, 128 + n if signal n ended it.

    Raises:
        UsageError: the options make no sense, or the output is there already; nothing has been attached.
        UnsupportedError: this machine cannot record.
        TracekitError: the journal or the trace cannot be written; what the journal holds can be recovered.
    """
    control, observer = control or Control(), observer or Observer()
    _check(options)
    with contextlib.ExitStack() as undo:
        with kernel.much_locked_memory():
            attached, notes, selection, operations = _attach(options, undo)
        began = host.anchor()
        journal = _journal(options, attached.backend, began)
        undo.callback(journal.close)
        try:
            with Session(attached, operations, journal, began.boot_ns, options.max_events) as session:
                observer.started(attached.backend, notes)
                with selection.starting_command():
                    command = _start(options.command, journal)
                try:
                    if options.give_up_privileges and not _give_up_privileges(options, attached):
                        observer.noted("the kernel does not let this process give up its privileges: it keeps them")
                    session.list_running(partial(selection.running, began.boot_ns))
                    _Recording(options, session, selection, command, control, observer).run()
                except BaseException:
                    command.end()
                    raise
        except TracekitError:
            raise
        except Exception as error:  # whatever it is: what was recorded is in the journal, and the user is told so
            raise _interrupted(options.output, error) from error
    metadata = _finish(options, observer)
    observer.written(options.output, metadata)
    if command.runs():
        observer.waiting()
    return metadata, command.wait(control)


def _attach(
    options: RecordOptions, undo: contextlib.ExitStack
) -> tuple[Attached, tuple[str, ...], Selection, dict[int, str]]:
    """Find out about the kernel, and attach; its type information, which is large, is gone afterwards."""
    facts = find_out((*options.families, "tree") if options.filters.want_trees else options.families)
    selection = Selection(options.filters, facts.btf)
    undo.callback(selection.close)
    plan = Plan(
        tuple(facts.probes),
        ring_bytes(options.families, host.memory_bytes(), os.cpu_count() or 1, options.ring_bytes),
        {"open_calls": open_calls(host.threads())},
        selection.config,
        selection.make_maps(),
    )
    attached, notes = attach(options.backend, facts, plan)
    undo.callback(attached.close)
    selection.follow()
    return attached, notes, selection, host.block_operations(facts.btf)


def _check(options: RecordOptions) -> None:
    """Everything that can be known to be wrong before anything is attached."""
    check_backend(options.backend)
    check_families(options.families)
    if options.filters.disks and "block" not in options.families:
        raise UsageError("a disk is chosen, but no block events are recorded")
    if options.command and shutil.which(options.command[0]) is None:
        raise UsageError(f"the command {options.command[0]!r} was not found, or cannot be executed")
    check_output(options.output, options.force)
    check_leftover(options.output, options.force)
    free_bytes = shutil.disk_usage(options.output.absolute().parent).free
    if free_bytes < options.min_free_bytes:
        raise UsageError(
            f"the disk of {options.output} has {format_bytes(free_bytes)} left, and "
            f"{format_bytes(options.min_free_bytes)} are to stay free: choose another output with -o"
        )


def _journal(options: RecordOptions, backend: str, began: Anchor) -> JournalWriter:
    metadata = Metadata(
        tool_version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        duration_ns=0,
        backend=backend,
        events=options.families,
        filters=options.filters.footer(),
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


def _start(arguments: tuple[str, ...], journal: JournalWriter) -> Command:
    try:
        return Command(arguments)
    except OSError as error:
        journal.discard()
        raise UsageError(f"the command {arguments[0]!r} cannot be executed: {error.strerror}") from None


def _give_up_privileges(options: RecordOptions, attached: Attached) -> bool:
    """What still needs a privilege: names of cgroups, and the trace, which may belong in the folder of another user."""
    keep = ["dac_read_search"]
    folder = options.output.absolute().parent.stat()
    if folder.st_uid != os.geteuid() or folder.st_mode & 0o300 != 0o300:
        keep += ["dac_override", "fowner"]
    if "SUDO_UID" in os.environ:
        keep += ["chown", "fowner"]
    if options.command:
        keep += ["kill"]
    program = next(iter(attached.programs.values()))[0]
    return privilege.give_up(keep, lambda: kernel.can_be_asked(program))


class _Recording:
    """The time between the first event and the last."""

    def __init__(
        self,
        options: RecordOptions,
        session: Session,
        selection: Selection,
        command: Command,
        control: Control,
        observer: Observer,
    ) -> None:
        self._options, self._session, self._selection = options, session, selection
        self._command, self._control, self._observer = command, control, observer
        self._began_ns = self._flushed_ns = session.began_ns
        self._end_ns = None if options.duration_ns is None else session.began_ns + options.duration_ns
        self._segment_ns = _SEGMENT_NS
        if options.last_ns is not None:
            self._segment_ns = min(_SEGMENT_NS, options.last_ns // _SEGMENTS_HELD)
        self._segment_bytes = _SEGMENT_BYTES
        if options.last_ns is not None and options.max_bytes is not None:
            self._segment_bytes = min(_SEGMENT_BYTES, options.max_bytes // _SEGMENTS_HELD)
        self._copies = 0
        self._copying: Future[Metadata] | None = None
        self._copy_path = options.output
        self._copier = ThreadPoolExecutor(1, "copy")

    def run(self) -> None:
        """Record, and write what is asked for on the way."""
        try:
            reason = self._record()
            self._session.end()
            self._observer.ended(reason, self._session.counters())
        finally:
            self._copier.shutdown()
            self._tell_of_copy()

    def _record(self) -> str | None:
        """Record until it is time to end; the limit that was reached, if one was."""
        reason = None
        while not (self._is_over() or reason):
            now_ns = host.boot_ns()
            self._session.wait(None if self._end_ns is None else self._end_ns - now_ns)
            due = now_ns - self._flushed_ns >= _FLUSH_EVERY_NS
            self._session.drain(everything=due or self._options.max_events is not None)
            if due:
                self._flushed_ns = now_ns
                self._flush(now_ns)
                reason = self._limit()
            if self._session.full:
                reason = "--max-events"
        return reason

    def _is_over(self) -> bool:
        if self._command.ended():
            return True
        now_ns = host.boot_ns()
        if self._control.stops > self._command.asked:
            self._command.ask(self._control.number)
            self._end_ns = now_ns + (GRACE_NS if self._command.runs() and self._command.asked == 1 else 0)
        return self._end_ns is not None and now_ns >= self._end_ns

    def _flush(self, now_ns: int) -> None:
        session, journal = self._session, self._session.journal
        session.flush()
        over = now_ns - journal.segment_began_ns >= self._segment_ns or journal.segment_size() >= self._segment_bytes
        if over and not session.lists:
            last_ns, max_bytes = self._options.last_ns, self._options.max_bytes
            keep = None if last_ns is None else Keep(last_ns, max_bytes)
            session.begin_segment(keep, self._selection.running)
        self._copy()
        self._observer.progressed(
            Progress(now_ns - self._began_ns, session.counters(), journal.size(), session.ring_bytes)
        )

    def _limit(self) -> str | None:
        """The limit of the disk that has been reached."""
        options, journal = self._options, self._session.journal
        if options.last_ns is None and options.max_bytes is not None and journal.size() >= options.max_bytes:
            return "--max-size"
        if options.min_free_bytes and journal.free_bytes() < options.min_free_bytes + journal.size():
            return "--min-free"
        return None

    def _copy(self) -> None:
        """If that is asked for, write a trace of what there is, in another thread; one at a time."""
        if self._copying is not None and self._copying.done():
            self._tell_of_copy()
        if self._copying is None and self._control.copies > self._copies:
            self._copies = self._control.copies
            self._copy_path = copy_path(self._options.output, datetime.now(UTC))
            self._copying = self._copier.submit(_write_copy, self._session.journal.path, self._copy_path)
        # What is being read is not forgotten.
        self._session.journal.held = self._copying is not None

    def _tell_of_copy(self) -> None:
        """Say what has become of it."""
        if self._copying is None:
            return
        copying, self._copying = self._copying, None
        try:
            metadata = copying.result()
        except TracekitError as error:
            self._observer.not_written(error)
        except Exception as error:  # a copy that fails is no reason to end the recording
            self._observer.not_written(TracekitError(f"{self._copy_path} cannot be written: {_reason(error)}"))
        else:
            self._observer.written(self._copy_path, metadata)


def _write_copy(journal: Path, path: Path) -> Metadata:
    """A trace of what a journal holds, while it is being filled."""
    from tracekit.capture.finish import write_trace

    reader = JournalReader(journal, beside_recorder=True)
    try:
        check_output(path)
        return write_trace(reader, path, complete=True)
    finally:
        reader.close()


def _finish(options: RecordOptions, observer: Observer) -> Metadata:
    """Journal to trace."""
    # Here, since it is what takes longest to import, and recording should begin at once.
    from tracekit.capture.finish import write_trace

    try:
        reader = JournalReader(journal_path(options.output))
        try:
            remove_temporaries(options.output)
            metadata = write_trace(
                reader, options.output, complete=True, force=options.force, on_progress=observer.writing
            )
            reader.remove()
        finally:
            reader.close()
    except TracekitError:
        raise
    except Exception as error:
        raise _interrupted(options.output, error) from error
    return metadata


def _interrupted(output: Path, error: Exception) -> TracekitError:
    if not os.path.lexists(journal_path(output)):
        return moved(output.absolute().parent)
    return TracekitError(
        f"recording ended early: {_reason(error)}; what was recorded is kept in {journal_path(output)}: "
        f"when that is mended, type 'tracekit recover {output}'"
    )


def _reason(error: Exception) -> str:
    """Why something failed, in one line."""
    if isinstance(error, OSError | pa.ArrowException):
        return (error.strerror if isinstance(error, OSError) else None) or str(error).partition("\n")[0]
    return f"internal error, {type(error).__name__}: {error}"
