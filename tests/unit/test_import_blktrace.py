"""What blktrace wrote, and what blkparse makes of the same files, become the same trace."""

import subprocess
from pathlib import Path

import blktrace_files as files
import pytest
from needs import must_have

from tracekit import Recording, open_trace
from tracekit.errors import TraceError
from tracekit.exchange.bring import Import, Imported, bring

MS = 1_000_000


def disk(folder: Path, order: str = "<") -> list[Path]:
    """Two CPUs' files: 101 reads from 1 s on, a write with an error, a flush, and things that are no event."""
    start = 1000 * MS
    cpus = [[], []]
    sequence = [0, 0]

    def add(cpu: int, time: int, action: int, **fields: int | bytes) -> None:
        sequence[cpu] += 1
        cpus[cpu].append(files.record(sequence[cpu], time, action, cpu=cpu, order=order, **fields))

    cpus[0] += [files.wall_clock(start - MS, 1_700_000_000, 5, order), files.process(71, b"reader", order=order)]
    cpus[1].append(files.process(72, b"wr iter", 1, order=order))
    for number in range(101):
        at, place = start + number * MS, {"sector": 8 * number, "size": 4096, "pid": 71}
        add(0, at - 10, files.QUEUE | files.READ, **place)
        add(0, at, files.GET_REQUEST | files.READ, **place)
        if number % 10 == 0:
            add(0, at + 5, files.REMAP | files.READ, payload=b"\0" * 16, **place)
        add(0, at + 1000, files.ISSUE | files.READ, **place)
        add(1, at + 90_000, files.COMPLETE | files.READ, sector=8 * number, size=4096)
    write = {"sector": 4096, "size": 8192, "pid": 72}
    for action, at in ((files.GET_REQUEST, 0), (files.ISSUE, 500), (files.REQUEUE, 600), (files.ISSUE, 700)):
        add(1, start + 200 * MS + at, action | files.WRITE | files.SYNC, **write)
    add(1, start + 201 * MS, files.COMPLETE | files.WRITE | files.SYNC, error=-5, **write)
    add(1, start + 202 * MS, files.ISSUE | files.FLUSH, pid=72)
    add(1, start + 203 * MS, files.COMPLETE | files.FLUSH)
    paths = []
    for cpu, parts in enumerate(cpus):
        paths.append(folder / f"sdb.blktrace.{cpu}")
        paths[-1].write_bytes(b"".join(parts))
    return paths


def imported(folder: Path, *sources: Path) -> tuple[Recording, Imported]:
    output = folder / "imported.parquet"
    done = bring(Import(sources, output, force=True))
    return open_trace(output), done


@pytest.mark.parametrize("order", ["<", ">"])
def test_files_of_two_cpus(tmp_path: Path, order: str) -> None:
    trace, done = imported(tmp_path, *disk(tmp_path, order))

    assert done.format == "blktrace"
    assert done.tally.nonsense == 0
    assert trace.counts == {"block_start": 102, "block_issue": 104, "block_requeue": 1, "block_complete": 103}
    assert done.tally.passed_over == {"action Q": 101, "action A": 11}
    rows = trace.pandas()
    assert rows.ts_ns.is_monotonic_increasing
    assert set(rows.disk) == {"sdb"}
    assert set(rows.dev) == {files.DEV}
    assert rows.pid.isna().all()  # blktrace tells threads
    reads = trace.block()[lambda io: io.op == "read"]
    assert len(reads) == 101
    assert set(reads.device_ns) == {89_000}
    assert set(reads.queue_ns) == {1000}
    assert set(reads.comm) == {"reader"}
    last = rows[rows.event == "block_complete"].iloc[-2:]
    assert list(last.ret) == [-5, 0]
    assert list(last.op) == ["write", "flush"]
    assert last.sector.isna().tolist() == [False, True]
    clock = trace.metadata.clock
    assert (clock.name, clock.resolution_ns) == ("CLOCK_MONOTONIC", 1)
    assert int(clock.realtime_ns(1000 * MS)) == 1_700_000_000 * 10**9 + 5 + MS
    assert not trace.metadata.counters["block"].lost


