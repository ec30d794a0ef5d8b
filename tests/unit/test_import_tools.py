"""The text of execsnoop, opensnoop, biosnoop and exitsnoop: lines as bcc's and bpftrace's print them."""

from pathlib import Path

import pytest

from tracekit import Recording, open_trace
from tracekit.errors import TraceError
from tracekit.exchange.bring import Import, Imported, bring
from tracekit.exchange.tools import BEGIN_NS

S, MS = 1_000_000_000, 1_000_000


def imported(folder: Path, text: str | bytes) -> tuple[Recording, Imported]:
    source, output = folder / "printed.txt", folder / "imported.parquet"
    source.write_bytes(text.encode() if isinstance(text, str) else text)
    done = bring(Import((source,), output, force=True))
    assert done.format == "tools"
    return open_trace(output), done


# bcc's tools/opensnoop.py, with -T -U -e: TIME(s) UID PID COMM FD ERR FLAGS PATH
def test_opensnoop_with_time_user_and_flags(tmp_path: Path) -> None:
    trace, done = imported(
        tmp_path,
        b"TIME(s)       UID   PID    COMM               FD ERR FLAGS    MODE PATH\n"
        b"0.000000000   0     1956   my daemon           9   0 00100000 n/a  supervise/status.new\n"
        b"0.000290000   1000  3187374 a very long nam    -1   2 02000101 0644 /dev/two  words \xff\n"
        b"Possibly lost 17 samples\n"
        b"1.000000000   0     7      0 1 2               3   0 00000000 n/a  \n"
        b"what is this\n",
    )
    rows = trace.pandas("open")
    assert list(rows.ts_ns - BEGIN_NS) == [0, 290_000, S]
    assert list(rows.uid) == [0, 1000, 0]
    assert list(rows.pid) == [1956, 3187374, 7]
    assert list(rows.comm) == ["my daemon", "a very long nam", "0 1 2"]
    assert list(rows.ret) == [9, -2, 3]
    assert list(rows.path)[:2] == ["supervise/status.new", "/dev/two  words \\xff"]
    assert rows.path.isna()[2]
    assert list(rows["flags"]) == [0o100000, 0o2000101, 0]
    assert list(rows["mode"].isna()) == [True, False, True]
    assert rows.duration_ns.isna().all()
    assert (done.tally.nonsense, done.tally.examples) == (1, [(6, "what is this")])
    lost = trace.table("lost").to_pylist()
    assert [(row["lost"], row["lost_family"]) for row in lost] == [(17, "open")]
    assert trace.metadata.counters["open"].lost == 17
    assert trace.metadata.clock.resolution_ns == 1000
    assert not trace.metadata.clock.anchors


def test_columns_in_another_order_and_one_that_nobody_knows(tmp_path: Path) -> None:
    trace, _ = imported(tmp_path, "COMM PID NEW TIME(s) ERR FD PATH\nsh 5 what? 1.5 0 4 /etc/passwd\n")
    row = trace.table("open").to_pylist()[0]
    assert (row["comm"], row["pid"], row["ret"], row["path"]) == ("sh", 5, 4, "/etc/passwd")
    assert row["ts_ns"] == BEGIN_NS + 1_500 * MS


# bpftrace's tools/opensnoop.bt prints no times.
def test_opensnoop_without_times_keeps_what_can_be_counted(tmp_path: Path) -> None:
    trace, done = imported(
        tmp_path,
        "Attaching 6 probes...\nTracing open syscalls... Hit Ctrl-C to end.\nPID    COMM               FD ERR PATH\n"
        "3938   tracer              4   0 /usr/lib\n3938   tracer             -1   2 /none\n^C\n",
    )
    assert list(trace.pandas("open").ret) == [4, -2]
    assert trace.metadata.duration_ns == 0
    assert done.tally.nonsense == 0
    assert any("no times" in note for note in done.tally.notes)


# bcc's tools/execsnoop.py with -T -t -x; older ones say PCOMM for the program.
@pytest.mark.parametrize("name", ["COMM", "PCOMM"])
def test_execsnoop(tmp_path: Path, name: str) -> None:
    trace, done = imported(
        tmp_path,
        f"TIME     TIME(s) {name:<16} PID     PPID    RET ARGS\n"
        "14:08:23 2.849   mount            18049   1045      0 /bin/mount -p\n"
        "14:08:24 3.850   supervise        9660    1       -2 /usr/local/bin/setuidgid nobody ./main\n"
        "14:08:24 3.851   newcomer         9661    0        0 ./run\n",
    )
    rows = trace.table("exec").to_pylist()
    assert [(row["comm"], row["pid"], row["ppid"], row["path"]) for row in rows] == [
        ("mount", 18049, 1045, "/bin/mount"),
        ("newcomer", 9661, 0, "./run"),
    ]
    assert rows[0]["argv"] == ["/bin/mount", "-p"]
    failed = trace.table("exec_failed").to_pylist()
    assert [(row["ret"], row["argv"]) for row in failed] == [(-2, ["/usr/local/bin/setuidgid", "nobody", "./main"])]
    assert trace.metadata.clock.resolution_ns == MS  # of TIME(s), the finer of the two
    assert done.tally.nonsense == 0


