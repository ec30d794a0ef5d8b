"""The journal: what comes back of it, however it ends."""

import dataclasses
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tracebuilder import START_NS, TraceBuilder

from tracekit import open_trace
from tracekit.capture import finish
from tracekit.capture.finish import in_time_order, recover, write_trace
from tracekit.capture.journal import RUNNING, JournalWriter, Keep
from tracekit.capture.journal_reader import JournalReader
from tracekit.errors import TraceError, UsageError
from tracekit.files import journal_path
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
    journal = JournalReader(journal_path(output))
    metadata = write_trace(journal, output, complete=True)
    journal.remove()

    trace = open_trace(output)
    assert trace.metadata == metadata
    assert trace.metadata.complete
    assert trace.metadata.duration_ns == 3 * SECOND_NS
    assert trace.metadata.counters == counted(3000)
    rows = trace.table("open")
    assert rows["ts_ns"].to_pylist() == [START_NS + 1000 * number for number in range(3000)]
    assert set(rows["path"].to_pylist()) == {f"/{name}/{n}" for name in ("a", "0", "1", "2") for n in range(3)}
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def write_segments(output: Path, segments: int = 3, keep: Keep | None = None) -> None:
    """A journal of several segments, each with two flushes of 500 opens, and of listed processes a growing number."""
    journal = JournalWriter(output, start(), force=False)
    for number in range(segments):
        listed = {"event": "process", "ts_ns": START_NS + number * SECOND_NS}
        running = [listed | {"pid": pid, "tid": pid} for pid in range(number + 1)]
        journal.append(RUNNING, pa.RecordBatch.from_pylist(running, schema=family_schema("process")))
        for half in range(2):
            first = (2 * number + half) * 500
            journal.append("open", opens_at(START_NS + number * SECOND_NS, first, 500))
            journal.flush(Anchor(START_NS + number * SECOND_NS + (half + 1) * SECOND_NS // 2, 1), counted(first + 500))
        if number + 1 < segments:
            anchor = Anchor(START_NS + (number + 1) * SECOND_NS, 1)
            journal.begin_segment(anchor, counted((number + 1) * 1000), keep)
    journal.close()


def opens_at(start_ns: int, first: int, count: int) -> pa.RecordBatch:
    """Opens that `mode` numbers."""
    times = [{"ts_ns": start_ns + n, "event": "open", "mode": n, "path": f"/{n}"} for n in range(first, first + count)]
    return pa.RecordBatch.from_pylist(times, schema=family_schema("open"))


def numbers(output: Path) -> list[int]:
    return open_trace(output).table("open", columns=["mode"])["mode"].to_pylist()  # type: ignore[no-any-return]


def test_segments_are_one_recording(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write_segments(output)
    _, metadata, damaged = recover(output, None, force=False)
    assert not damaged
    assert numbers(output) == list(range(3000))
    assert metadata.counters["process"] == Counters(seen=1, written=1)  # as listed at the beginning
    assert metadata.counters["open"] == counted(3000)["open"]
    assert metadata.duration_ns == 3 * SECOND_NS
    assert open_trace(output).counts == {"process": 1, "open": 3000}


def test_a_flight_recorder_forgets(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write_segments(output, segments=4, keep=Keep(SECOND_NS, None))
    assert {path.name[:8] for path in journal_path(output).iterdir() if path.name != "lock"} == {"00000002", "00000003"}
    journal = JournalReader(journal_path(output))
    metadata = write_trace(journal, output, complete=True)
    journal.remove()

    assert numbers(output) == list(range(2000, 4000))
    assert metadata.clock.anchors[0].boot_ns == START_NS + 2 * SECOND_NS
    assert metadata.duration_ns == 2 * SECOND_NS
    assert metadata.counters["open"] == Counters(seen=2000, written=2000)
    assert metadata.counters["process"] == Counters(seen=3, written=3)


@pytest.mark.parametrize(("segment", "lines"), [(0, 1), (1, 1), (1, 2), (2, 1)])
def test_a_damaged_account_costs_what_it_vouched_for(tmp_path: Path, segment: int, lines: int) -> None:
    """Its last lines: of all but the last segment the next one tells what they said."""
    output = tmp_path / "t.parquet"
    write_segments(output)
    account = journal_path(output) / f"0000000{segment}.account"
    whole = account.read_bytes().splitlines(keepends=True)
    account.write_bytes(b"".join([*whole[:-lines], *(b"0" + line[1:-1] + b"x" for line in whole[-lines:])]))

    _, metadata, _ = recover(output, None, force=False)
    rows = numbers(output)
    assert set(range(3000)) - set(rows) == set(range((segment + 1) * 1000 - 500 * lines, (segment + 1) * 1000))
    lost = 0 if segment == 2 else 500 * lines
    assert metadata.counters["open"] == Counters(
        seen=len(rows) + 5 + lost, filtered=5, written=len(rows), lost_damaged=lost
    )
    trace = open_trace(output)
    assert trace.pandas("lost").lost.sum() == lost


@given(segment=st.integers(0, 2), cut=st.integers(0, 100_000))
def test_whatever_is_cut_off_the_rest_comes_back(
    tmp_path_factory: pytest.TempPathFactory, segment: int, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    output = folder / "t.parquet"
    write_segments(output)
    stream = journal_path(output) / f"0000000{segment}.open.arrows"
    size = stream.stat().st_size
    with stream.open("r+b") as file:
        file.truncate(max(size - cut % (size + 1), 0))

    _, metadata, damaged = recover(output, None, force=False)
    rows = numbers(output)
    lost = sorted(set(range(3000)) - set(rows))
    assert rows == sorted(rows)
    assert lost in (
        [],
        list(range(segment * 1000 + 500, (segment + 1) * 1000)),
        list(range(segment * 1000, (segment + 1) * 1000)),
    )
    assert damaged == ((f"open events in segment {segment + 1}",) if lost else ())
    assert metadata.counters["open"] == Counters(seen=3005, filtered=5, written=len(rows), lost_damaged=len(lost))
    assert not metadata.complete
    shutil.rmtree(folder)


@settings(max_examples=300)
@given(data=st.data())
def test_flipped_bits_are_never_taken_for_events(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("flip")
    output = folder / "t.parquet"
    write_segments(output)
    path = data.draw(st.sampled_from(sorted(journal_path(output).iterdir())))
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3)) if raw else 0):
        at = data.draw(st.integers(0, 8 * len(raw) - 1))
        raw[at // 8] ^= 1 << at % 8
    path.write_bytes(raw)

    recover(output, None, force=False)
    trace = open_trace(output)
    rows = numbers(output)
    assert rows == sorted(rows)
    assert set(rows) <= set(range(3000))
    assert len(rows) >= 2000
    opened = trace.table("open", columns=["ts_ns", "mode", "path"]).to_pylist()
    assert all(row["path"] == f"/{row['mode']}" for row in opened)
    assert all(row["ts_ns"] == START_NS + row["mode"] // 1000 * SECOND_NS + row["mode"] for row in opened)
    shutil.rmtree(folder)


def test_a_torn_line_of_the_account_is_passed_over(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write(output)
    account = journal_path(output) / "00000000.account"
    account.write_text(account.read_text()[:-20])

    _, metadata, damaged = recover(journal_path(output), None, force=False)
    assert metadata.clock.anchors[-1].boot_ns == START_NS + 2 * SECOND_NS
    assert metadata.counters["open"].written == 2000
    assert damaged == ()
    assert output.exists()


def test_a_journal_of_another_name_is_not_followed(tmp_path: Path) -> None:
    """Neither a link that somebody planted at the journal's name nor one within the journal leads anywhere."""
    output, elsewhere = tmp_path / "t.parquet", tmp_path / "elsewhere"
    elsewhere.mkdir()
    journal_path(output).symlink_to(elsewhere)
    for force in (False, True):
        with pytest.raises(UsageError, match="is not the journal of a recording"):
            JournalWriter(output, start(), force)
    with pytest.raises(UsageError, match="is not the journal of a recording"):
        recover(output, None, force=False)
    assert list(elsewhere.iterdir()) == []
    journal_path(output).unlink()

    write_segments(output)
    stream = journal_path(output) / "00000001.open.arrows"
    stream.rename(elsewhere / "stream")
    stream.symlink_to(elsewhere / "stream")
    _, _, damaged = recover(output, None, force=False)
    assert damaged == ("open events in segment 2",)
    assert numbers(output) == [*range(1000), *range(2000, 3000)]


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
    with (journal_path(output) / "00000000.open.arrows").open("r+b") as file:
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
