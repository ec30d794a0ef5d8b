"""The journal: what a recording writes while it runs, so that nothing is lost with a killed recorder.

A hidden folder beside the output. It is filled a segment at a time, each a minute of the recording and complete in
itself: an Arrow IPC stream for each family, and an account, the file that says what of those streams is whole. The
account's first line is the footer as it was when the segment began; then comes a line at every flush with the clocks,
the counters, and length and checksum of each stream so far. Each line begins with its own checksum. What a killed
recorder, a power cut or a bad disk has left that no line vouches for is not read.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import threading
import zlib
from pathlib import Path

import pyarrow as pa

from tracekit.errors import TracekitError, UsageError
from tracekit.files import JOURNAL_LOCK, is_being_recorded, journal_path, remove_folder, sync_folder
from tracekit.metadata import Anchor, Counters, Metadata
from tracekit.schema import FAMILIES, family_schema

#: The stream of the processes that ran already when a segment began.
RUNNING = "running"
SCHEMAS = {family: family_schema(family) for family in FAMILIES} | {RUNNING: family_schema("process")}

#: The clocks and the counters as they were at one moment.
Progress = tuple[Anchor, dict[str, Counters]]

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_BATCH_ROWS = 1 << 16
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def open_folder(path: Path) -> int:
    """A descriptor of the journal's folder; whatever is opened in it is opened by that, wherever the name leads then.

    Raises:
        UsageError: something else has the journal's name, or it is another user's.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise UsageError(f"there is no unfinished recording at {path}") from None
    except PermissionError:
        raise UsageError(f"the recording at {path} is another user's: recover it as that user, or with sudo") from None
    except OSError:
        raise UsageError(f"{path} is not the journal of a recording: remove it, or choose another output") from None
    if os.fstat(descriptor).st_uid not in _our_users():
        os.close(descriptor)
        raise UsageError(f"{path} is another user's: recover it as that user, or choose another output")
    return descriptor


def _our_users() -> set[int]:
    """Whose files this process trusts: its user's, and those of the user who called sudo."""
    caller = os.environ.get("SUDO_UID", "") if os.geteuid() == 0 else ""
    return {os.geteuid(), *([int(caller)] if caller.isdecimal() else [])}


