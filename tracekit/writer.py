"""Writing a trace: one Parquet file, under a temporary name until it is whole."""

import contextlib
import errno
import glob
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tracekit.errors import UsageError
from tracekit.metadata import Metadata
from tracekit.schema import FAMILIES, MAX_ROW_GROUP_ROWS, METADATA_KEY, SCHEMA

# Measured on real block events: a dictionary on a column of ever new values costs both size and time, and
# differences of time stamps pack well.
_DELTA = ("ts_ns", "start_ns")
_PLAIN = ("sector", "duration_ns")
_ENCODING = dict.fromkeys(_DELTA, "DELTA_BINARY_PACKED") | dict.fromkeys(_PLAIN, "PLAIN")
_LARGE_DICTIONARY = 4096
# Room for what is put around the name of a temporary file and of a journal, within the 255 of a file system.
_LONGEST_NAME = 230
# Rows are held until they make a row group, or this much.
_ROW_GROUP_BYTES = 128 << 20
_DICTIONARY = [
    "argv.list.element" if name == "argv" else name for name in SCHEMA.names if name not in (*_DELTA, *_PLAIN)
]


def check_output(path: Path, force: bool = False) -> None:
    """Refuse an output that cannot be written, before any work is done for it.

    Raises:
        UsageError: the folder is missing or not writable, or the file exists and `force` is not given.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"the folder {folder} does not exist: create it, or choose another output with -o")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file with -o")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no regular file: name another output with -o")
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise UsageError(f"the name {path.name} is too long: choose a shorter one with -o")
    if os.path.lexists(path) and not force:
        raise UsageError(f"{path} exists already: choose another output with -o, or overwrite it with --force")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"the folder {folder} cannot be written to: choose another output with -o")


@contextlib.contextmanager
def putting(path: Path, force: bool = False) -> Iterator[Path]:
    """A temporary name beside `path` to write to; on success synced and renamed to it, on failure removed.

    The file is readable by its owner only: arguments and paths hold secrets.

    Args:
        path: the name in the end.
        force: replace a file that has that name.

    Raises:
        FileExistsError: a file with that name has come meanwhile, and `force` is not given.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        if force:
            temporary.replace(path)
        else:
            _rename_to_new(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.absolute().parent)


def _rename_to_new(temporary: Path, path: Path) -> None:
    """Rename a file unless its new name is taken: a second name can be made in one step only if it is new."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        temporary.replace(path)
    else:
        temporary.unlink()


def remove_temporaries(path: Path) -> None:
    """Remove what writers of `path` left that were killed; the caller knows that none is at work."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        left.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make names created in or removed from the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class TraceWriter:
    """Writes families of events, one after another in file order, and the footer at the end.

    Args:
        path: where the bytes go; see `putting` for a name that is safe to crash under.

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
            store_schema=True,
            # A flipped bit is then found when it is read, not reported as a fact.
            write_page_checksum=True,
        )
        self._family = 0
        self._pending: list[pa.Table] = []
        self.rows = dict.fromkeys(FAMILIES, 0)

    def write(self, family: str, rows: pa.Table | pa.RecordBatch) -> None:
        """Append rows of one family; columns that are absent are null."""
        position = FAMILIES.index(family)
        if position < self._family:
            raise ValueError(f"{family} comes before {FAMILIES[self._family]} in a trace")
        if position != self._family:
            self._write_pending()
        self._family = position
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        present = set(table.column_names)
        columns = [
            table.column(item.name).cast(item.type) if item.name in present else pa.nulls(table.num_rows, item.type)
            for item in SCHEMA
        ]
        self._pending.append(pa.table(columns, schema=SCHEMA))
        self.rows[family] += table.num_rows
        if (
            sum(piece.num_rows for piece in self._pending) >= MAX_ROW_GROUP_ROWS
            or sum(piece.nbytes for piece in self._pending) >= _ROW_GROUP_BYTES
        ):
            self._write_pending()

    def _write_pending(self) -> None:
        if not self._pending:
            return
        whole = pa.concat_tables(self._pending).unify_dictionaries()
        self._pending.clear()
        for start in range(0, whole.num_rows, MAX_ROW_GROUP_ROWS):
            self._writer.write_table(_with_own_dictionaries(whole.slice(start, MAX_ROW_GROUP_ROWS)))

    def close(self, metadata: Metadata) -> None:
        """Write the footer; the file is a trace from now on."""
        self._write_pending()
        self._writer.add_key_value_metadata({METADATA_KEY: metadata.to_json().encode()})
        self._writer.close()

    def abandon(self) -> None:
        """Let go of the file without making it a trace."""
        self._writer.close()


def _with_own_dictionaries(rows: pa.Table) -> pa.Table:
    """Rows whose large dictionaries hold only what these rows use: Parquet writes a dictionary into every row group."""
    for position, item in enumerate(rows.schema):
        column = rows.column(position)
        if pa.types.is_dictionary(item.type) and any(len(c.dictionary) > _LARGE_DICTIONARY for c in column.chunks):
            rows = rows.set_column(position, item, column.cast(item.type.value_type).dictionary_encode())
    return rows
