"""Writing a trace: nothing is overwritten, nothing is left half done, and no secret is readable by others."""

import errno
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tracebuilder import TraceBuilder

from tracekit import writer
from tracekit.errors import UsageError
from tracekit.files import check_output, journal_path, naming, putting
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


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_file_is_never_replaced(tmp_path: Path, force: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is no regular file"):
        check_output(tmp_path / "pipe", force)


def test_a_name_leaves_room_for_that_of_its_journal(tmp_path: Path) -> None:
    longest = tmp_path / ("\u00e9" * 115)
    check_output(longest)
    journal_path(longest).with_name(f"{journal_path(longest).name}.{2**22}.tmp").touch()
    with pytest.raises(UsageError, match="is too long"):
        check_output(tmp_path / ("\u00e9" * 115 + "x"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES])
def test_where_there_is_no_room_the_file_that_was_to_be_is_named(tmp_path: Path, code: int) -> None:
    with pytest.raises(OSError, match=os.strerror(code)) as error, naming(tmp_path / "t"):
        raise OSError(code, os.strerror(code), "elsewhere")
    assert error.value.filename == ("elsewhere" if code == errno.EACCES else str(tmp_path / "t"))


def test_putting_writes_to_no_file_that_another_has_put_there(tmp_path: Path) -> None:
    path, victim = tmp_path / "t.parquet", tmp_path / "victim"
    victim.write_text("precious")
    planted = tmp_path / f".t.parquet.{os.getpid()}.tmp"
    planted.symlink_to(victim)
    with pytest.raises(FileExistsError), putting(path):
        pass
    planted.unlink()

    def be_replaced() -> None:
        with putting(path) as temporary:
            temporary.write_text("mine")
            planted.unlink()
            planted.write_text("another's")

    with pytest.raises(OSError, match="another user has replaced"):
        be_replaced()
    assert victim.read_text() == "precious"
    assert not path.exists()


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


def test_putting_takes_the_name_of_nothing_that_has_come_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"

    def meet() -> None:
        with putting(path) as temporary:
            temporary.write_text("mine")
            path.write_text("another's")

    with pytest.raises(UsageError, match="has come meanwhile"):
        meet()
    assert path.read_text() == "another's"
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


@pytest.mark.parametrize("families", [("process", "argv"), ("open", "path")])
def test_row_groups_are_no_larger_than_a_reader_takes(tmp_path: Path, families: tuple[str, str]) -> None:
    """Whether long strings are of many rows or of few, and however few distinct ones there are."""
    family, column = families
    writer = TraceWriter(tmp_path / "t.parquet")
    text = "x" * 12_000 if column == "argv" else "/" + "x" * 4000
    rows = 33_600 if column == "argv" else ROW_GROUP_ROWS
    strings = pa.repeat(pa.scalar([text], pa.list_(pa.string())), rows) if column == "argv" else pa.repeat(text, rows)
    event = {"process": "exec", "open": "open"}[family]
    columns = {"ts_ns": range(rows), "event": pa.repeat(event, rows), column: strings}
    writer.write(family, pa.table(columns))
    writer.close(TraceBuilder().footer())
    trace = open_trace(tmp_path / "t.parquet")
    trace.verify()
    assert trace.counts == {event: rows}


@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize("texts", [["x" * 50] * 3, ["x" * 200]])
def test_strings_count_each_by_itself(
    tmp_path: Path, coded: bool, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its length; and a row that is too large by itself is a row group of its own."""
    monkeypatch.setattr(writer, "_ROW_GROUP_BYTES", 110)
    path = pa.array(texts)
    made = TraceWriter(tmp_path / "t.parquet")
    columns = {"ts_ns": range(len(path)), "event": pa.repeat("open", len(path)).dictionary_encode()}
    made.write("open", pa.table(columns | {"path": path.dictionary_encode() if coded else path}))
    made.close(TraceBuilder().footer())
    assert pq.read_metadata(tmp_path / "t.parquet").num_row_groups == len(path)
    assert open_trace(tmp_path / "t.parquet").table()["path"].to_pylist() == path.to_pylist()


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