def take_lock(folder: int, path: Path) -> int:
    """Take the journal for this process, until the descriptor is closed.

    Raises:
        UsageError: another process has it.
    """
    descriptor = os.open(JOURNAL_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UsageError(f"{path} belongs to a recording that still runs: wait for it, or stop it") from None
    return descriptor


def moved(folder: Path) -> TracekitError:
    """The error of a journal that is no longer where it was."""
    return TracekitError(
        f"recording ended early: the folder {folder} was moved or deleted; where it is now, 'tracekit recover' "
        "finds what was recorded"
    )


def check_leftover(output: Path, force: bool) -> None:
    """Refuse to record over an unfinished recording.

    Raises:
        UsageError: there is one, and `force` is not given; or something else has its name.
    """
    path = journal_path(output)
    if not os.path.lexists(path):
        return
    folder = open_folder(path)
    os.close(folder)
    if is_being_recorded(output):
        raise UsageError(
            f"{path} belongs to a recording that still runs: wait for it, or choose another output with -o"
        )
    if not force:
        raise UsageError(
            f"an unfinished recording of {output} is there: finish it with 'tracekit recover {output}', "
            "or throw it away with --force"
        )


@dataclasses.dataclass(frozen=True)
class Keep:
    """What a flight recorder keeps: so long back, and at most so much."""

    last_ns: int
    max_bytes: int | None


class _Stream:
    """One family's IPC stream of one segment: a file that keeps account of what went into it."""

    closed = False

    def __init__(self, folder: int, name: str, schema: pa.Schema) -> None:
        self.size = self.checksum = 0
        self._descriptor = os.open(name, _CREATE, 0o600, dir_fd=folder)
        self._file = os.fdopen(self._descriptor, "wb")
        self._writer = pa.ipc.new_stream(pa.PythonFile(self, "w"), schema, options=_OPTIONS)

    def write(self, data: bytes) -> int:
        """For Arrow: the next bytes of the stream."""
        self._file.write(data)
        self.checksum = zlib.crc32(data, self.checksum)
        self.size += len(data)
        return len(data)

    def append(self, batches: list[pa.RecordBatch]) -> None:
        """Write rows, through to the kernel."""
        for batch in pa.Table.from_batches(batches).unify_dictionaries().combine_chunks().to_batches():
            self._writer.write_batch(batch)
        self._file.flush()

    def flush(self) -> None:
        """For Arrow; the rows are flushed by `append`."""

    def sync(self) -> None:
        """Make what was written survive a power cut."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Let go of the file; it needs no end mark, since the account tells where it ends."""
        with contextlib.suppress(OSError):
            self._file.close()


class _SegmentWriter:
    """One segment being filled."""

    def __init__(self, folder: int, number: int, start: Metadata) -> None:
        self.number = number
        self.began_ns = start.clock.anchors[0].boot_ns
        self._folder = folder
        self._streams: dict[str, _Stream] = {}
        self._account_size = 0
        self._account = os.open(f"{number:08}.account", _CREATE, 0o600, dir_fd=folder)
        self._say(start.to_json())

    def _say(self, text: str) -> None:
        raw = text.encode()
        line = b"%08x %s\n" % (zlib.crc32(raw), raw)
        while line:
            written = os.write(self._account, line)
            self._account_size += written
            line = line[written:]

    def append(self, name: str, batches: list[pa.RecordBatch]) -> None:
        """Write rows of one stream."""
        if name not in self._streams:
            self._streams[name] = _Stream(self._folder, file_name(self.number, name), SCHEMAS[name])
        self._streams[name].append(batches)

    def vouch(self, anchor: Anchor, counters: dict[str, Counters]) -> None:
        """Say that what was appended is whole, and belongs to these clocks and counters."""
        line = dataclasses.asdict(anchor) | {
            "counters": {family: dataclasses.asdict(values) for family, values in counters.items()},
            "streams": {name: [stream.size, stream.checksum] for name, stream in self._streams.items()},
        }
        self._say(json.dumps(line, separators=(",", ":")))

    def size(self) -> int:
        """Bytes written."""
        return self._account_size + sum(stream.size for stream in self._streams.values())

    def events_size(self) -> int:
        """Bytes written, without the list of what ran already."""
        running = self._streams.get(RUNNING)
        return self.size() - (running.size if running is not None else 0)

    def sync(self) -> None:
        """Make what was written survive a power cut."""
        for stream in list(self._streams.values()):
            stream.sync()
        os.fdatasync(self._account)

    def close(self) -> None:
        """Let go of the files."""
        for stream in self._streams.values():
            stream.close()
        os.close(self._account)


class JournalWriter:
    """Creates and fills the journal of one recording.

    Args:
        output: the trace that it will become.
        metadata: the footer as far as it is known, with one clock anchor.
        force: whether an unfinished recording that lies there may be thrown away.

    Attributes:
        held: nothing is forgotten now, since somebody reads it.

    Raises:
        UsageError: there is an unfinished recording, or one that still runs.
        OSError: the folder cannot be made.
    """

    def __init__(self, output: Path, metadata: Metadata, force: bool) -> None:
        self.path = journal_path(output)
        self._start = metadata
        check_leftover(output, force)
        if os.path.lexists(self.path):
            self._throw_away_old()
        self._pending: dict[str, list[pa.RecordBatch]] = {name: [] for name in (RUNNING, *FAMILIES)}
        self._older: list[tuple[int, int, int]] = []  # of each its number, size, and when it ended
        self._retired: list[_SegmentWriter] = []  # those of them that are still to be synced and closed
        self._forgotten_bytes = 0
        self.held = False
        self._named = False  # whether the folder's name would survive a power cut
        self._syncing = threading.Lock()
        self._folder = self._lock = -1
        self.path.mkdir(mode=0o700)
        try:
            self._folder = open_folder(self.path)
            if os.fstat(self._folder).st_uid != os.geteuid():
                raise UsageError(f"another user has replaced {self.path}: choose another output with -o")
            self._lock = take_lock(self._folder, self.path)
            self._segment = _SegmentWriter(self._folder, 0, metadata)
        except BaseException:
            is_ours = self._lock >= 0
            self._release()
            if is_ours:
                shutil.rmtree(self.path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    self.path.rmdir()
            raise

    def _throw_away_old(self) -> None:
        folder = open_folder(self.path)
        try:
            lock = take_lock(folder, self.path)
            try:
                remove_folder(self.path)
            finally:
                os.close(lock)
        finally:
            os.close(folder)

    def append(self, name: str, rows: pa.RecordBatch) -> None:
        """Add rows of a family, or of `RUNNING`; they are written once they are many, or at the next flush."""
        if not rows.num_rows:
            return
        pending = self._pending[name]
        pending.append(rows)
        if sum(batch.num_rows for batch in pending) >= _BATCH_ROWS:
            self._write(name)

    def _write(self, name: str) -> None:
        self._segment.append(name, self._pending[name])
        self._pending[name].clear()

    def flush(self, anchor: Anchor, counters: dict[str, Counters]) -> None:
        """Write what was appended, then the clocks and the counters that go with it.

        Raises:
            OSError: the disk is full, or the folder was deleted.
        """
        for name, batches in self._pending.items():
            if batches:
                self._write(name)
        self._segment.vouch(anchor, counters)
        if not self._is_in_its_place():
            raise moved(self.path.absolute().parent)

    def _is_in_its_place(self) -> bool:
        try:
            return os.path.samestat(os.lstat(self.path), os.fstat(self._folder))
        except OSError:
            return False

    def begin_segment(self, anchor: Anchor, counters: dict[str, Counters], keep: Keep | None = None) -> None:
        """Go on in a new segment; what was appended must have been flushed.

        Args:
            anchor: the clocks now.
            counters: as they are now.
            keep: how much of what is older is kept; None: all.
        """
        old = self._segment
        clock = dataclasses.replace(self._start.clock, anchors=(anchor,))
        start = dataclasses.replace(self._start, clock=clock, counters=counters)
        self._segment = _SegmentWriter(self._folder, old.number + 1, start)
        self._older.append((old.number, old.size(), anchor.boot_ns))
        self._retired.append(old)
        while self._older and keep is not None and self._may_forget(anchor.boot_ns, keep):
            number, size, _ = self._older.pop(0)
            self._forgotten_bytes += size
            # The account first: a segment without one is passed over.
            for name in (f"{number:08}.account", *(file_name(number, stream) for stream in SCHEMAS)):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self._folder)
        self._close_forgotten()

    def _close_forgotten(self) -> None:
        """What is gone needs no sync; a sync that is at work closes all that is left."""
        if self._syncing.acquire(blocking=False):
            oldest = min((number for number, _, _ in self._older), default=self._segment.number)
            for gone in [segment for segment in self._retired if segment.number < oldest]:
                self._retired.remove(gone)
                gone.close()
            self._syncing.release()

    def _may_forget(self, now_ns: int, keep: Keep) -> bool:
        """Whether the oldest segment lies behind what is kept, or takes too much room."""
        if self.held:
            return False
        return self._older[0][2] <= now_ns - keep.last_ns or (
            keep.max_bytes is not None and self.size() > keep.max_bytes
        )

    @property
    def segment_began_ns(self) -> int:
        """When the segment that is being filled began."""
        return self._segment.began_ns

    def segment_size(self) -> int:
        """Bytes on disk of the events in the segment that is being filled."""
        return self._segment.events_size()

    def size(self) -> int:
        """Bytes on disk so far."""
        return self._segment.size() + sum(size for _, size, _ in self._older)

    def written(self) -> int:
        """Bytes written so far, with those of segments that are gone."""
        return self.size() + self._forgotten_bytes

    def free_bytes(self) -> int:
        """Bytes that the disk has left for whoever writes the journal."""
        free = os.fstatvfs(self._folder)
        return free.f_bavail * free.f_frsize

    def sync(self) -> None:
        """Make what was flushed survive a power cut. May run beside `append` and `flush`, in another thread."""
        with self._syncing:
            self._segment.sync()
            os.fsync(self._folder)
            if not self._named:
                self._named = True
                sync_folder(self.path.absolute().parent)
            while self._retired:
                old = self._retired.pop()
                old.sync()
                old.close()

    def close(self) -> None:
        """Let go of the journal, which stays. May be called again."""
        if self._folder >= 0:
            for segment in (self._segment, *self._retired):
                segment.close()
            self._release()

    def discard(self) -> None:
        """Throw the journal away: nothing was recorded."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def _release(self) -> None:
        for descriptor in (self._lock, self._folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._lock = self._folder = -1


def file_name(segment: int, stream: str) -> str:
    return f"{segment:08}.{stream}.arrows"
