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
from tracekit.capture.finish import recover, write_trace
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


def test_anchors_are_thinned_to_one_a_minute(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    journal = JournalWriter(output, start(), force=False)
    for second in range(0, 200):
        journal.flush(Anchor(START_NS + second * SECOND_NS, second), counted(0))
    journal.close()
    metadata = write_trace(JournalReader(journal_path(output)), output, complete=True)
    assert [(anchor.boot_ns - START_NS) // SECOND_NS for anchor in metadata.clock.anchors] == [0, 60, 120, 180, 199]
