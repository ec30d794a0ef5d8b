"""Perfetto's format, decoded by Perfetto's own definitions, with the rules of tracks and slices checked."""

import io
from operator import itemgetter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hostile import NAMES, hostile
from perfetto_reader import Read, read_perfetto
from tracebuilder import START_NS, TraceBuilder

from tracekit import Trace, open_trace
from tracekit.analyze import analyze
from tracekit.errors import TraceError
from tracekit.exchange.give import Export, give
from tracekit.exchange.perfetto import to_perfetto
from tracekit.writer import TraceWriter

SAMPLES = sorted((Path(__file__).parents[2] / "sample_traces").glob("*.parquet"))
MS = 1_000_000


def exported(trace: Trace) -> Read:
    sink = io.BytesIO()
    packets = to_perfetto(trace, sink)
    read = read_perfetto(sink.getvalue())
    assert read.packets == packets
    return read


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_everything_of_a_sample_is_there(path: Path) -> None:
    trace = open_trace(path)
    read = exported(trace)
    counts = trace.counts
    assert len(read.of("open")) == counts.get("open", 0)
    assert len(read.of("exec")) == counts.get("exec", 0)
    assert len(read.of("exec_failed")) == counts.get("exec_failed", 0)
    io = trace.block()
    assert len(read.of("block")) == int((io.issue_ns.notna() | io.start_ns.notna()).sum())
    known = io[io.device_ns.notna()]
    drawn = sorted(one.end_ns - one.begin_ns for one in read.of("block") if one.end_ns is not None)
    assert set(known.device_ns) <= set(drawn)
    assert all(read.root(one.track) == "Block I/O" for one in read.of("block"))
    assert {read.tracks[one.track].name for one in read.of("block")} == set(io.disk.dropna())
    findings = analyze(trace).findings
    assert [one.name for one in sorted(read.of("mark"), key=lambda one: one.track)] == [
        f"{one.rank}. {one.title}" for one in findings
    ]
    forks = trace.pandas("fork", columns=["pid"])
    pids = [track.process.pid for track in read.tracks.values() if track.HasField("process")]
    assert set(forks.pid) <= set(pids)
    ran = [row for row in trace.table("process", "exec").to_pylist() if row["argv"]]
    last = {row["pid"]: (row["ppid"], row["uid"], row["argv"]) for row in sorted(ran, key=itemgetter("ts_ns"))}
    listed = {
        one.pid: (one.ppid, one.uid, list(one.cmdline)) for one in read.listed.values() if not one.cmdline_is_comm
    }
    assert listed == last
    others = {one.pid: one.ppid for one in read.listed.values() if one.cmdline_is_comm}
    forked = dict(trace.pandas("fork", columns=["pid", "ppid"]).itertuples(index=False))
    assert others.items() >= {pid: ppid for pid, ppid in forked.items() if pid not in last}.items()
    assert [boot for boot, _ in read.clocks] == [anchor.boot_ns for anchor in trace.metadata.clock.anchors]
    # A life is drawn around the programs of its process, which follow each other.
    assert {one.depth for one in read.of("process")} <= {0}
    assert {one.depth for one in read.of("exec")} <= {1}


def test_overlapping_io_is_on_lanes(tmp_path: Path) -> None:
    builder = TraceBuilder()
    for number in range(5):  # each begins before the others end, but for the last
        at, request = (number * MS, number) if number < 4 else (100 * MS, 0)
        place = {"dev": 8 << 20, "disk": "sda", "request": request, "sector": number * 8, "bytes": 512, "op": "read"}
        builder.add("block_start", at, comm="reader", pid=7, **place).add("block_issue", at + 10, **place)
        builder.add("block_complete", at + 20 * MS, ret=0, **place)
    builder.add("block_issue", 9_900 * MS, dev=9 << 20, disk="sdb", request=1, sector=1, bytes=1, op="write")
    read = exported(builder.trace(tmp_path / "t.parquet"))
    slices = read.of("block")
    assert len({one.track for one in slices[:4]}) == 4
    assert slices[4].track in {one.track for one in slices[:4]}
    assert {one.depth for one in slices} == {0}
    assert slices[0].notes["comm"] == "reader"
    assert slices[0].notes["queue_ns"] == 10
    assert [read.tracks[one.track].name for one in slices] == ["sda"] * 5 + ["sdb"]
    assert slices[5].notes["fate"] == "still under way"
    assert slices[5].end_ns == START_NS + 10_000 * MS


