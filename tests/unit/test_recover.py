"""From a journal to a trace: what recovering and writing keep, overwrite and count."""

import dataclasses
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journals import counted, numbers, opens, opens_at, start, write
from tracebuilder import START_NS, TraceBuilder

from tracekit import open_trace
from tracekit.capture import finish
from tracekit.capture.finish import in_time_order, recover, write_trace
from tracekit.capture.journal import JournalWriter, Keep
from tracekit.capture.journal_reader import JournalReader
from tracekit.errors import TraceError, UsageError
from tracekit.files import journal_path
from tracekit.metadata import Anchor, Counters
from tracekit.units import SECOND_NS


def write_with_its_trace(output: Path) -> None:
    """A journal beside its trace, as who was killed between writing one and removing the other leaves them."""
    write(output)
    journal = JournalReader(journal_path(output))
    write_trace(journal, output, complete=True)
    journal.close()


def test_an_unfinished_recording_is_not_overwritten(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write(output)
    with pytest.raises(UsageError, match=f"tracekit recover {output}"):
        JournalWriter(output, start(), force=False)
    JournalWriter(output, start(), force=True).close()
    with pytest.raises(TraceError, match="nothing can be recovered"):
        recover(output, None, force=False)


def test_recovering_twice_does_no_harm(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write(output)
    recover(output, None, force=False)
    before = output.read_bytes()
    with pytest.raises(UsageError, match="no unfinished recording"):
        recover(output, None, force=False)
    assert output.read_bytes() == before


def test_where_there_is_nothing_to_recover(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no unfinished recording at"):
        recover(tmp_path / "t.parquet", None, force=False)


def test_recovering_does_not_overwrite(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write(output)
    output.write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        recover(output, None, force=False)
    other, _, _ = recover(output, tmp_path / "other.parquet", force=False)
    assert open_trace(other).metadata.counters["open"].written == 3000
    assert output.read_text() == "precious"


def test_the_trace_of_another_recording_is_not_taken_for_that_of_the_journal(tmp_path: Path) -> None:
    output = TraceBuilder().write(tmp_path / "t.parquet")
    before = output.read_bytes()
    write(output)
    with pytest.raises(UsageError, match="exists already"):
        recover(output, None, force=False)
    assert output.read_bytes() == before
    assert recover(output, None, force=True)[1].counters["open"].written == 3000


def test_a_recorder_that_was_killed_when_its_trace_was_there(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write_with_its_trace(output)
    before = output.read_bytes()
    assert recover(output, None, force=False)[1].complete
    assert output.read_bytes() == before
    assert not journal_path(output).exists()


def test_a_journal_stays_until_its_trace_can_be_read(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write_with_its_trace(output)
    with output.open("r+b") as file:
        file.seek(100)
        file.write(bytes(100))
    with pytest.raises(TraceError, match="is damaged in row group 0"):
        recover(output, None, force=False)
    assert recover(output, tmp_path / "other.parquet", force=False)[1].counters["open"].written == 3000


def test_a_damaged_journal_does_not_pass_for_a_whole_recording(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write(output)
    with (journal_path(output) / "00000000.open.arrows").open("r+b") as file:
        file.truncate(file.seek(0, 2) - 600)
    journal = JournalReader(journal_path(output))
    with pytest.raises(TraceError, match="2000 of 3000 open events"):
        write_trace(journal, output, complete=True)
    journal.close()
    assert not output.exists()
    assert recover(output, None, force=False)[1].counters["open"].written == 2000


def test_a_damaged_account_does_not_pass_for_a_whole_recording(tmp_path: Path) -> None:
    """Even if all events are there: nobody knows what the line said."""
    output = tmp_path / "t.parquet"
    write(output)
    account = journal_path(output) / "00000000.account"
    lines = account.read_bytes().splitlines(keepends=True)
    account.write_bytes(b"".join([*lines[:2], b"x" + lines[2][1:], *lines[3:]]))
    journal = JournalReader(journal_path(output))
    with pytest.raises(TraceError, match="damaged while recording: a line of the account in segment 1"):
        write_trace(journal, output, complete=True)
    journal.close()
    assert recover(output, None, force=False)[1].counters["open"].written == 3000


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


@pytest.mark.parametrize("name", [None, "other.parquet"])
def test_what_a_killed_writer_left_goes(tmp_path: Path, name: str | None) -> None:
    output = tmp_path / "t.parquet"
    write(output)
    for left in (".t.parquet.123.tmp", ".t-20261123T020000Z.parquet.123.tmp", ".t.parquet.123.tmp.mine.tmp"):
        (tmp_path / left).write_text("half")
    recover(output, name and tmp_path / name, force=False)
    assert {path.name for path in tmp_path.iterdir()} == {name or "t.parquet", ".t.parquet.123.tmp.mine.tmp"}


def test_a_trace_that_is_still_to_come_says_whether_to_wait_or_to_recover(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    journal = JournalWriter(output, start(), force=False)
    with pytest.raises(UsageError, match="it is being recorded: wait for the end"):
        open_trace(output)
    journal.close()
    with pytest.raises(UsageError, match=f"its recorder was killed: run `tracekit recover {output}`"):
        open_trace(output)


def test_a_journal_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    metadata = dataclasses.replace(start(), command=("\udcff",))
    with pytest.raises(UnicodeEncodeError):
        JournalWriter(tmp_path / "t.parquet", metadata, force=False)
    assert list(tmp_path.iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 40), max_size=8), max_size=8), st.integers(1, 30))
def test_nearly_sorted_batches_come_in_order(
    monkeypatch: pytest.MonkeyPatch, seconds: list[list[int]], piece_rows: int
) -> None:
    monkeypatch.setattr(finish, "_PIECE_ROWS", piece_rows)
    times = [[START_NS + second * SECOND_NS for second in batch] for batch in seconds]
    schema = pa.schema([("ts_ns", pa.int64()), ("n", pa.int64())])
    numbered = iter(range(1000))
    batches = [
        pa.RecordBatch.from_pylist([{"ts_ns": time, "n": next(numbered)} for time in batch], schema=schema)
        for batch in times
    ]
    pieces = list(in_time_order(lambda columns: iter(batches)))

    assert all(piece.num_rows for piece in pieces)
    rows = [row for piece in pieces for row in piece.to_pylist()]
    assert [row["ts_ns"] for row in rows] == sorted(time for batch in times for time in batch)
    assert sorted(row["n"] for row in rows) == list(range(len(rows)))


def test_pieces_come_as_soon_as_they_can(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [opens(second * 10_000_000, 100, "/") for second in range(50)]
    monkeypatch.setattr(finish, "_PIECE_ROWS", 100)
    assert len(list(in_time_order(lambda columns: iter(batches)))) == 50


def test_what_is_late_does_not_hold_up_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that took as long as the recording is read ahead; all between would else wait for it in memory."""
    batches = [opens(second * 10_000_000, 100, "/") for second in range(50)]
    monkeypatch.setattr(finish, "_PIECE_ROWS", 100)
    late = [*batches[:-1], pa.concat_batches([batches[-1], opens(5, 1, "/")])]
    pieces = list(in_time_order(lambda columns: iter(late)))
    assert len(pieces) == 50
    assert pieces[0]["ts_ns"].to_pylist().count(START_NS + 5000) == 2


def test_a_copy_on_the_way_counts_nothing_that_is_still_to_be_written(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    journal = JournalWriter(output, start(), force=False)
    journal.append("open", opens(0, 1000, "/"))
    seen = {"open": Counters(seen=1017, filtered=5, written=1000, lost_ring_full=3)}
    journal.flush(Anchor(START_NS + SECOND_NS, 1), seen)
    copied = write_trace(JournalReader(journal_path(output), beside_recorder=True), output, complete=True)
    assert copied.counters["open"] == Counters(seen=1008, filtered=5, written=1000, lost_ring_full=3)
    journal.close()


def test_a_recording_lasts_until_its_last_event(tmp_path: Path) -> None:
    """Which may come after the clocks were read for the last time."""
    output = tmp_path / "t.parquet"
    journal = JournalWriter(output, start(), force=False)
    journal.append("open", opens_at(START_NS + SECOND_NS, 0, 20))
    journal.flush(Anchor(START_NS + SECOND_NS // 2, 1), counted(20))
    journal.close()
    assert write_trace(JournalReader(journal_path(output)), output, complete=True).duration_ns == SECOND_NS + 19


def test_anchors_are_thinned_to_one_a_minute(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    journal = JournalWriter(output, start(), force=False)
    for second in range(0, 200):
        journal.flush(Anchor(START_NS + second * SECOND_NS, second), counted(0))
    journal.close()
    metadata = write_trace(JournalReader(journal_path(output)), output, complete=True)
    assert [(anchor.boot_ns - START_NS) // SECOND_NS for anchor in metadata.clock.anchors] == [0, 60, 120, 180, 199]


def test_what_is_older_than_a_flight_recorders_memory_counts_as_filtered(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    start_ns = START_NS + SECOND_NS
    journal = JournalWriter(output, start(), force=False)
    journal.flush(Anchor(start_ns - 1, 1), counted(0))
    journal.begin_segment(Anchor(start_ns, 1), counted(0), Keep(0, None))
    journal.append("open", opens_at(start_ns - 7, 0, 20))  # the first seven are older
    journal.flush(Anchor(start_ns + SECOND_NS, 1), counted(20))
    journal.close()
    metadata = write_trace(JournalReader(journal_path(output)), output, complete=True)
    assert numbers(output) == list(range(7, 20))
    assert metadata.counters["open"] == Counters(seen=20, filtered=7, written=13)
