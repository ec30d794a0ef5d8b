"""The journal: what a recording writes while it runs, so that nothing is lost with a killed recorder.

A folder beside the output: an Arrow IPC stream for each family, of which every whole batch can be read however it ends;
the footer as it was at the start; and a line a second with the clocks and the counters.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from tracekit.errors import TraceError, UsageError
from tracekit.metadata import Anchor, Counters, Metadata
from tracekit.schema import FAMILIES, family_schema
from tracekit.trace import journal_path

#: The clocks and the counters as they were at one moment.
Progress = tuple[Anchor, dict[str, Counters]]

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")
_START, _PROGRESS, _LOCK = "start.json", "progress.jsonl", "lock"


def _lock(folder: Path) -> int:
    """Take the journal for this process, until the descriptor is closed.

    Raises:
        UsageError: another process has it.
    """
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UsageError(f"{folder} belongs to a recording that still runs: wait for it, or stop it") from None
    return descriptor


class JournalWriter:
    """Creates and fills the journal of one recording.

    Args:
        output: the trace that it will become.
        metadata: the footer as far as it is known.
        force: whether an unfinished recording that lies there may be thrown away.

    Raises:
        UsageError: there is an unfinished recording, or one that still runs.
        OSError: the folder cannot be made.
    """

    def __init__(self, output: Path, metadata: Metadata, force: bool) -> None:
        self.path = journal_path(output)
        check_leftover(output, force)
        if self.path.exists():
            os.close(_lock(self.path))
            shutil.rmtree(self.path)
        self._streams: dict[str, tuple[Any, pa.RecordBatchStreamWriter]] = {}
        self._pending: dict[str, list[pa.RecordBatch]] = {family: [] for family in FAMILIES}
        self.path.mkdir(mode=0o700)
        self._lock = -1
        try:
            self._lock = _lock(self.path)
            (self.path / _START).write_text(metadata.to_json(), encoding="utf-8")
            self._progress = (self.path / _PROGRESS).open("w", encoding="utf-8")
        except BaseException:
            self._unlock()
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def append(self, family: str, rows: pa.RecordBatch) -> None:
        """Add rows; they are written at the next flush."""
        self._pending[family].append(rows)

    def flush(self, anchor: Anchor, counters: dict[str, Counters]) -> None:
        """Write what was appended, then the clocks and the counters that go with it."""
        for family, batches in self._pending.items():
            if batches:
                self._write(family, batches)
                batches.clear()
        line = dataclasses.asdict(anchor) | {"counters": {k: dataclasses.asdict(v) for k, v in counters.items()}}
        self._progress.write(json.dumps(line) + "\n")
        self._progress.flush()

    def _write(self, family: str, batches: list[pa.RecordBatch]) -> None:
        if family not in self._streams:
            raw = (self.path / f"{family}.arrows").open("wb")
            self._streams[family] = raw, pa.ipc.new_stream(raw, family_schema(family), options=_OPTIONS)
        for batch in pa.Table.from_batches(batches).unify_dictionaries().combine_chunks().to_batches():
            self._streams[family][1].write_batch(batch)
        self._streams[family][0].flush()

    def size(self) -> int:
        """Bytes on disk so far."""
        return sum(entry.stat().st_size for entry in os.scandir(self.path))

    def sync(self) -> None:
        """Make what was flushed survive a power cut. May run beside `append` and `flush`, in another thread."""
        for raw, _ in list(self._streams.values()):
            os.fdatasync(raw.fileno())
        os.fdatasync(self._progress.fileno())

    def close(self) -> None:
        """Finish the streams; the journal stays. May be called again."""
        for raw, stream in self._streams.values():
            # On a full disk the end mark does not fit; the streams can be read without.
            with contextlib.suppress(OSError):
                stream.close()
            with contextlib.suppress(OSError):
                raw.close()
        self._streams.clear()
        with contextlib.suppress(OSError):
            self._progress.close()
        self._unlock()

    def discard(self) -> None:
        """Throw the journal away: nothing was recorded."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def check_leftover(output: Path, force: bool) -> None:
    """Refuse to record over an unfinished recording.

    Raises:
        UsageError: there is one, and `force` is not given.
    """
    if journal_path(output).exists() and not force:
        raise UsageError(
            f"an unfinished recording of {output} is there: finish it with 'tracekit recover {output}', "
            "or throw it away with --force"
        )


class JournalReader:
    """Reads the journal of a recording, finished or not.

    Args:
        path: the journal's folder.

    Raises:
        UsageError: there is no journal, or its recorder still runs.
        TraceError: the journal holds nothing that can be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / _START).is_file():
            raise UsageError(f"there is no unfinished recording at {path}")
        self._lock = _lock(path)
        try:
            self.start = Metadata.from_json((path / _START).read_bytes())
        except TraceError as error:
            self.close()
            raise TraceError(f"{path / _START} cannot be read: {error}") from error
        self.damaged: list[str] = []

    def progress(self) -> list[Progress]:
        """Clocks and counters as they were at each flush; a torn last line is passed over."""
        found = []
        for line in _lines(self.path / _PROGRESS):
            try:
                raw = json.loads(line)
                counters = {family: Counters(**values) for family, values in raw["counters"].items()}
                found.append((Anchor(raw["boot_ns"], raw["realtime_ns"]), counters))
            except (ValueError, KeyError, TypeError, AttributeError):
                self.damaged.append(f"a line of {_PROGRESS}")
        return found

    def batches(self, family: str) -> Iterator[pa.RecordBatch]:
        """Rows of one family, up to where its stream breaks off."""
        path = self.path / f"{family}.arrows"
        if not path.exists():
            return
        with path.open("rb") as raw:
            try:
                for batch in pa.ipc.open_stream(raw):
                    batch.validate(full=True)
                    yield batch
            except (OSError, pa.ArrowException):
                self.damaged.append(f"the end of {path.name}")

    def remove(self) -> None:
        """The journal has become a trace."""
        self.close()
        shutil.rmtree(self.path)

    def close(self) -> None:
        """Let others have the journal. May be called again."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