def test_a_pid_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    builder = TraceBuilder()
    for turn in range(5):
        at, who = turn * 100 * MS, {"pid": 7, "tid": 7}
        builder.add("fork", at, ppid=100 + turn, comm="sh", **who)
        builder.add("exec", at + MS, comm=f"run{turn}", path=f"/run{turn}", argv=[f"/run{turn}", "x y"], **who)
        for number in range(3):
            builder.add("open", at + (2 + number) * MS // 2, path="/f", ret=3, duration_ns=5, comm=f"run{turn}", **who)
        builder.add("exit", at + 3 * MS, exit_code=turn, exit_signal=0, comm=f"run{turn}", **who)
    read = exported(builder.trace(tmp_path / "t.parquet"))
    lives = [one for one in read.of("process") if one.notes["pid"] == 7]
    assert [(one.name, one.notes["exit_code"]) for one in lives] == [(f"run{turn}", turn) for turn in range(5)]
    assert [one.end_ns - one.begin_ns for one in lives] == [3 * MS] * 5
    listed = [read.listed[read.process[one.track]] for one in lives]
    assert [(one.ppid, *one.cmdline) for one in listed] == [(100 + turn, f"/run{turn}", "x y") for turn in range(5)]
    opens = read.of("open")
    assert [read.tracks[one.track].parent_uuid for one in opens] == [one.track for one in lives for _ in range(3)]
    assert {read.tracks[one.track].thread.tid for one in opens} == {7}


def test_a_name_with_a_space_is_whole(tmp_path: Path) -> None:
    builder = TraceBuilder()
    for number, comm in enumerate(("Web Content", "sh")):
        builder.add("fork", number, pid=7 + number, tid=7 + number, ppid=1, comm=comm)
    builder.add("exec", 9, pid=9, tid=9, ppid=1, uid=5, comm="bare", path="/bare", argv=[])
    read = exported(builder.trace(tmp_path / "t.parquet"))
    told = {one.pid: [*one.cmdline] for one in read.listed.values()}
    assert told.items() >= {7: ["Web Content", ""], 8: ["sh"], 9: ["bare"]}.items()


def test_what_a_coarse_clock_makes_overlap_is_cut(tmp_path: Path) -> None:
    builder = TraceBuilder()
    for number in range(3):
        builder.add("open", number * 10, pid=5, tid=5, comm="a", path=str(number), ret=3, duration_ns=25)
    builder.add("open", 40, pid=5, tid=6, comm="a", path="other thread", ret=3, duration_ns=25)
    builder.add("open", 50, pid=None, tid=None, comm=None, path=None, ret=None, duration_ns=None)
    slices = exported(builder.trace(tmp_path / "t.parquet")).of("open")
    assert [one.end_ns - one.begin_ns for one in slices[:4]] == [10, 10, 25, 25]
    assert (slices[4].name, slices[4].end_ns) == ("?", None)


def test_more_than_a_piece_of_everything(tmp_path: Path) -> None:
    count = 20_011
    builder = TraceBuilder(duration_ns=count * 1000)
    for number in range(count):
        at, who = number * 1000, {"pid": 2 + number % 9973, "tid": 2 + number % 9973, "comm": f"c{number % 7}"}
        builder.add("exec", at, path=f"/bin/{number % 11}", argv=[str(number)], ppid=1, **who)
        builder.add("open", at, path=f"/{number}", ret=number % 5 - 2, duration_ns=number % 3000, **who)
        place = {"dev": 1, "disk": "sda", "request": number % 13, "sector": number, "bytes": 512, "op": "read"}
        builder.add("block_issue", at, **place).add("block_complete", at + 10_000, ret=0, **place)
    read = exported(builder.trace(tmp_path / "t.parquet"))
    assert [one.name for one in read.of("open")] == [f"/{number}" for number in range(count)]
    assert [one.notes["arguments"] for one in read.of("exec")] == [str(number) for number in range(count)]
    assert len(read.of("block")) == count
    assert len({one.track for one in read.of("block")}) <= 13 + 2


def test_lost_events_and_hostile_names(tmp_path: Path) -> None:
    builder = hostile().add("lost", 5000 * MS, start_ns=START_NS + 4000 * MS, lost=1234, lost_family="open")
    builder.add("lost", 5000 * MS, start_ns=START_NS + 4500 * MS, lost=1, lost_family=None)
    builder.add("exec_failed", 1, pid=-5, path=NAMES[0], ret=-2)
    read = exported(builder.trace(tmp_path / "t.parquet"))
    assert {one.notes["comm"] for one in read.of("open")} == set(NAMES)
    lost = [one for one in read.of("mark") if read.root(one.track) == "Lost events"]
    assert [one.name for one in lost] == ["1,234 open events lost", "1 ? events lost"]
    assert len({one.track for one in lost}) == 2
    assert read.of("exec_failed")[0].name == f"fails: {NAMES[0]}"


def test_a_trace_with_strings_that_are_no_text_is_not_exported(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    footer = TraceBuilder().metadata().footer()
    writer = TraceWriter(path)
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 3], np.int32)), pa.py_buffer(b"/\xff/")]
    )
    rows = {"ts_ns": pa.array([START_NS]), "event": pa.array(["open"]), "path": bad, "comm": bad, "pid": pa.array([1])}
    arrays = {name: pc.dictionary_encode(array) if array.type == pa.string() else array for name, array in rows.items()}
    writer.write("open", pa.table(arrays))
    writer.close(footer)
    for ending in ("csv", "jsonl", "arrow", "perfetto-trace"):
        with pytest.raises(TraceError, match="holds text that is not UTF-8"):
            give(Export(path, tmp_path / f"t.{ending}"))
    assert list(tmp_path.iterdir()) == [path]


def test_a_trace_without_anything(tmp_path: Path) -> None:
    read = exported(TraceBuilder().trace(tmp_path / "t.parquet"))
    assert read.slices == []
