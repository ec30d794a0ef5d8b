"""Reading a journal: what of it the accounts vouch for."""

import dataclasses
import json
import mmap
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from tracekit.capture.journal import RUNNING, SCHEMAS, Progress, file_name, open_folder, take_lock
from tracekit.errors import TraceError, first_line
from tracekit.files import remove_folder
from tracekit.metadata import Anchor, Counters, Metadata, build
from tracekit.schema import FAMILIES
from tracekit.units import SECOND_NS

#: A trace has its clocks so often.
ANCHOR_EVERY_NS = 60 * SECOND_NS
_ACCOUNT = re.compile(r"(\d{8})\.account")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


# Of a stream at a flush: its length, its checksum, and when that was.
_Mark = tuple[int, int, int]


def _are_known(counters: dict[str, Counters]) -> bool:
    return set(counters) <= set(FAMILIES)


class _SegmentReader:
    """One segment: of its streams what the account vouches for.

    Attributes:
        start: the footer as it was when the segment began; None: it cannot be read.
        progress: clocks and counters at the flushes.
        damaged: what could not be read, for a person.
        broken: of each stream that breaks off, the time of the last flush that is whole; 0: there is none.
    """

    def __init__(self, folder: int, number: int) -> None:
        self.number, self._folder = number, folder
        self.damaged: list[str] = []
        lines = self._account()
        try:
            start = Metadata.from_json(lines[0])
        except (TraceError, IndexError):
            start = None
        known = start is not None and start.clock.anchors and _are_known(start.counters)
        self.start: Metadata | None = start if known else None
        self.progress: list[Progress] = []
        marks: dict[str, list[_Mark]] = {name: [] for name in SCHEMAS}
        for line in lines[1:]:
            try:
                raw = json.loads(line)
                anchor, counters = build(Anchor, raw, "line"), build(dict[str, Counters], raw["counters"], "counters")
                streams = build(dict[str, tuple[int, ...]], raw["streams"], "streams")
                if not _are_known(counters):
                    raise KeyError(*counters)
                for name, (size, checksum) in streams.items():
                    marks[name].append((size, checksum, anchor.boot_ns))
                self._keep((anchor, counters))
            except (ValueError, KeyError, TypeError, RecursionError):
                self._complain("a line of the account")
        self.broken: dict[str, int] = {}
        self._good = {name: self._whole(name, marks[name]) for name in SCHEMAS if marks[name]}

    def _keep(self, line: Progress) -> None:
        """Of the clocks and counters one of each minute, and the last: days of them would fill the memory."""
        if len(self.progress) > 1 and self.progress[-1][0].boot_ns - self.progress[-2][0].boot_ns < ANCHOR_EVERY_NS:
            self.progress.pop()
        self.progress.append(line)

    def _complain(self, what: str) -> None:
        self.damaged.append(f"{what} in segment {self.number + 1}")

    def _account(self) -> list[bytes]:
        """The account's lines that agree with their checksums. The last is torn where the recorder was killed."""
        with os.fdopen(os.open(f"{self.number:08}.account", _READ, dir_fd=self._folder), "rb") as file:
            lines = file.read().split(b"\n")
        whole = [line[9:] if _is_whole(line) else None for line in lines[:-1]]
        if None in whole:
            self._complain("a line of the account")
        if whole and whole[0] is None:
            whole[0] = b""
        return [line for line in whole if line is not None]

    def _whole(self, name: str, marks: list[_Mark]) -> int:
        """Bytes of a stream up to the last place where length and checksum agree with the account."""
        good = checksum = since_ns = 0
        try:
            mapped: mmap.mmap | bytes = self._mapped(name)
        except (OSError, ValueError):  # not there, not a file, or empty
            mapped = b""
        with memoryview(mapped) as data:
            for size, expected, at_ns in marks:
                checksum = zlib.crc32(data[good:size], checksum)
                if not good <= size <= len(data) or checksum != expected:
                    self._complain(f"{name} events")
                    self.broken[name] = since_ns
                    break
                good, since_ns = size, at_ns
        return good

    def _mapped(self, name: str) -> mmap.mmap:
        """The file of a stream, mapped while it is used: there may be more than can be mapped at once."""
        descriptor = os.open(file_name(self.number, name), _READ, dir_fd=self._folder)
        try:
            return mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)

    def batches(self, name: str, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
        """Rows of one stream."""
        good = self._good.get(name, 0)
        if not good:
            return
        schema = SCHEMAS[name]
        included = None if columns is None else [schema.get_field_index(column) for column in columns]
        options = pa.ipc.IpcReadOptions(included_fields=included, use_threads=False)
        expected = schema if included is None else pa.schema([schema.field(place) for place in sorted(included)])
        try:
            mapped = self._mapped(name)
            with pa.ipc.open_stream(pa.py_buffer(mapped).slice(0, good), options=options) as reader:
                if reader.schema != expected:
                    raise pa.ArrowInvalid("other columns than a recorder writes")
                for batch in reader:
                    # The checksums vouch for what was written, not for who wrote it.
                    batch.validate(full=True)
                    if batch["ts_ns"].null_count or (columns is None and batch["event"].null_count):
                        raise pa.ArrowInvalid("an event without a time or a name")
                    yield batch
                    # What was read would otherwise stay in this process's memory until the whole file was.
                    mapped.madvise(mmap.MADV_DONTNEED)
        except MemoryError as error:
            raise TraceError(
                f"the journal's file {file_name(self.number, name)} takes more memory than there is"
            ) from error
        except (OSError, ValueError, pa.ArrowException) as error:
            raise TraceError(
                f"the journal's file {file_name(self.number, name)} is damaged, though its checksums are right: "
                f"{first_line(error)}"
            ) from error


def _is_whole(line: bytes) -> bool:
    return re.match(rb"[0-9a-f]{8} ", line) is not None and int(line[:8], 16) == zlib.crc32(line[9:])


class JournalReader:
    """Reads the journal of a recording, finished or not.

    Args:
        path: the journal's folder.
        beside_recorder: read what is there while this process goes on recording.

    Attributes:
        start: the footer as it was when the oldest segment began.
        damaged: what could not be read.
        lost: the same as rows of the family `lost`.
        goes_on: whether the recording does.

    Raises:
        UsageError: there is no journal, or its recorder still runs.
        TraceError: the journal holds nothing that can be used.
    """

    def __init__(self, path: Path, beside_recorder: bool = False) -> None:
        self.path = path
        self.goes_on = beside_recorder
        self._lock = -1
        self._folder = open_folder(path)
        try:
            if not beside_recorder:
                self._lock = take_lock(self._folder, path)
            with os.scandir(self._folder) as entries:
                numbers = sorted(int(found[1]) for entry in entries if (found := _ACCOUNT.fullmatch(entry.name)))
            segments = [_SegmentReader(self._folder, number) for number in numbers]
            self.damaged = [complaint for segment in segments for complaint in segment.damaged]
            self._segments = [segment for segment in segments if segment.progress]
            starts = [segment.start for segment in self._segments if segment.start is not None]
            if not starts:
                raise TraceError(
                    f"{path} breaks off before the first events, or is damaged from its beginning: nothing can be "
                    "recovered, so remove it"
                )
            self.start = self._segments[0].start or self._reconstructed(starts[0])
            self.lost = list(self._lost())
        except BaseException:
            self.close()
            raise

    def _reconstructed(self, later: Metadata) -> Metadata:
        """The first line of the oldest segment, when it cannot be read."""
        clock = dataclasses.replace(later.clock, anchors=(self._segments[0].progress[0][0],))
        return dataclasses.replace(later, clock=clock, counters={})

    def _lost(self) -> Iterator[dict[str, str | int]]:
        """Events that were counted, and are in no part of a stream that can be read."""
        before = (self.start.clock.anchors[0], self.start.counters)
        for segment, following in zip(self._segments, [*self._segments[1:], None], strict=True):
            start = following.start if following is not None else None
            after = segment.progress[-1] if start is None else (start.clock.anchors[0], start.counters)
            last = segment.progress[-1]
            for family, counts in after[1].items():
                vouched = last[1].get(family, Counters())
                if family not in segment.broken and counts.written == vouched.written:
                    continue
                rows = sum(batch.num_rows for batch in segment.batches(family, ["ts_ns"]))
                missing = counts.written - before[1].get(family, Counters()).written - rows
                if missing > 0:
                    since_ns = segment.broken.get(family, last[0].boot_ns) or before[0].boot_ns
                    window = {"start_ns": since_ns, "ts_ns": after[0].boot_ns}
                    yield {"event": "lost", "lost_family": family, "lost": missing, **window}
            before = after

    def progress(self) -> list[Progress]:
        """Clocks and counters as they were at each flush."""
        return [line for segment in self._segments for line in segment.progress]

    def batches(self, family: str, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Rows of one family, or some of their columns: before those of `process` the processes that ran already, and
        after those of `lost` what was lost with the journal.
        """
        if family == "process":
            yield from self._segments[0].batches(RUNNING, columns)
        for segment in self._segments:
            yield from segment.batches(family, columns)
        if family == "lost" and self.lost:
            yield pa.RecordBatch.from_pylist(self.lost, SCHEMAS["lost"]).select(columns or SCHEMAS["lost"].names)

    def running(self) -> int:
        """How many processes ran already when the oldest segment began."""
        return sum(batch.num_rows for batch in self._segments[0].batches(RUNNING, ["ts_ns"]))

    def remove(self) -> None:
        """The journal has become a trace."""
        remove_folder(self.path)
        self.close()

    def close(self) -> None:
        """Let others have the journal. May be called again."""
        for descriptor in (self._lock, self._folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._lock = self._folder = -1