def test_dropped_events_become_lost_rows(tmp_path: Path) -> None:
    first = files.record(1, 100, files.GET_REQUEST | files.READ, sector=8, size=512)
    later = files.record(5, 900, files.ISSUE | files.READ, sector=8, size=512)
    path = tmp_path / "nvme0n1.blktrace.0"
    path.write_bytes(first + later)
    trace, _ = imported(tmp_path, path)
    assert trace.table("lost").select(["start_ns", "ts_ns", "lost", "lost_family"]).to_pylist() == [
        {"start_ns": 100, "ts_ns": 900, "lost": 3, "lost_family": "block"}
    ]
    assert trace.metadata.counters["block"].lost == 3


def test_a_loss_between_clocks_that_disagree_has_no_negative_length(tmp_path: Path) -> None:
    path = tmp_path / "sda.blktrace.0"
    path.write_bytes(
        b"".join(files.record(n, at, files.ISSUE | files.READ, size=512) for n, at in ((1, 900), (5, 100)))
    )
    trace, _ = imported(tmp_path, path)
    assert trace.table("lost").select(["start_ns", "ts_ns"]).to_pylist() == [{"start_ns": 900, "ts_ns": 900}]


def test_what_a_request_does(tmp_path: Path) -> None:
    """A write that flushes first is a write, and what a command to the driver does is not known."""
    kinds = (files.FLUSH, files.FLUSH | files.WRITE, files.DISCARD | files.WRITE, files.PASSTHROUGH | files.WRITE)
    path = tmp_path / "sda.blktrace.0"
    path.write_bytes(
        b"".join(
            files.record(number, number, files.ISSUE | kind, size=0 if kind == files.FLUSH else 4096)
            for number, kind in enumerate(kinds, 1)
        )
    )
    trace, _ = imported(tmp_path, path)
    assert trace.table(columns=["op"])["op"].to_pylist() == ["flush", "write", "discard", None]


def test_garbage_between_records_is_counted_and_the_rest_is_kept(tmp_path: Path) -> None:
    parts = [files.record(n, 100 * n, files.ISSUE | files.READ, sector=8 * n, size=512) for n in range(1, 5)]
    path = tmp_path / "sda.blktrace.0"
    path.write_bytes(parts[0] + parts[1] + b"garbage" * 9 + parts[2] + parts[3][:30])
    trace, done = imported(tmp_path, path)
    assert trace.counts == {"block_issue": 3}
    assert done.tally.nonsense == 2


def test_a_length_that_is_wrong_costs_one_record(tmp_path: Path) -> None:
    parts = [files.record(n, 100 * n, files.ISSUE | files.READ, sector=8 * n, size=512) for n in range(1, 5)]
    path = tmp_path / "sda.blktrace.0"
    path.write_bytes(parts[0] + parts[1][:-2] + b"\xff\xff" + parts[2] + parts[3])
    trace, done = imported(tmp_path, path)
    assert trace.table("block_issue")["sector"].to_pylist() == [8, 24, 32]
    assert done.tally.nonsense > 0
    path.write_bytes(parts[0] + files.record(2, 200, files.ISSUE | files.READ, payload=b"cut off")[:-1])
    trace, done = imported(tmp_path, path)
    assert trace.counts == {"block_issue": 1}
    assert done.tally.nonsense == 1


def test_more_than_a_block_of_records(tmp_path: Path) -> None:
    count = 200_003
    path = tmp_path / "sda.blktrace.0"
    with path.open("wb") as file:
        for number in range(1, count + 1):
            payload = b"x" * (number % 7 * 5) if number % 3 == 0 else b""
            file.write(files.record(number, number, files.ISSUE | files.READ, sector=number, size=512, payload=payload))
    trace, done = imported(tmp_path, path)
    assert (done.tally.nonsense, done.lost) == (0, 0)
    assert trace.pandas(columns=["sector"]).sector.tolist() == list(range(1, count + 1))


