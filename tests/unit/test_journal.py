"""The journal: what comes back of it, however it ends."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import counted, numbers, opens, seal, start, stream_of, write, write_segments
from tracebuilder import START_NS

from tracekit import open_trace
from tracekit.capture.finish import recover, write_trace
from tracekit.capture.journal import JournalWriter, Keep
from tracekit.capture.journal_reader import JournalReader
from tracekit.errors import TraceError, UsageError
from tracekit.files import journal_path
from tracekit.metadata import Counters
from tracekit.schema import family_schema
from tracekit.units import SECOND_NS


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


def test_a_damaged_first_line_of_an_account_costs_no_flush(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write_segments(output)
    account = journal_path(output) / "00000001.account"
    first, flush, _ = account.read_bytes().splitlines(keepends=True)
    account.write_bytes(b"x" + first[1:] + flush)
    _, _, damaged = recover(output, None, force=False)
    assert damaged == ("a line of the account in segment 2",)
    assert numbers(output) == [*range(1500), *range(2000, 3000)]


@pytest.mark.parametrize(("left", "since_ns"), [(0, 0), (1, SECOND_NS // 2)])
def test_what_a_damaged_stream_had_was_lost_since_its_last_whole_flush(
    tmp_path: Path, left: int, since_ns: int
) -> None:
    output = tmp_path / "t.parquet"
    write_segments(output)
    folder = journal_path(output)
    line = (folder / "00000001.account").read_bytes().splitlines()[1]
    size, _ = json.loads(line[9:])["streams"]["open"]
    with (folder / "00000001.open.arrows").open("r+b") as file:
        file.truncate(left * size + 7)
    recover(output, None, force=False)
    (lost,) = open_trace(output).table("lost", columns=["start_ns", "ts_ns", "lost"]).to_pylist()
    begin = START_NS + SECOND_NS
    assert lost == {"start_ns": begin + since_ns, "ts_ns": begin + SECOND_NS, "lost": 1000 - 500 * left}


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


def beyond_the_dictionary() -> pa.RecordBatch:
    rows = opens(0, 3, "/")
    place = rows.schema.get_field_index("path")
    wild = pa.DictionaryArray.from_arrays(pa.array([0, 1, 1 << 30], pa.int32()), pa.array(["a", "b"]), safe=False)
    return rows.set_column(place, rows.schema.field(place), wild)


def without_names(rows: pa.RecordBatch) -> pa.RecordBatch:
    place = rows.schema.get_field_index("event")
    return rows.set_column(place, rows.schema.field(place), pa.nulls(len(rows), rows.schema.field(place).type))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (beyond_the_dictionary(), "out of bounds"),
        (opens(0, 3, "/").drop_columns("path"), "other columns"),
        (opens(0, 3, "/").set_column(0, family_schema("open").field(0), pa.nulls(3, pa.int64())), "without a time"),
        (without_names(opens(0, 3, "/")), "without a time or a name"),
    ],
)
def test_checksums_that_are_right_vouch_for_no_sense(rows: pa.RecordBatch, words: str, tmp_path: Path) -> None:
    """Whoever may write the journal may write its checksums."""
    output = tmp_path / "t.parquet"
    write(output, seconds=1)
    (journal_path(output) / "00000000.open.arrows").write_bytes(stream_of(rows))
    seal(journal_path(output))
    with pytest.raises(TraceError, match=f"00000000.open.arrows is damaged, though its checksums are right: .*{words}"):
        recover(output, None, force=False)
    assert not output.exists()
    assert journal_path(output).exists()


def test_an_account_that_vouches_for_more_than_there_is(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write(output, seconds=1)
    seal(journal_path(output), more=1)
    _, metadata, damaged = recover(output, None, force=False)
    assert damaged == ("open events in segment 1",)
    assert metadata.counters["open"].lost_damaged == 1000


LONG_AGO = {"boot_ns": -(2**63), "realtime_ns": 0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda told: told.get("clock", {}).update(anchors=[]), "damaged from its beginning"),
        (lambda told: told.update(counters={"open": {"seen": []}}), "damaged from its beginning"),
        (lambda told: told.update(counters={"proaess": {}}), "damaged from its beginning"),
        (lambda told: told.update(boot_ns=1e300), "breaks off before the first events"),
        (lambda told: told.update(counters={"proaess": {}}) if "streams" in told else None, "breaks off before"),
        (lambda told: told.update(streams=7) if "streams" in told else None, "breaks off before the first events"),
        (lambda told: told.get("clock", {}).update(anchors=[LONG_AGO]), "metadata is damaged"),
    ],
)
def test_accounts_that_make_no_sense(change: Callable[[dict[str, Any]], object], words: str, tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    write(output, seconds=1, rows=3)
    folder = journal_path(output)
    seal(folder, change)
    with pytest.raises(TraceError, match=words):
        recover(output, None, force=False)
    assert not output.exists()
    assert folder.exists()


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
