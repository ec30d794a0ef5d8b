"""The journal: what comes back of it, however it ends."""

import dataclasses
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tracebuilder import START_NS, TraceBuilder

from tracekit import open_trace
from tracekit.capture.finish import in_time_order, recover, write_trace
from tracekit.capture.journal import JournalReader, JournalWriter, journal_path
from tracekit.errors import TraceError, UsageError
from tracekit.metadata import Anchor, Clock, Counters, Metadata
from tracekit.schema import family_schema
from tracekit.units import SECOND_NS


def start() -> Metadata:
    return dataclasses.replace(TraceBuilder().footer(), duration_ns=0, clock=Clock(anchors=(Anchor(START_NS, 0),)))


def opens(first: int, count: int, path: str) -> pa.RecordBatch:
    """Opens at one a microsecond, latest first, as the calls may return."""
    rows = [
        {
            "ts_ns": START_NS + 1000 * number,
            "event": "open",
            "cpu": 0,
            "pid": 7,
            "tid": 7,
            "path": f"{path}{number % 3}",
        }
        for number in reversed(range(first, first + count))
    ]
    return pa.RecordBatch.from_pylist(rows, schema=family_schema("open"))


def counted(rows: int) -> dict[str, Counters]:
    return {"process": Counters(), "block": Counters(), "open": Counters(seen=rows + 5, filtered=5, written=rows)}


def write(output: Path, seconds: int = 3, rows: int = 1000) -> None:
    journal = JournalWriter(output, start(), force=False)
    for second in range(seconds):
        journal.append("open", opens(second * rows, rows // 2, "/a/"))
        journal.append("open", opens(second * rows + rows // 2, rows - rows // 2, f"/{second}/"))
        journal.flush(Anchor(START_NS + (second + 1) * SECOND_NS, 1), counted((second + 1) * rows))
    journal.close()


def test_a_journal_becomes_a_trace(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write(output)
    metadata = write_trace(JournalReader(journal_path(output)), output, complete=True)

    trace = open_trace(output)
    assert trace.metadata == metadata
    assert trace.metadata.complete
    assert trace.metadata.duration_ns == 3 * SECOND_NS
    assert trace.metadata.counters == counted(3000)
    rows = trace.table("open")
    assert rows["ts_ns"].to_pylist() == [START_NS + 1000 * number for number in range(3000)]
    assert set(rows["path"].to_pylist()) == {f"/{name}/{n}" for name in ("a", "0", "1", "2") for n in range(3)}
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


@given(cut=st.integers(0, 100_000))
def test_whatever_is_cut_off_the_whole_batches_come_back(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("cut")
    output = folder / "t.parquet"
    write(output)
    stream = journal_path(output) / "open.arrows"
    size = stream.stat().st_size
    with stream.open("r+b") as file:
        file.truncate(max(size - cut % (size + 1), 0))

    _, metadata, _ = recover(output, None, force=False)
    rows = open_trace(output).table("open", columns=["ts_ns"])["ts_ns"].to_pylist()
    assert len(rows) in (0, 1000, 2000, 3000)
    assert rows == [START_NS + 1000 * number for number in range(len(rows))]
    assert metadata.counters["open"] == Counters(seen=len(rows) + 5, filtered=5, written=len(rows))
    assert not metadata.complete
    shutil.rmtree(folder)


def test_a_torn_line_of_progress_is_passed_over(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write(output)
    progress = journal_path(output) / "progress.jsonl"
    progress.write_text(progress.read_text()[:-20])

    _, metadata, damaged = recover(journal_path(output), None, force=False)
    assert metadata.clock.anchors[-1].boot_ns == START_NS + 2 * SECOND_NS
    assert metadata.counters["open"].written == 3000
    assert damaged == ("a line of progress.jsonl",)
    assert output.exists()


def test_an_unfinished_recording_is_not_overwritten(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write(output)
    with pytest.raises(UsageError, match=f"tracekit recover {output}"):
        JournalWriter(output, start(), force=False)
    JournalWriter(output, start(), force=True).close()
    with pytest.raises(TraceError, match="nothing to recover"):
        recover(output, None, force=False)


def test_recovering_twice_does_no_harm(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write(output)
    recover(output, None, force=False)
    before = output.read_bytes()
    with pytest.raises(UsageError, match="no unfinished recording"):
        recover(output, None, force=False)
    assert output.read_bytes() == before


def test_recovering_does_not_overwrite(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write(output)
    output.write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        recover(output, None, force=False)
    other, _, _ = recover(output, tmp_path / "other.parquet", force=False)
    assert open_trace(other).metadata.counters["open"].written == 3000
    assert output.read_text() == "precious"


def test_a_damaged_journal_does_not_pass_for_a_whole_recording(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write(output)
    with (journal_path(output) / "open.arrows").open("r+b") as file:
        file.truncate(file.seek(0, 2) - 600)
    journal = JournalReader(journal_path(output))
    with pytest.raises(TraceError, match="2000 of 3000 open events"):
        write_trace(journal, output, complete=True)
    journal.close()
    assert not output.exists()
    assert recover(output, None, force=False)[1].counters["open"].written == 2000


def test_a_file_that_came_meanwhile_is_kept(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write(output)
    output.write_text("precious")
    journal = JournalReader(journal_path(output))
    with pytest.raises(UsageError, match=f"tracekit recover {output} -o NAME"):
        write_trace(journal, output, complete=True)
    journal.close()
    assert output.read_text() == "precious"
    assert recover(output, tmp_path / "other", force=False)[1].counters["open"].written == 3000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "t.parquet"]


def test_what_a_killed_writer_left_goes(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write(output)
    (tmp_path / ".t.parquet.123.tmp").write_text("half")
    recover(output, None, force=False)
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_a_journal_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    metadata = dataclasses.replace(start(), command=("\udcff",))
    with pytest.raises(UnicodeEncodeError):
        JournalWriter(tmp_path / "t.parquet", metadata, force=False)
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.lists(st.integers(0, 40), max_size=8), max_size=8))
def test_nearly_sorted_batches_come_in_order(seconds: list[list[int]]) -> None:
    times = [[START_NS + second * SECOND_NS for second in batch] for batch in seconds]
    schema = pa.schema([("ts_ns", pa.int64()), ("n", pa.int64())])
    numbered = iter(range(1000))
    batches = [
        pa.RecordBatch.from_pylist([{"ts_ns": time, "n": next(numbered)} for time in batch], schema=schema)
        for batch in times
    ]
    pieces = list(in_time_order(lambda: iter(batches)))

    assert all(piece.num_rows for piece in pieces)
    rows = [row for piece in pieces for row in piece.to_pylist()]
    assert [row["ts_ns"] for row in rows] == sorted(time for batch in times for time in batch)
    assert sorted(row["n"] for row in rows) == list(range(len(rows)))


def test_pieces_come_as_soon_as_they_can() -> None:
    batches = [opens(second * 10_000_000, 100, "/") for second in range(50)]
    assert len(list(in_time_order(lambda: iter(batches)))) == 50


def test_anchors_are_thinned_to_one_a_minute(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    journal = JournalWriter(output, start(), force=False)
    for second in range(0, 200):
        journal.flush(Anchor(START_NS + second * SECOND_NS, second), counted(0))
    journal.close()
    metadata = write_trace(JournalReader(journal_path(output)), output, complete=True)
    assert [(anchor.boot_ns - START_NS) // SECOND_NS for anchor in metadata.clock.anchors] == [0, 60, 120, 180, 199]