@pytest.mark.parametrize("damage", [b"", files.record(1, 2, files.NOTIFY | 2, payload=b"hello"), b"\x07\x74\x61\x65"])
def test_a_file_without_events_is_refused(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "sda.blktrace.0"
    path.write_bytes(damage)
    with pytest.raises(TraceError, match=r"empty|no event"):
        imported(tmp_path, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["sda.blktrace.0"]


# Written after what blkparse 1.2 prints without -f, and its sums at the end.
PRINTED = """\
  8,16   0        1     0.000000000    71  Q   R 0 + 8 [reader]
  8,16   0        2     0.000000010    71  G   R 0 + 8 [reader]
  8,16   0        3     0.000001010    71  D   R 0 + 8 [reader]
  8,16   1        1     0.000090010     0  C   R 0 + 8 [0]
  8,16   1        2     0.000100000    72  G  WS 4096 + 16 [wr [it] er]
  8,16   1        3     0.000100500    72  D  WS 4096 + 16 (     500) [wr [it] er]
  8,16   1        4     0.000101000    72  D  FF [wr [it] er]
  8,16   1        5     0.001101000     0  C  WS 4096 + 16 ( 1000500) [65531]
  8,16   1        6     0.001102000     0  C  FN 0 [0]
this line makes no sense
  8,16   1     1021     0.001202000    72  G  WS nonsense
  8,16   0        0     0.002000000     0  m   N cfq72S / alloced
CPU0 (8,16):
 Reads Queued:           1,        4KiB\t Writes Queued:           0,        0KiB
 Read Dispatches:        1,        4KiB\t Write Dispatches:        0,        0KiB
 Read depth:             1        \t Write depth:             1
 IO unplugs:             0        \t Timer unplugs:           0

Throughput (R/W): 0KiB/s / 0KiB/s
Events (8,16): 12 entries
Skips: 1 forward (1,014 -   98.8%)
"""


def test_text_of_blkparse(tmp_path: Path) -> None:
    path = tmp_path / "printed.txt"
    path.write_text(PRINTED)
    trace, done = imported(tmp_path, path)
    assert done.format == "blkparse"
    assert done.tally.nonsense == 2
    assert sorted(number for number, _ in done.tally.examples) == [10, 11]
    assert done.tally.passed_over == {"action Q": 1, "action m": 1}
    assert done.lost == 1014
    assert trace.table("lost").select(["start_ns", "ts_ns"]).to_pylist() == [
        {"start_ns": 1_102_000, "ts_ns": 1_202_000}
    ]
    rows = trace.pandas("block_start", "block_issue", "block_complete")
    assert list(rows.op) == ["read"] * 3 + ["write", "write", "flush", "write", "flush"]
    assert list(rows.comm.dropna()) == ["reader"] * 2 + ["wr [it] er"] * 3
    assert list(rows.ret.dropna()) == [0, -5, 0]
    assert set(trace.block().device_ns.dropna()) == {89_000, 1_000_500, 1_001_000}
    assert not trace.metadata.clock.anchors


@pytest.mark.parametrize(
    ("skips", "lost"), [("", 6), ("Skips: 1 forward (6 -   9.8%)\n", 6), ("Skips: 0 forward (0 -   0.0%)\n", 0)]
)
def test_numbers_that_are_missing_are_lost_unless_blkparse_says_that_none_was(
    skips: str, lost: int, tmp_path: Path
) -> None:
    path = tmp_path / "printed.txt"
    path.write_text(
        "  8,16   0        1     0.000000010    71  D   R 0 + 8 [reader]\n"
        "  8,16   0        2     0.000001010    71  R   R 0 + 8 [0]\n"
        "  8,16   0        0     0.000002000     0  m   N a message has no number\n"
        "  8,16   0        3     0.000003000    71  D   R 0 + 8 [reader]\n"
        f"  8,16   0       10     0.000090010     0  C   R 0 + 8 [0]\n{skips}"
    )
    trace, done = imported(tmp_path, path)
    assert done.lost == lost
    assert trace.table("block_requeue")["comm"].to_pylist() == [None]


def test_blkparse_and_its_files_give_the_same_trace(tmp_path: Path) -> None:
    must_have("blkparse", "blktrace")
    paths = disk(tmp_path)
    printed = subprocess.run(
        ["blkparse", "-q", "-i", "sdb"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    text = tmp_path / "printed.txt"
    text.write_bytes(printed.stdout)
    columns = ["event", "cpu", "tid", "comm", "ret", "dev", "sector", "bytes", "op"]
    first, done = imported(tmp_path, text)
    one = first.pandas()
    assert done.tally.nonsense == 0
    other = imported(tmp_path, *paths)[0].pandas()
    for rows in (one, other):
        rows.loc[rows.event.isin(["block_complete", "block_requeue"]), "comm"] = None  # blkparse tells the error there
    assert (
        one[columns].astype(object).fillna(-1).values.tolist()
        == other[columns].astype(object).fillna(-1).values.tolist()
    )
    assert (one.ts_ns.diff().dropna() == other.ts_ns.diff().dropna()).all()