# bpftrace's tools/execsnoop.bt: since 0.22 with the time of day, before with milliseconds.
@pytest.mark.parametrize(
    ("heading", "first", "second", "resolution_ns"),
    [
        ("TIME            PID     PPID    ARGS", "23:59:59.999999 7 1 ", "00:00:00.000001 8 7 ", 1000),
        ("TIME(ms)   PID   ARGS", "213        7  ", "214        8  ", MS),
    ],
)
def test_execsnoop_of_bpftrace(tmp_path: Path, heading: str, first: str, second: str, resolution_ns: int) -> None:
    trace, done = imported(tmp_path, f"Attaching 3 probes...\n{heading}\n{first}ls -la\n{second}man ls\n")
    rows = trace.table("exec").to_pylist()
    assert [(row["pid"], row["argv"]) for row in rows] == [(7, ["ls", "-la"]), (8, ["man", "ls"])]
    assert trace.metadata.duration_ns == (2000 if resolution_ns == 1000 else MS)  # over midnight
    assert trace.metadata.clock.resolution_ns == resolution_ns
    assert done.tally.nonsense == 0


# bcc's tools/exitsnoop.py with -t --utc --label=
def test_exitsnoop(tmp_path: Path) -> None:
    trace, done = imported(
        tmp_path,
        "TIME-UTC     LABEL PCOMM            PID     PPID    TID     AGE(s)  EXIT_CODE \n"
        "13:20:22.997 exit  bash             18300   17656   18300   1.65    code 65\n"
        "13:20:24.701 exit  sleep            18303   17656   18303   1.70    signal 9 (KILL)\n"
        "13:20:24.702 exit  crash            18304   17656   18304   0.10    signal 11 (SEGV), core dumped \n"
        "13:20:24.703 exit  thread           18304   17656   18305   0.10    0\n"
        "13:20:24.704 exit  true             18306   17656   18306   0.00    0\n",
    )
    rows = trace.pandas("exit")
    assert list(rows.exit_code) == [65, 0, 0, 0]
    assert list(rows.exit_signal) == [0, 9, 11, 0]
    assert list(rows.ts_ns - rows.start_ns) == [1650 * MS, 1700 * MS, 100 * MS, 0]
    assert list(rows.ppid) == [17656] * 4
    assert done.tally.passed_over == {"the end of a thread": 1}
    assert trace.metadata.clock.resolution_ns == 10 * MS


# bcc's tools/biosnoop.py with -Q; libbpf-tools' has the kernel's letters for T.
def test_biosnoop(tmp_path: Path) -> None:
    trace, done = imported(
        tmp_path,
        "TIME(s)     COMM           PID     DISK      T SECTOR     BYTES  QUE(ms) LAT(ms)\n"
        "0.000000    kworker/u72:1  13379   nvme1n1   W 1142400    4096      0.01    0.55\n"
        "0.000771    my sync        22177   nvme1n1   R 41963894   3072      0.11    0.47\n"
        "0.000900    x              22177   <unknown> WS 0         0         0.00    2.00\n",
    )
    assert trace.counts == {"block_start": 3, "block_issue": 3, "block_complete": 3}
    io = trace.block().sort_values("complete_ns")
    assert list(io.device_ns) == [550_000, 470_000, 2 * MS]
    assert list(io.queue_ns) == [10_000, 110_000, 0]
    assert list(io.op) == ["write", "read", "flush"]
    assert list(io.comm) == ["kworker/u72:1", "my sync", "x"]
    assert list(io.disk[:2]) == ["nvme1n1"] * 2
    assert io.disk.isna().iloc[2]
    assert trace.metadata.clock.resolution_ns == 10_000
    assert done.tally.nonsense == 0


# bpftrace's tools/biosnoop.bt, which measures from the submission on
@pytest.mark.parametrize(
    ("heading", "disk"),
    [
        ("TIME(ms)     DISK ID        COMM             PID    LAT(ms)\n             MAJOR MINOR", "259   0       "),
        ("TIME(ms)     DISK    COMM             PID    LAT(ms)", "nvme0n1"),
    ],
)
def test_biosnoop_of_bpftrace(tmp_path: Path, heading: str, disk: str) -> None:
    trace, done = imported(
        tmp_path, f"Attaching 4 probes...\n{heading}\n611  {disk} cksum it 4179  10\n627 {disk} sh 4180 0\n"
    )
    io = trace.block()
    assert list(io.total_ns) == [10 * MS, 0]
    assert io.device_ns.isna().all()
    assert set(io.disk) == {"259:0" if disk.startswith("259") else "nvme0n1"}
    assert trace.metadata.clock.resolution_ns == MS
    assert done.tally.nonsense == 0


def test_a_heading_alone_is_no_trace(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no event"):
        imported(tmp_path, "PID    COMM               FD ERR PATH\n")
