"""Reading a trace: metadata at once, events when they are asked for."""

import functools
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tracekit import bundle
from tracekit.errors import TraceError, UsageError
from tracekit.files import is_being_recorded, journal_path
from tracekit.metadata import Metadata
from tracekit.schema import ALL_EVENTS, FAMILY_OF, METADATA_KEY, SCHEMA

if TYPE_CHECKING:
    import pandas as pd

_MAGIC = b"PAR1"
_PIECE = 1 << 20


def open_trace(path: str | os.PathLike[str]) -> "Trace":
    """Open a recording.

    Args:
        path: the Parquet file that `tracekit record` wrote, or a bundle of `tracekit bundle`.

    Returns:
        A `Trace`. Only the footer has been read; events are read when asked for.

    Raises:
        UsageError: there is no such file.
        TraceError: the file is empty, no Parquet, cut off, no trace, damaged, of a higher format, or lacks a column.
    """
    return Trace(Path(path))


class Trace:
    """One recording, read lazily. Events are rows; `docs` and `tracekit.schema.COLUMNS` say what a column means.

    Attributes:
        path: the file.
        metadata: what the footer says: clock, counters, disks, whether the recording is complete.
        on_read: called, by whatever thread reads, with the number of rows each time that some were read.
    """

    on_read: Callable[[int], None]

    def __init__(self, path: Path) -> None:
        self.path = path
        self.on_read = lambda rows: None
        self._source, self._file = _open_parquet(path)
        raw = (self._file.metadata.metadata or {}).get(METADATA_KEY)
        if raw is None:
            raise TraceError(f"{path} is a Parquet file, but no trace: it has no tracekit metadata")
        try:
            self.metadata = Metadata.from_json(raw)
        except TraceError as error:
            raise TraceError(f"{path} cannot be read: {error}") from error
        self._check_columns()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path.resolve(),)

    @property
    def rows(self) -> int:
        """How many events there are, of all kinds."""
        return int(self._file.metadata.num_rows)

    def save(self, path: Path) -> None:
        """Write the file as it is to another place.

        Raises:
            OSError: it cannot be written.
        """
        with path.open("wb") as target:
            for start in range(0, self._source.size(), _PIECE):
                target.write(self._source.read_at(min(_PIECE, self._source.size() - start), start))

    def _check_columns(self) -> None:
        schema = self._file.schema_arrow
        for item in SCHEMA:
            if item.name not in schema.names:
                raise TraceError(
                    f"{self.path} lacks the column {item.name!r} of format {self.metadata.format}: it is damaged"
                )
            found = schema.field(item.name).type
            if _plain(found) != _plain(item.type):
                raise TraceError(f"{self.path} has {found} in the column {item.name!r} where {item.type} belongs")

    @functools.cached_property
    def counts(self) -> dict[str, int]:
        """Rows of each event that occurs, in the order of the format."""
        found: dict[str, int] = {}
        for batch in self.batches(columns=["event"]):
            for entry in pc.value_counts(batch.column("event")).to_pylist():
                found[entry["values"]] = found.get(entry["values"], 0) + entry["counts"]
        return {event: found.pop(event) for event in ALL_EVENTS if event in found} | found

    @functools.cached_property
    def start_ns(self) -> int:
        """Boot-clock time at which the recording began: its first anchor, else its first event."""
        anchors = self.metadata.clock.anchors
        if anchors:
            return anchors[0].boot_ns
        groups = [self._statistics(group, "ts_ns") for group in range(self._file.num_row_groups)]
        return min((int(statistics.min) for statistics in groups if statistics is not None), default=0)

    @property
    def end_ns(self) -> int:
        """Boot-clock time at which the recording ended."""
        return self.start_ns + self.metadata.duration_ns

    def batches(
        self,
        *events: str,
        columns: Sequence[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Events in file order (families one after another, each in time order), a piece at a time.

        Args:
            events: names of events, such as `exec`; none for all.
            columns: names of columns; all by default.
            start_ns: boot-clock time of the first event wanted.
            end_ns: boot-clock time before which the last event wanted lies.

        Yields:
            Record batches of at most one row group; row groups that hold nothing wanted are not read.

        Raises:
            UsageError: no such event or column.
            TraceError: the file is damaged.
        """
        wanted = list(SCHEMA.names) if columns is None else list(columns)
        for name in events:
            if name not in FAMILY_OF:
                raise UsageError(f"there is no event {name!r}: there are {', '.join(ALL_EVENTS)}")
        for name in wanted:
            if name not in SCHEMA.names:
                raise UsageError(f"there is no column {name!r}: there are {', '.join(SCHEMA.names)}")
        keys = [*(["event"] if events else []), *(["ts_ns"] if start_ns is not None or end_ns is not None else [])]
        read = list(dict.fromkeys([*wanted, *keys]))
        # A reader of its own: one reader must not be used by two threads at once.
        file = _reader(self._source, self._file.metadata)
        for group in self._groups(events, start_ns, end_ns):
            try:
                table = file.read_row_group(group, columns=read, use_threads=False)
            except (OSError, pa.ArrowException) as error:
                raise TraceError(f"{self.path} is damaged in row group {group}: {_first_line(error)}") from error
            self.on_read(len(table))
            table = _select(table, events, start_ns, end_ns).select(wanted)
            yield from table.unify_dictionaries().combine_chunks().to_batches()

    def verify(self) -> None:
        """Read all of it, and keep nothing.

        Raises:
            TraceError: a part is damaged.
        """
        for _ in self.batches():
            pass

    def table(
        self,
        *events: str,
        columns: Sequence[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> pa.Table:
        """The same as `batches`, as one Arrow table with one dictionary a column."""
        batches = list(self.batches(*events, columns=columns, start_ns=start_ns, end_ns=end_ns))
        if not batches:
            schema = pa.schema([SCHEMA.field(name) for name in (SCHEMA.names if columns is None else columns)])
            return pa.Table.from_batches([], schema)
        return pa.Table.from_batches(batches).unify_dictionaries()

    def pandas(
        self,
        *events: str,
        columns: Sequence[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> "pd.DataFrame":
        """The same as `table`, as a pandas frame; see `to_pandas`."""
        return to_pandas(self.table(*events, columns=columns, start_ns=start_ns, end_ns=end_ns))

    def rows_of(self, *events: str, start_ns: int | None = None, end_ns: int | None = None) -> int:
        """How many rows `batches` reads to find these: those of all row groups that may hold some."""
        groups = self._groups(events, start_ns, end_ns)
        return sum(self._file.metadata.row_group(group).num_rows for group in groups)

    def _groups(self, events: Sequence[str], start_ns: int | None, end_ns: int | None) -> list[int]:
        every = range(self._file.num_row_groups)
        return [group for group in every if self._may_hold(group, events, start_ns, end_ns)]

    def _may_hold(self, group: int, events: Sequence[str], start_ns: int | None, end_ns: int | None) -> bool:
        times, names = self._statistics(group, "ts_ns"), self._statistics(group, "event")
        if times is not None and start_ns is not None and times.max < start_ns:
            return False
        if times is not None and end_ns is not None and times.min >= end_ns:
            return False
        return not events or names is None or any(names.min <= name <= names.max for name in events)

    def _statistics(self, group: int, column: str) -> Any:
        """Least and greatest value of a column in a row group (`min`, `max`), or None where the file has none."""
        statistics = self._file.metadata.row_group(group).column(self._leaves[column]).statistics
        return statistics if statistics is not None and statistics.has_min_max else None

    @functools.cached_property
    def _leaves(self) -> dict[str, int]:
        # Parquet numbers leaves, Arrow columns: they differ once a later format nests something.
        schema = self._file.schema
        return {schema.column(index).path: index for index in range(len(schema))}

    def __repr__(self) -> str:
        return f"<Trace {self.path}: {self._file.metadata.num_rows:,} events>"


def to_pandas(table: pa.Table) -> "pd.DataFrame":
    """An Arrow table as a pandas frame; integers that can be null stay integers (`Int64` and its like)."""
    import pandas as pd

    kinds = {
        pa.int64(): pd.Int64Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.uint8(): pd.UInt8Dtype(),
        pa.uint16(): pd.UInt16Dtype(),
        pa.uint32(): pd.UInt32Dtype(),
        pa.uint64(): pd.UInt64Dtype(),
    }
    return cast("pd.DataFrame", table.to_pandas(types_mapper=kinds.get))


def _open_parquet(path: Path) -> tuple[pa.OSFile, pq.ParquetFile]:
    """The file, and a reader of it; it is not mapped, so that its pages are not this process's memory."""
    size, head, tail = _ends(path)
    if size == 0:
        raise TraceError(f"{path} is empty: nothing was ever written to it{_recovery(path)}")
    if head == bundle.MAGIC:
        with bundle.unpacked(path) as trace:
            inside = Path(f"/proc/self/fd/{trace.fileno()}")
            return _open_whole(path, inside, *_ends(inside))
    return _open_whole(path, path, size, head, tail)


def _open_whole(path: Path, place: Path, size: int, head: bytes, tail: bytes) -> tuple[pa.OSFile, pq.ParquetFile]:
    """The file of that path, which is at that place."""
    if head != _MAGIC:
        raise TraceError(f"{path} is no Parquet file, so it is no trace")
    if tail != _MAGIC or size < 12:
        remedy = _recovery(path) or "; copy it again from where it was recorded"
        raise TraceError(f"{path} is cut off: its end is missing{remedy}")
    try:
        source = pa.OSFile(str(place))
        return source, _reader(source)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:  # the last for names of columns
        raise TraceError(f"{path} is damaged: {_first_line(error)}") from error


def _reader(source: pa.OSFile, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    return pq.ParquetFile(source, metadata=metadata, pre_buffer=False, page_checksum_verification=True)


def _ends(path: Path) -> tuple[int, bytes, bytes]:
    """Size of the file, its first four bytes and its last four."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{path} is a folder, not a trace")
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path} is not a regular file: save the trace to one first")
        with path.open("rb") as raw:
            head = raw.read(4)
            raw.seek(max(status.st_size - 4, 0))
            return status.st_size, head, raw.read(4)
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}{_recovery(path)}") from error
    except PermissionError as error:
        raise UsageError(f"{path} is not yours to read: use sudo, or have its owner give it to you") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be opened: {error.strerror}") from error


def _recovery(path: Path) -> str:
    if not journal_path(path).is_dir():
        return ""
    if is_being_recorded(path):
        return "; it is being recorded: wait for the end, or send SIGUSR1 to the recorder for what there is so far"
    return f"; its recorder was killed: run `tracekit recover {path}`"


def _select(table: pa.Table, events: Sequence[str], start_ns: int | None, end_ns: int | None) -> pa.Table:
    mask = None
    if events and not _all_are(table.column("event"), events):
        # On a dictionary column, compare the few distinct values and look the answers up.
        mask = pc.is_in(table.column("event"), value_set=pa.array(events))
    for bound, compare in ((start_ns, pc.greater_equal), (end_ns, pc.less)):
        if bound is not None:
            within = compare(table.column("ts_ns"), bound)
            mask = within if mask is None else pc.and_(mask, within)
    return table if mask is None else table.filter(mask)


def _all_are(column: pa.ChunkedArray, events: Sequence[str]) -> bool:
    """Whether it is plain at once, from its few distinct values, that a column holds only these events."""
    if not pa.types.is_dictionary(column.type) or column.null_count:
        return False
    return all(set(chunk.dictionary.to_pylist()) <= set(events) for chunk in column.chunks)


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    return kind


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
