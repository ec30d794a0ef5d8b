"""What is read of footers and pages here is what Arrow reads of good files; what is none is refused."""

import contextlib
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from damage import small_trace
from hypothesis import given
from hypothesis import strategies as st

from tracekit import claims, open_trace, thrift
from tracekit.schema import METADATA_KEY

SAMPLES = sorted((Path(__file__).parents[2] / "sample_traces").glob("*.parquet"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_footer_says_what_arrow_says(path: Path) -> None:
    source = pa.OSFile(str(path))
    file, groups = claims.opened(source)
    assert len(groups) == file.num_row_groups
    for number, group in enumerate(groups):
        theirs = file.metadata.row_group(number)
        assert (group.rows, len(group)) == (theirs.num_rows, theirs.num_columns)
        for leaf in range(len(group)):
            chunk = group.chunk(leaf)
            column = theirs.column(leaf)
            assert (chunk.values, chunk.end - chunk.begin) == (column.num_values, column.total_compressed_size)
            if column.path_in_schema == "event":
                assert (chunk.least, chunk.greatest) == (
                    column.statistics.min.encode(),
                    column.statistics.max.encode(),
                )
        claims.check(source, file.schema, group, [(leaf, "") for leaf in range(len(group))], 262_144)


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "zstd"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_pages_of_other_writers(codec: str, version: str) -> None:
    table = pa.table(
        {"n": range(10_000), "s": [f"{n}" * 9 for n in range(10_000)], "l": [["a"] * (n % 4) for n in range(10_000)]}
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression=codec, data_page_version=version, data_page_size=1000, row_group_size=4000)
    source = pa.BufferReader(sink.getvalue())
    file, groups = claims.opened(source)
    for group in groups:
        claims.check(source, file.schema, group, [(0, "n"), (1, "s"), (2, "l")], 4000)
        with pytest.raises(pa.ArrowInvalid, match=r"claims to have [24],000 rows, and 1,999 is the most"):
            claims.check(source, file.schema, group, [], 1999)
        with pytest.raises(pa.ArrowInvalid, match="it lacks the column m"):
            claims.check(source, file.schema, group, [(3, "m")], 4000)
    assert file.read().equals(table)


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "zstd", "lz4"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_strings_that_are_written_as_differences(
    tmp_path: Path, encoding: str, codec: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = pq.read_table(SAMPLES[0])
    texts = [item.name for item in old.schema if pa.types.is_dictionary(item.type)]
    table = old.cast(pa.schema([(one.name, pa.string() if one.name in texts else one.type) for one in old.schema]))
    metadata = pq.read_metadata(SAMPLES[0]).metadata[METADATA_KEY]
    pq.write_table(
        table.replace_schema_metadata({METADATA_KEY: metadata}),
        tmp_path / "t.parquet",
        compression=codec,
        data_page_version=version,
        data_page_size=20_000,
        use_dictionary=False,
        column_encoding=dict.fromkeys([*texts, "argv.list.element"], encoding),
    )
    assert open_trace(tmp_path / "t.parquet").table().to_pylist() == old.to_pylist()

    # What they become is known to the byte, but for lengths and what else is in a page.
    source = pa.OSFile(str(tmp_path / "t.parquet"))
    file, groups = claims.opened(source)
    leaf, size = old.schema.get_field_index("path"), pc.sum(pc.binary_length(table["path"])).as_py()
    assert len(groups) == 1
    claims.check(source, file.schema, groups[0], [(leaf, "path")], 262_144)
    monkeypatch.setattr(claims, "MOST_BYTES", size)
    with pytest.raises(pa.ArrowInvalid, match="its column path claims to be of more"):
        claims.check(source, file.schema, groups[0], [(leaf, "path")], 262_144)
    monkeypatch.setattr(claims, "MOST_BYTES", size + 9 * len(table))
    claims.check(source, file.schema, groups[0], [(leaf, "path")], 262_144)


def opened(table: pa.Table, **options: Any) -> tuple[pa.NativeFile, pq.ParquetFile, list[claims.RowGroup]]:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    source = pa.BufferReader(sink.getvalue())
    return source, *claims.opened(source)


@pytest.mark.parametrize(
    ("table", "most", "values", "what"),
    [
        ({"c": [["a"] * 10] * 100}, "MOST_VALUES", 1000, "of more than"),
        ({"c": pa.array([b"x" * 100] * 1000, pa.binary(100))}, "MOST_BYTES", 100_000 + 500, "of more than"),
        ({"c": range(1000)}, "_MOST_PAGES", 21, "pages of impossible size or number"),
    ],
    ids=["lists", "fixed", "pages"],
)
def test_the_most_of_everything(
    table: dict[str, Any], most: str, values: int, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, file, groups = opened(pa.table(table), write_batch_size=50, data_page_size=50)
    monkeypatch.setattr(claims, most, values)
    claims.check(source, file.schema, groups[0], [(0, "c")], 1000)
    monkeypatch.setattr(claims, most, values * 9 // 10)
    with pytest.raises(pa.ArrowInvalid, match=f"its column c .*{what}"):
        claims.check(source, file.schema, groups[0], [(0, "c")], 1000)


@pytest.mark.parametrize(
    ("rows", "words"), [(201, "claims to hold 200 values of 201 rows"), (-1, "claims to have -1 rows")]
)
def test_rows_that_there_are_not(rows: int, words: str, tmp_path: Path) -> None:
    source = pa.OSFile(str(small_trace(tmp_path / "t.parquet")))
    file, groups = claims.opened(source)
    groups[0].rows = rows
    with pytest.raises(pa.ArrowInvalid, match=words):
        claims.check(source, file.schema, groups[0], [(0, "ts_ns")], 262_144)


def test_a_part_of_some_texts_is_as_large_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "MOST_BYTES", 100)
    texts = pa.array(["x" * 20] * 10 + [None, "short"] * 10)
    for kind in (pa.string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        claims.check_unfolded(texts.cast(kind)[10:], "c")
        with pytest.raises(pa.ArrowInvalid, match="its column c claims to be of more"):
            claims.check_unfolded(texts.cast(kind)[2:8], "c")


def test_a_column_with_a_long_name() -> None:
    name = "x" * 200
    _, _, (group,) = opened(pa.table({name: [1, 2, 3], "s": ["a", "b", "c"]}))
    assert [group.chunk(leaf).values for leaf in range(len(group))] == [3, 3]


def test_differences_of_more_numbers_than_a_page_has() -> None:
    raw = b"\x80\x01\x04\x0b\x00\x00" + bytes(4)  # 11 numbers in blocks of 128, all 0
    assert claims._differences(raw, 0, 11).tolist() == [0] * 11
    with pytest.raises(ValueError, match="impossible size"):
        claims._differences(raw, 0, 10)


def test_numbers_of_each_length() -> None:
    with pytest.raises(ValueError, match="no kind"):
        thrift.value(b"\x1b\x00", 0, thrift.STRUCT)
    raw = b"\x16\x01\x26\x80\x01\x18\x02hi\x19\x25\x02\x04\x00"
    assert thrift.value(raw, 0, thrift.STRUCT) == ({1: -1, 3: 64, 4: b"hi", 5: [1, 2]}, len(raw))
    truths = b"\x19\x31\x01\x01\x02\x00"
    assert thrift.value(truths, 0, thrift.STRUCT)[1] == thrift.end(truths, 0, thrift.STRUCT) == len(truths)
    with pytest.raises(IndexError):
        thrift.end(b"\xf3\xff\x07", 0, thrift.LIST)  # of 1,023 bytes
    with pytest.raises(ValueError, match="64 bits"):
        thrift.value(b"\x16" + b"\xff" * 20, 0, thrift.STRUCT)
    with pytest.raises(ValueError, match="no kind"):
        thrift.value(b"\x1c" * 1000, 0, thrift.STRUCT)


@given(st.binary(max_size=200))
def test_whatever_it_is_there_is_an_end(raw: bytes) -> None:
    try:
        _, at = thrift.value(raw, 0, thrift.STRUCT)
    except (IndexError, ValueError):
        with contextlib.suppress(IndexError, ValueError):
            assert thrift.end(raw, 0, thrift.STRUCT) <= len(raw)
        return
    assert thrift.end(raw, 0, thrift.STRUCT) == at <= len(raw)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_end_of_a_footer_is_found_without_its_values(path: Path) -> None:
    raw = path.read_bytes()
    footer = raw[-8 - int.from_bytes(raw[-8:-4], "little") : -8]
    assert thrift.end(footer, 0, thrift.STRUCT) == thrift.value(footer, 0, thrift.STRUCT)[1] == len(footer)
    with pytest.raises(ValueError, match="no kind"):
        thrift.end(b"\x19\x1c" * 1000, 0, thrift.STRUCT)


def test_a_footer_of_thousands_of_row_groups_is_read_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each value of a footer is an object of Python: most footers have many, and few are needed."""
    path, values, made = tmp_path / "t.parquet", thrift.value, []
    table = pq.read_table(SAMPLES[0])
    metadata = pq.read_metadata(SAMPLES[0]).metadata[METADATA_KEY]
    pq.write_table(table.slice(0, 1000).replace_schema_metadata({METADATA_KEY: metadata}), path, row_group_size=1)
    monkeypatch.setattr(thrift, "value", lambda *given: made.append(given) or values(*given))
    groups = claims.opened(pa.OSFile(str(path)))[1]
    assert len(groups) == 1000
    assert len(made) < 5 * len(groups)
    assert [group.chunk(0).values for group in groups] == [1] * 1000


def test_a_file_of_nothing_but_a_footer(tmp_path: Path) -> None:
    raw = small_trace(tmp_path / "t.parquet").read_bytes()
    length = int.from_bytes(raw[-8:-4], "little")
    for cut in (raw[: 4 + length], b"PAR1" + bytes(4) + b"PAR1", b"PAR1" + b"\x15\xff" * 9 + b"\x12\0\0\0PAR1"):
        with pytest.raises((pa.ArrowInvalid, OSError)):
            claims.opened(pa.BufferReader(cut))
    source = pa.BufferReader(b"PAR1" + raw[-8 - length :])
    file, groups = claims.opened(source)
    with pytest.raises(pa.ArrowInvalid, match=r"is not in the file|there is no page"):
        claims.check(source, file.schema, groups[-1], [(0, "ts_ns")], 262_144)
