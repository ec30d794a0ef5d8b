"""Reading a trace: metadata at once, events when they are asked for."""

import functools
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tracekit import bundle, claims
from tracekit.errors import TraceError, UsageError, first_line
from tracekit.files import is_being_recorded, journal_path
from tracekit.metadata import Metadata
from tracekit.schema import ALL_EVENTS, FAMILY_OF, MAX_ROW_GROUP_ROWS, METADATA_KEY, MOST_NS, SCHEMA

if TYPE_CHECKING:
    import pandas as pd

_MAGIC = b"PAR1"
_PIECE = 1 << 20
_Opened: TypeAlias = tuple[pq.ParquetFile, list[claims.RowGroup]]
_TEXTS = [item.name for item in SCHEMA if pa.types.is_dictionary(item.type) or pa.types.is_list(item.type)]
_NEEDED = ("ts_ns", "event")


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
        self._source, (self._file, self._row_groups) = _open_parquet(path)
        self._checked: set[tuple[int, str]] = set()  # columns of row groups whose claims were found to be true
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
            if (there := schema.names.count(item.name)) != 1:
                how = f"has {there} columns" if there else "lacks the column"
                raise TraceError(f"{self.path} {how} {item.name!r} of format {self.metadata.format}: it is damaged")
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
        return min(
            (extremes[0] for group in range(len(self._row_groups)) if (extremes := self._times(group))), default=0
        )

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
        # Readers of its own: one must not be used by two threads at once. Mostly one is enough for all row groups.
        readers = functools.cache(functools.partial(claims.reader, self._source, self._file.metadata))
        for group in self._groups(events, start_ns, end_ns):
            try:
                table = self._row_group(readers, group, read)
            except (OSError, pa.ArrowException, MemoryError) as error:
                raise TraceError(f"{self.path} is damaged in row group {group}: {first_line(error)}") from error
            self.on_read(len(table))
            table = _select(table, events, start_ns, end_ns).select(wanted)
            yield from table.unify_dictionaries().combine_chunks().to_batches()

    def _row_group(
        self, readers: Callable[[tuple[str, ...]], pq.ParquetFile], group: int, names: list[str]
    ) -> pa.Table:
        """Columns of a row group as the format has them, whoever wrote the file."""
        new = [name for name in names if (group, name) not in self._checked]
        leaves = [(leaf, name) for name in new for leaf in self._leaves[name].values()]
        claims.check(self._source, self._file.schema, self._row_groups[group], leaves, MAX_ROW_GROUP_ROWS)
        texts = [(leaf, path) for name in names if name in _TEXTS for path, leaf in self._leaves[name].items()]
        file = readers(claims.coded(self._row_groups[group], texts))
        table = file.read_row_group(group, columns=names, use_threads=False)
        columns = {name: _sound(table.column(name), name) for name in table.schema.names}
        if "ts_ns" in new:
            self._check_times(columns["ts_ns"])
        self._checked.update((group, name) for name in new)
        return pa.table(columns)

    def _check_times(self, times: pa.ChunkedArray) -> None:
        """Differences of times are everywhere, so they must have numbers.

        Raises:
            ArrowInvalid: one is of another recording, or of none.
        """
        for time_ns in pc.min_max(times).as_py().values():
            if time_ns is not None and abs(time_ns - self.start_ns) > MOST_NS:
                raise pa.ArrowInvalid(f"its column 'ts_ns' holds {time_ns}, which is no time in this recording")

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
        return sum(self._row_groups[group].rows for group in self._groups(events, start_ns, end_ns))

    def _groups(self, events: Sequence[str], start_ns: int | None, end_ns: int | None) -> list[int]:
        return [group for group in range(len(self._row_groups)) if self._may_hold(group, events, start_ns, end_ns)]

    def _may_hold(self, group: int, events: Sequence[str], start_ns: int | None, end_ns: int | None) -> bool:
        times, names = self._times(group), self._extremes(group, "event")
        if times is not None and start_ns is not None and times[1] < start_ns:
            return False
        if times is not None and end_ns is not None and times[0] >= end_ns:
            return False
        return not events or names is None or any(names[0] <= name.encode() <= names[1] for name in events)

    def _times(self, group: int) -> tuple[int, int] | None:
        """Times of the first and of the last event in a row group, or None where the file does not tell."""
        times = self._extremes(group, "ts_ns")
        if times is None or {len(time) for time in times} != {8}:
            return None
        return int.from_bytes(times[0], "little", signed=True), int.from_bytes(times[1], "little", signed=True)

    def _extremes(self, group: int, column: str) -> tuple[bytes, bytes] | None:
        """Least and greatest value of a column in a row group, or None where the file does not tell."""
        (leaf,) = self._leaves[column].values()
        found = self._row_groups[group]
        chunk = found.chunk(leaf) if leaf < len(found) else None
        return None if chunk is None or chunk.least is None or chunk.greatest is None else (chunk.least, chunk.greatest)

    @functools.cached_property
    def _leaves(self) -> dict[str, dict[str, int]]:
        """Of each column of the format its parts in the file, by their paths: Parquet numbers these, Arrow columns."""
        schema = self._file.schema
        paths = {schema.column(index).path: index for index in range(len(schema))}
        return {
            name: {path: index for path, index in paths.items() if path == name or path.startswith(f"{name}.")}
            for name in SCHEMA.names
        }

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


