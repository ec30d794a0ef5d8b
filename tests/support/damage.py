"""Every way in which a trace can be unreadable, and the exit code that each must lead to."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
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


def _with_column(path: Path, name: str, values: pa.Array) -> None:
    """The same trace with another column of that name."""
    footer, table = _footer(path), pq.read_table(path)
    _rewrite(path, table.set_column(table.schema.get_field_index(name), name, values), footer)


def _not_utf8(name: str) -> Callable[[Path], None]:
    """A string among the others that is no UTF-8, as another program may write it."""

    def make(path: Path) -> None:
        texts = pq.read_table(small_trace(path)).column(name)
        raw = texts.cast(pa.list_(pa.binary()) if name == "argv" else pa.binary()).to_pylist()
        raw[7] = [b"caf\xe9"] if name == "argv" else b"caf\xe9"
        kind = pa.list_(pa.string()) if name == "argv" else pa.string()
        made = pa.array(raw, pa.list_(pa.binary()) if name == "argv" else pa.binary())
        _with_column(path, name, pc.cast(made, options=pc.CastOptions(kind, allow_invalid_utf8=True)))

    return make


def _column_twice(path: Path) -> None:
    footer, table = _footer(path), pq.read_table(path)
    _rewrite(path, table.append_column("comm", table.column("comm")), footer)


def _without_time(path: Path) -> None:
    _with_column(path, "ts_ns", pa.array([None, *range(999)], pa.int64()))


def _half_a_character(path: Path) -> None:
    footer = _footer(path).replace(b'"db1"', b'"\\ud800"')
    _rewrite(path, pq.read_table(path), footer)


def _not_in_dictionary(path: Path) -> None:
    """Nearly all rows have the fourth of three commands."""
    footer, table = _footer(path), pq.read_table(path)
    table = table.set_column(table.schema.get_field_index("comm"), "comm", pa.array(["a", "b"] + ["c"] * 998))
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: footer}), path, compression="none")
    run = b"\xc0\x0f"  # of 992 rows
    raw = path.read_bytes()
    assert raw.count(run + b"\2") == 1
    path.write_bytes(raw.replace(run + b"\2", run + b"\3"))


def _bomb(path: Path) -> None:
    """Half a gigabyte in some kilobytes."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["x" * (512 << 20)]))
    _with_column(path, "path", texts)


def _bomb_of_many(path: Path) -> None:
    """A megabyte in each of a thousand rows of arguments, which are all the same."""
    lists = pa.ListArray.from_arrays(range(1001), pa.array(["x" * (1 << 20)]).dictionary_encode().take([0] * 1000))
    _with_column(path, "argv", lists)


def _bomb_of_prefixes(path: Path) -> None:
    """A megabyte in each of three hundred rows, of which each is written as the one before."""
    footer, table = _footer(path), pq.read_table(path).slice(0, 300)
    paths = pa.array(["x" * (1 << 20)] * 300)
    table = table.set_column(table.schema.get_field_index("path"), "path", paths)
    table = table.replace_schema_metadata({METADATA_KEY: footer})
    pq.write_table(table, path, use_dictionary=False, column_encoding={"path": "DELTA_BYTE_ARRAY"})


def _rows_in_one_group(path: Path) -> None:
    footer, table = _footer(path), pq.read_table(path)
    _rewrite(path, table.take(pa.array([0] * 300_000)), footer)


def _change_footer(path: Path, old: bytes, new: bytes) -> None:
    raw, start = path.read_bytes(), _footer_start(path)
    footer = raw[start:-8]
    assert old in footer
    changed = footer.replace(old, new)
    path.write_bytes(raw[:start] + changed + len(changed).to_bytes(4, "little") + b"PAR1")


def _more_values(path: Path) -> None:
    """Each column claims to have 1001 values, as varints have them, of 1000."""
    footer = _footer(path)
    _rewrite(path, pq.read_table(path), footer)
    _change_footer(path, b"\x16\xd0\x0f", b"\x16\xd2\x0f")


def _strange_statistics(path: Path) -> None:
    """A histogram of definition levels that has an entry too many: Arrow ends the process if it is asked about it."""
    footer = _footer(path)
    _rewrite(path, pq.read_table(path), footer)
    _change_footer(path, b"\x19\x26\x00\xd0\x0f", b"\x19\x36\x00\x00\xd0\x0f")


def _footer_of_a_gigabyte(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"PAR1")
        file.seek((1 << 30) + 4)
        file.write((1 << 30).to_bytes(4, "little") + b"PAR1")


def _footer_of_row_groups(path: Path) -> None:
    """As many as fit, each of a number of rows and nothing else, which is three bytes in Thrift."""
    count = 5_000_000
    footer = b"\x49\xfc" + bytes([count >> shift & 127 | 128 for shift in (0, 7, 14)] + [count >> 21])
    footer += b"\x36\x00\x00" * count + b"\x00"
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")


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
    Damage("column-twice", _column_twice, 3, "has 2 columns 'comm'"),
    Damage("half-a-character", _half_a_character, 3, "metadata is damaged"),
    Damage("rows-in-one-group", _rows_in_one_group, 3, "claims to have 300,000 rows"),
    Damage("more-values-than-there-are", _more_values, 3, "claims to hold 1,001 values"),
    Damage("strange-statistics", _strange_statistics, 3, "histogram"),
    Damage("footer-of-a-gigabyte", _footer_of_a_gigabyte, 3, "its footer claims to have 1,073,741,824 bytes"),
    Damage("footer-of-row-groups", _footer_of_row_groups, 3, "its footer is none"),
    Damage("folder", Path.mkdir, 2, "is a folder"),
    Damage("missing", _nothing, 2, "there is no file"),
    Damage("missing-with-journal", _journal_only, 2, "tracekit recover"),
    Damage("pipe", os.mkfifo, 2, "not a regular file"),
)

#: What only those meet who read the column.
OF_A_COLUMN = (
    *(
        Damage(f"not-utf8-{name}", _not_utf8(name), 3, f"column '{name}' holds text")
        for name in ("event", "comm", "argv")
    ),
    Damage("event-without-time", _without_time, 3, "'ts_ns' has nothing in some row"),
    Damage("not-in-dictionary", _not_in_dictionary, 3, "column comm has a row with what is not in its dictionary"),
    Damage("bomb", _bomb, 3, "its column path claims to be of more than 256 MiB"),
    Damage("bomb-of-prefixes", _bomb_of_prefixes, 3, "its column path claims to be of more than 256 MiB"),
    Damage("bomb-of-many", _bomb_of_many, 3, "its column argv claims to be of more than 256 MiB"),
)
