"""Writing a trace: nothing is overwritten, nothing is left half done, and no secret is readable by others."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tracebuilder import TraceBuilder

from tracekit.errors import UsageError
from tracekit.files import check_output, putting
from tracekit.schema import SCHEMA
from tracekit.trace import open_trace
from tracekit.writer import ROW_GROUP_ROWS, TraceWriter


def test_an_output_that_can_be_written(tmp_path: Path) -> None:
    check_output(tmp_path / "trace.parquet")


@pytest.mark.parametrize("force", [False, True])
def test_outputs_that_cannot(tmp_path: Path, force: bool) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        check_output(tmp_path / "nowhere" / "trace.parquet", force)
    with pytest.raises(UsageError, match="is a folder"):
        check_output(tmp_path, force)


def test_nothing_is_overwritten_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    path.symlink_to(tmp_path / "dangling")
    with pytest.raises(UsageError, match="--force"):
        check_output(path)
    check_output(path, force=True)


def test_putting_puts_the_whole_file_in_place(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    path.write_text("old")
    with putting(path, force=True) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_putting_leaves_the_old_file_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    path.write_text("old")

    def fail_half_way() -> None:
        with putting(path, force=True) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_families_have_an_order(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "trace.parquet")
    tables = TraceBuilder().add("open", 1).add("exec", 2).tables()
    writer.write("open", tables["open"])
    with pytest.raises(ValueError, match="process comes before open"):
        writer.write("process", tables["process"])
    writer.abandon()


def test_row_groups_hold_one_family_and_a_bounded_number_of_rows(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    writer = TraceWriter(path)
    rows = ROW_GROUP_ROWS + 1
    for family in ("block", "open"):
        batch = pa.record_batch({"ts_ns": pa.array(range(rows), pa.int64()), "event": pa.array([family] * rows)})
        writer.write(family, batch)
    writer.close(TraceBuilder().footer())
    metadata = pq.read_metadata(path)
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [ROW_GROUP_ROWS, 1] * 2
    for group in groups:
        statistics = group.column(1).statistics
        assert statistics.min == statistics.max
    assert writer.rows == {"process": 0, "block": rows, "open": rows, "lost": 0}


def test_the_written_form_is_the_measured_one(tmp_path: Path) -> None:
    path = TraceBuilder().add("block_issue", 1, sector=5, op="read").write(tmp_path / "trace.parquet")
    group = pq.read_metadata(path).row_group(0)
    columns = {group.column(index).path_in_schema: group.column(index) for index in range(group.num_columns)}
    assert "DELTA_BINARY_PACKED" in columns["ts_ns"].encodings
    assert not columns["sector"].has_dictionary_page
    assert columns["op"].has_dictionary_page
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert open_trace(path).counts == {"block_issue": 1}


def test_a_row_group_holds_only_the_names_that_it_uses(tmp_path: Path) -> None:
    rows = 2 * ROW_GROUP_ROWS
    paths = pa.array([f"/{number}" for number in range(rows)])
    table = pa.table({"ts_ns": range(rows), "event": ["open"] * rows, "path": paths.dictionary_encode()})
    builder = TraceBuilder()
    writer = TraceWriter(tmp_path / "t.parquet")
    writer.write("open", table)
    writer.close(builder.footer())

    groups = pq.ParquetFile(tmp_path / "t.parquet").metadata
    column = SCHEMA.names.index("path")
    sizes = [groups.row_group(group).column(column).total_uncompressed_size for group in range(2)]
    text = sum(len(path.as_py()) + 4 for path in paths[:ROW_GROUP_ROWS])
    assert all(size < 1.5 * text for size in sizes), (sizes, text)
    assert open_trace(tmp_path / "t.parquet").table("open", columns=["path"])["path"].to_pylist() == paths.to_pylist()