def _open_parquet(path: Path) -> tuple[pa.OSFile, _Opened]:
    """The file, and a reader of it; it is not mapped, so that its pages are not this process's memory."""
    size, head, tail = _ends(path)
    if size == 0:
        raise TraceError(f"{path} is empty: nothing was ever written to it{_recovery(path)}")
    if head == bundle.MAGIC:
        with bundle.unpacked(path) as trace:
            inside = Path(f"/proc/self/fd/{trace.fileno()}")
            return _open_whole(path, inside, *_ends(inside))
    return _open_whole(path, path, size, head, tail)


def _open_whole(path: Path, place: Path, size: int, head: bytes, tail: bytes) -> tuple[pa.OSFile, _Opened]:
    """The file of that path, which is at that place."""
    if head != _MAGIC:
        raise TraceError(f"{path} is no Parquet file, so it is no trace")
    if tail != _MAGIC or size < 12:
        remedy = _recovery(path) or "; copy it again from where it was recorded"
        raise TraceError(f"{path} is cut off: its end is missing{remedy}")
    try:
        source = pa.OSFile(str(place))
        return source, claims.opened(source)
    except (OSError, pa.ArrowException, MemoryError, UnicodeDecodeError) as error:  # the last for names of columns
        raise TraceError(f"{path} is damaged: {first_line(error)}") from error


def _sound(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A column in the type of the format, after a look at what a file may have in it that no trace has.

    Raises:
        ArrowInvalid: it has.
    """
    if name in _NEEDED and column.null_count:
        raise pa.ArrowInvalid(f"its column {name!r} has nothing in some row")
    for chunk in column.chunks if name in _TEXTS else ():
        claims.check_places(chunk, name)
        coded = chunk.values if pa.types.is_list(chunk.type) or pa.types.is_large_list(chunk.type) else chunk
        folded = pa.types.is_dictionary(coded.type)
        try:
            (coded.dictionary if folded else coded).validate(full=True)
        except pa.ArrowInvalid as error:
            raise pa.ArrowInvalid(f"its column {name!r} holds text that is not UTF-8") from error
        if folded and coded is not chunk:
            claims.check_unfolded(coded, name)
    wanted = SCHEMA.field(name).type
    return column if column.type == wanted else column.cast(wanted)


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
    if mask is None:
        return table
    table = table.filter(mask)
    # Names of other events must not be left among the distinct ones.
    place = table.schema.get_field_index("event") if events else -1
    return table if place < 0 else table.set_column(place, "event", _coded_anew(table.column(place)))


def _coded_anew(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()).dictionary_encode()


def _all_are(column: pa.ChunkedArray, events: Sequence[str]) -> bool:
    """Whether it is plain at once, from its few distinct values, that a column holds only these events."""
    if not pa.types.is_dictionary(column.type):
        return False
    return all(set(chunk.dictionary.to_pylist()) <= set(events) for chunk in column.chunks)


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type without how strings and lists are kept: some writers have them large."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    return pa.string() if pa.types.is_large_string(kind) else kind
