"""Writing a trace: one Parquet file."""

import contextlib
import functools
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tracekit.metadata import Metadata
from tracekit.schema import FAMILIES, METADATA_KEY, SCHEMA

# Measured on real block events: a dictionary on a column of ever new values costs both size and time, and
# differences of time stamps pack well.
_DELTA = ("ts_ns", "start_ns")
_PLAIN = ("sector", "duration_ns")
_ENCODING = dict.fromkeys(_DELTA, "DELTA_BINARY_PACKED") | dict.fromkeys(_PLAIN, "PLAIN")
_LARGE_DICTIONARY = 4096
# What Parquet takes for how long a string is.
_LENGTH_BYTES = 4
# Half of what the format allows: the memory that writing takes goes with it, and the file hardly grows.
ROW_GROUP_ROWS = 131_072
# Rows are held until they make a row group, or this much.
_ROW_GROUP_BYTES = 128 << 20
_DICTIONARY = [
    "argv.list.element" if name == "argv" else name for name in SCHEMA.names if name not in (*_DELTA, *_PLAIN)
]


class TraceWriter:
    """Writes families of events, one after another in file order, and the footer at the end.

    Args:
        path: where the bytes go; see `tracekit.files.putting` for a name that is safe to crash under.

    The rows of one family must be in time order across calls of `write`.
    """

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(
            path,
            SCHEMA,
            compression="zstd",
            compression_level=3,
            use_dictionary=_DICTIONARY,
            column_encoding=_ENCODING,
            # What a reader skips row groups by; the least and greatest of each other column would cost a fifth more.
            write_statistics=["ts_ns", "event"],
            # Most columns are empty, and are then passed over at once: a tenth less time than by the thousand.
            write_batch_size=ROW_GROUP_ROWS,
            store_schema=True,
            # A flipped bit is then found when it is read, not reported as a fact.
            write_page_checksum=True,
        )
        self._family = 0
        self._pending: list[pa.Table] = []
        self._pending_rows = self._pending_bytes = 0
        self.rows = dict.fromkeys(FAMILIES, 0)

    def write(self, family: str, rows: pa.Table | pa.RecordBatch) -> None:
        """Append rows of one family; columns that are absent are null."""
        position = FAMILIES.index(family)
        if position < self._family:
            raise ValueError(f"{family} comes before {FAMILIES[self._family]} in a trace")
        if position != self._family:
            self._write_pending()
        self._family = position
        self._pending.append(pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows)
        self._pending_rows += rows.num_rows
        self._pending_bytes += rows.nbytes
        self.rows[family] += rows.num_rows
        if self._pending_rows >= ROW_GROUP_ROWS or self._pending_bytes >= _ROW_GROUP_BYTES:
            self._write_pending()

    def _write_pending(self) -> None:
        if not self._pending:
            return
        whole = pa.concat_tables(self._pending, promote_options="default").unify_dictionaries()
        self._pending.clear()
        self._pending_rows = self._pending_bytes = 0
        for start in range(0, whole.num_rows, ROW_GROUP_ROWS):
            self._write_row_group(whole.slice(start, ROW_GROUP_ROWS))
        # What went into a row group is not needed for the next, and freed memory that is held adds up.
        pa.default_memory_pool().release_unused()

    def _write_row_group(self, rows: pa.Table) -> None:
        """One of them, or several where its strings would take more than a reader may be asked to hold."""
        if rows.num_rows > 1 and sum(map(_size_of_strings, rows.columns)) > _ROW_GROUP_BYTES:
            middle = rows.num_rows // 2
            self._write_row_group(rows.slice(0, middle))
            self._write_row_group(rows.slice(middle))
        else:
            self._writer.write_table(_with_every_column(with_own_dictionaries(rows)))

    def close(self, metadata: Metadata) -> None:
        """Write the footer; the file is a trace from now on."""
        self._write_pending()
        self._writer.add_key_value_metadata({METADATA_KEY: metadata.to_json().encode()})
        self._writer.close()

    def abandon(self) -> None:
        """Let go of the file without making it a trace."""
        with contextlib.suppress(OSError):  # the disk may be full
            self._writer.close()


def _size_of_strings(column: pa.ChunkedArray) -> int:
    """The bytes that a column's strings take, each by itself, however few distinct ones there are; 0 of others."""
    flat = pc.list_flatten(column) if pa.types.is_list(column.type) else column
    if pa.types.is_dictionary(flat.type):
        lengths = [pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in flat.chunks]
    elif pa.types.is_string(flat.type):
        lengths = [pc.binary_length(flat)]
    else:
        return 0
    return sum((pc.sum(each).as_py() or 0) + _LENGTH_BYTES * len(each) for each in lengths)


def _with_every_column(rows: pa.Table) -> pa.Table:
    present = set(rows.column_names)
    columns = [
        rows.column(item.name).cast(item.type) if item.name in present else _nothing(item.type)[: rows.num_rows]
        for item in SCHEMA
    ]
    return pa.table(columns, schema=SCHEMA)


@functools.cache
def _nothing(kind: pa.DataType) -> pa.Array:
    """As many nulls as a row group may need: most columns of a family are empty, and all can share them."""
    return pa.nulls(ROW_GROUP_ROWS, kind)


def with_own_dictionaries(rows: pa.Table) -> pa.Table:
    """Rows whose large dictionaries hold only what these rows use: Parquet writes a dictionary into every row group."""
    for position, item in enumerate(rows.schema):
        column = rows.column(position)
        if pa.types.is_dictionary(item.type) and any(len(c.dictionary) > _LARGE_DICTIONARY for c in column.chunks):
            rows = rows.set_column(position, item, column.cast(item.type.value_type).dictionary_encode())
    return rows
