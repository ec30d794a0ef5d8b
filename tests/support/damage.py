"""Every way in which a trace can be unreadable, and the exit code that each must lead to."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tracebuilder import TraceBuilder

from tracekit.schema import METADATA_KEY


def small_trace(path: Path) -> Path:
    """A trace with a few rows of every family, and incompressible ones, so that data fill most of the file."""
    builder = TraceBuilder()
    for index in range(200):
        at_ns = index * 1_000_003
        builder.add("exec", at_ns, pid=index, tid=index, ppid=1, comm=f"comm{index}", path=f"/bin/{index}", argv=["a"])
        builder.add("open", at_ns, pid=index, tid=index, comm="reader", path=f"/tmp/{index}", ret=3, duration_ns=index)
        for event in ("block_start", "block_issue", "block_complete"):
            builder.add(
                event, at_ns + len(event), dev=8 << 20, disk="sda", request=1, sector=index, bytes=4096, op="read"
            )
    return builder.write(path)


@dataclass(frozen=True)
class Damage:
    """A file that cannot be read: how to make it, the exit code, and words that the message must hold."""

    name: str
    make: Callable[[Path], object]
    exit_code: int
    words: str


def _text(path: Path) -> None:
    path.write_text("This is no Parquet file, but it is longer than a footer.\n")


def _empty(path: Path) -> None:
    path.touch()


def _cut(path: Path) -> None:
    whole = small_trace(path).read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])


def _cut_with_journal(path: Path) -> None:
    _cut(path)
    path.with_name(f".{path.name}.journal").mkdir()


def _journal_only(path: Path) -> None:
    path.with_name(f".{path.name}.journal").mkdir()


def _magic_only(path: Path) -> None:
    path.write_bytes(b"PAR1PAR1")


def _rewrite(path: Path, table: pa.Table, metadata: bytes | None) -> None:
    keys = {} if metadata is None else {METADATA_KEY: metadata}
    pq.write_table(table.replace_schema_metadata(keys), path)


def _not_a_trace(path: Path) -> None:
    _rewrite(path, pa.table({"x": [1, 2, 3]}), None)


def _footer(path: Path) -> bytes:
    metadata = pq.read_metadata(small_trace(path)).metadata
    return metadata[METADATA_KEY]


def _higher_format(path: Path) -> None:
    footer = _footer(path).replace(b'"format":1', b'"format":2')
    _rewrite(path, pq.read_table(path), footer)


def _metadata_is_no_json(path: Path) -> None:
    _footer(path)
    _rewrite(path, pq.read_table(path), b"{")


def _metadata_of_wrong_type(path: Path) -> None:
    footer = _footer(path).replace(b'"cpus":2', b'"cpus":"two"')
    _rewrite(path, pq.read_table(path), footer)


def _column_missing(path: Path) -> None:
    footer = _footer(path)
    _rewrite(path, pq.read_table(path).drop_columns(["comm"]), footer)


def _column_of_wrong_type(path: Path) -> None:
    footer = _footer(path)
    table = pq.read_table(path)
    place = table.schema.get_field_index("pid")
    _rewrite(path, table.set_column(place, "pid", table.column("pid").cast(pa.string())), footer)


def _flip(path: Path, start: int, end: int) -> None:
    raw = bytearray(path.read_bytes())
    for place in range(start, end, 7):
        raw[place] ^= 0xFF
    path.write_bytes(raw)


def _footer_start(path: Path) -> int:
    raw = path.read_bytes()
    return len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")


def _row_group_flipped(path: Path) -> None:
    small_trace(path)
    _flip(path, 4, _footer_start(path))


def _footer_flipped(path: Path) -> None:
    small_trace(path)
    _flip(path, _footer_start(path), path.stat().st_size - 8)


def _nothing(path: Path) -> None:
    assert not path.exists()


DAMAGES = (
    Damage("no-parquet", _text, 3, "is no Parquet file"),
    Damage("empty", _empty, 3, "is empty"),
    Damage("cut-off", _cut, 3, "is cut off"),
    Damage("cut-off-with-journal", _cut_with_journal, 3, "tracekit recover"),
    Damage("magic-only", _magic_only, 3, "is cut off"),
    Damage("no-trace", _not_a_trace, 3, "no trace"),
    Damage("higher-format", _higher_format, 3, "format 2"),
    Damage("metadata-no-json", _metadata_is_no_json, 3, "metadata is damaged"),
    Damage("metadata-wrong-type", _metadata_of_wrong_type, 3, "metadata is damaged"),
    Damage("column-missing", _column_missing, 3, "lacks the column 'comm'"),
    Damage("column-wrong-type", _column_of_wrong_type, 3, "'pid'"),
    Damage("row-group-flipped", _row_group_flipped, 3, "is damaged in row group 0"),
    Damage("footer-flipped", _footer_flipped, 3, "is damaged"),
    Damage("folder", Path.mkdir, 2, "is a folder"),
    Damage("missing", _nothing, 2, "there is no file"),
    Damage("missing-with-journal", _journal_only, 2, "tracekit recover"),
    Damage("pipe", os.mkfifo, 2, "not a regular file"),
)
