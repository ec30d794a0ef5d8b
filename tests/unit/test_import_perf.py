# ruff: noqa: E501 - lines of perf are long
"""What `perf script` prints, with the fields that somebody asked for; the live comparison is among the kernel tests."""

import io
from pathlib import Path

import pytest

from tracekit import Recording, open_trace
from tracekit.analyze import analyze
from tracekit.errors import TraceError
from tracekit.exchange.bring import Import, Imported, bring

# After perf 6.1 on Linux 6.18, as the command that the help names prints it.
PRINTED = """\
# ========
# captured on    : Mon Nov 23 02:18:30 2026
# hostname : db1
# os release : 6.18.0
# arch : x86_64
# nrcpus online : 2
# clockid: monotonic (1)
# reference time: 2026-11-23 02:18:30.280169 = 1795400310.280169 (TOD) = 100.000000000 (monotonic)
# ========
#
         swapper     0/0     [000]     0.000000000: PERF_RECORD_FORK(50:50):(1:1)
        my shell     0/0     [000]     0.000000000: PERF_RECORD_COMM: my shell:50/50
        my shell    50/50    [001]   101.000000000:    sched:sched_process_fork: comm=my shell pid=50 child_comm=my shell child_pid=60
        my shell    50/50    [001]   101.000000001: PERF_RECORD_FORK(60:60):(50:50)
      child pid=    60/60    [001]   101.000100000:    sched:sched_process_exec: filename=/opt/a pid=1 old_pid=2 pid=60 old_pid=60
      child pid=    60/60    [001]   101.000100001: PERF_RECORD_COMM exec: child pid=:60/60
      child pid=    60/60    [001]   101.000150000:    sched:sched_process_fork: comm=child pid= pid=60 child_comm=child pid= child_pid=61
      child pid=    60/61    [000]   101.000200000: syscalls:sys_enter_openat: dfd: 0xffffff9c, filename: 0x7f5f911580b1, flags: 0x00080000, mode: 0x00000000
      child pid=    60/60    [001]   101.000210000: syscalls:sys_enter_openat: dfd: 0x00000005, filename: 0x7ffe "/etc/a, flags: 0x1", flags: 0x00000241, mode: 0x000001a4
      child pid=    60/60    [001]   101.000215000:  syscalls:sys_exit_openat: 0xfffffffffffffffe
      child pid=    60/61    [000]   101.000300000:  syscalls:sys_exit_openat: 0x3
      child pid=    60/60    [001]   101.000310000:  syscalls:sys_exit_openat: 0x9
         swapper     0/0     [001]   101.000400000: PERF_RECORD_LOST lost 12
      child pid=    60/60    [001]   101.001000000:      block:block_io_start: 254,16 WS 4096 () 36986352 + 8 0x2,0,4 [child pid=]
      child pid=    60/60    [001]   101.001010000:      block:block_rq_issue: 254,16 WS 4096 () 36986352 + 8 0x2,0,4 [child pid=]
         swapper     0/0     [000]   101.001110000:   block:block_rq_complete: 254,16 WS () 36986352 + 8 0x2,0,4 [-5]
      child pid=    60/60    [001]   101.001200000:      block:block_io_start: 254,16 FW 0 () 18446744073709551615 + 0 none,0,0 [child pid=]
      child pid=    60/60    [001]   101.002000000:  syscalls:sys_exit_execve: 0xfffffffffffffffe
      child pid=    60/61    [000]   101.002900000:    sched:sched_process_exit: comm=child pid= pid=61 prio=120 group_dead=false
      child pid=    60/60    [001]   101.003000000:    sched:sched_process_exit: comm=child pid= pid=60 prio=120 group_dead=true
           :4242  4242/4242  [001]   101.003000001:          sched:sched_switch: whatever
\tffffffff81000000 do_idle+0x1 ([kernel.kallsyms])

this makes no sense
"""


def imported(folder: Path, text: str, **request: object) -> tuple[Recording, Imported]:
    source, output = folder / "printed.txt", folder / "imported.parquet"
    source.write_bytes(text.encode("utf-8", "surrogateescape"))
    done = bring(Import((source,), output, force=True, **request))  # type: ignore[arg-type]
    return open_trace(output), done


def test_every_tracepoint(tmp_path: Path) -> None:
    trace, done = imported(tmp_path, PRINTED)

    assert done.format == "perf"
    assert (done.tally.nonsense, done.tally.examples) == (1, [(len(PRINTED.splitlines()), "this makes no sense")])
    assert done.tally.passed_over == {"sched:sched_switch": 1}
    assert done.lost == 12
    rows = {event: trace.table(event).to_pylist() for event in trace.counts}
    assert {event: len(found) for event, found in rows.items()} == {
        "process": 1,
        "fork": 1,  # the other is a thread, as its open tells
        "exec": 1,
        "exec_failed": 1,
        "exit": 1,
        "block_start": 2,
        "block_issue": 1,
        "block_complete": 1,
        "open": 3,
        "lost": 1,
    }
    assert (rows["process"][0]["pid"], rows["process"][0]["ppid"], rows["process"][0]["comm"]) == (50, 1, "my shell")
    assert (rows["fork"][0]["pid"], rows["fork"][0]["ppid"]) == (60, 50)
    assert rows["exec"][0]["path"] == "/opt/a pid=1 old_pid=2"
    assert rows["exec"][0]["comm"] == "child pid="
    assert rows["exec_failed"][0]["ret"] == -2
    assert rows["exit"][0]["exit_code"] is None
    assert rows["lost"][0]["lost_family"] is None
    assert (rows["lost"][0]["start_ns"], rows["lost"][0]["ts_ns"]) == (101_000_310_000, 101_000_400_000)

    first, second, third = rows["open"]
    assert [(one["tid"], one["pid"], one["cpu"]) for one in rows["open"]] == [(61, 60, 0), (60, 60, 1), (60, 60, 1)]
    assert (first["ret"], first["duration_ns"], first["flags"], first["dirfd"]) == (3, 100_000, 0x80000, -100)
    assert (second["ret"], second["duration_ns"], second["path"]) == (-2, 5000, "/etc/a, flags: 0x1")
    assert (third["ret"], third["duration_ns"], third["flags"]) == (9, None, None)  # its entry is missing

    start, flush = rows["block_start"]
    assert (start["op"], start["sector"], start["bytes"], start["dev"]) == ("write", 36986352, 4096, 254 << 20 | 16)
    assert (start["disk"], start["flags"], start["request"]) == ("254:16", None, None)
    assert (flush["op"], flush["sector"]) == ("flush", None)
    assert rows["block_complete"][0]["ret"] == -5
    assert list(trace.block().device_ns.dropna()) == [100_000]

    metadata = trace.metadata
    assert (metadata.backend, metadata.kernel, metadata.hostname, metadata.cpus) == ("perf", "6.18.0", "db1", 2)
    assert (metadata.clock.name, metadata.clock.resolution_ns) == ("CLOCK_MONOTONIC", 1)
    assert int(metadata.clock.realtime_ns(101_000_000_000)) == 1_795_400_311_280_169_000


def test_losses_belong_to_what_was_before_on_their_cpu(tmp_path: Path) -> None:
    lines = [
        "x 1/1 [000] 1.000000000: PERF_RECORD_LOST lost 1\n",
        "x 1/1 [001] 2.000000000: sched:sched_process_exec: filename=/a pid=1 old_pid=1\n",
        "x 1/1 [000] 3.000000000: PERF_RECORD_LOST lost 999999999999999999\n",
        "x 1/1 [001] 4.000000000: PERF_RECORD_LOST lost 4\n",
        "x 1/1 [001] 5.000000000: PERF_RECORD_LOST what\n",
    ]
    trace, done = imported(tmp_path, "".join(lines))
    assert trace.table("lost", columns=["start_ns", "ts_ns", "lost"]).to_pylist() == [
        {"start_ns": None, "ts_ns": 1_000_000_000, "lost": 1},
        {"start_ns": 1_000_000_000, "ts_ns": 3_000_000_000, "lost": 999_999_999_999_999_999},
        {"start_ns": 2_000_000_000, "ts_ns": 4_000_000_000, "lost": 4},
    ]
    assert done.lost == 10**18 + 4


def test_an_io_during_which_perf_lost_events_is_not_trusted(tmp_path: Path) -> None:
    issue, complete = "block:block_rq_issue: 8,0 R 4096 () {0} + 8 [x]", "block:block_rq_complete: 8,0 R () {0} + 8 [0]"
    trace, _ = imported(
        tmp_path,
        f"x 1/1 [000] 1.000000000: {issue.format(8)}\n"
        f"x 1/1 [000] 1.000100000: {complete.format(8)}\n"
        f"x 1/1 [000] 1.000200000: {issue.format(16)}\n"
        "x 1/1 [001] 1.000250000: PERF_RECORD_LOST lost 5\n"
        f"x 1/1 [000] 1.000300000: {complete.format(16)}\n",
    )
    assert trace.block().device_ns.isna().tolist() == [False, True]
    assert analyze(trace).quality.lost == 5


def test_perfs_own_choice_of_fields_has_microseconds_and_no_processes(tmp_path: Path) -> None:
    trace, done = imported(
        tmp_path,
        "        my shell  4711 [001] 56615.044635: syscalls:sys_enter_openat: dfd: 0xffffff9c, filename: 0x7ffe, "
        "flags: 0x00000000, mode: 0x00000000\n"
        "        my shell  4711 [001] 56615.044647:  syscalls:sys_exit_openat: 0x23\n",
    )
    row = trace.table("open").to_pylist()[0]
    assert (row["pid"], row["tid"], row["ret"], row["duration_ns"]) == (None, 4711, 0x23, 12_000)
    assert trace.metadata.clock.resolution_ns == 1000
    assert any("perf script --ns" in note for note in done.tally.notes)


def test_threads_are_no_processes(tmp_path: Path) -> None:
    """Neither those that ran already, which perf lists with the idle task, nor those that start others."""
    trace, _ = imported(
        tmp_path,
        "swapper 0/0 [000] 0.000000000: PERF_RECORD_FORK(0:0):(0:0)\n"
        "swapper 0/0 [000] 0.000000000: PERF_RECORD_COMM: swapper:0/0\n"
        "app 0/0 [000] 0.000000000: PERF_RECORD_FORK(7:7):(1:1)\n"
        "app 0/0 [000] 0.000000000: PERF_RECORD_COMM: app:7/7\n"
        "app 0/0 [000] 0.000000000: PERF_RECORD_FORK(7:8):(7:7)\n"
        "app 0/0 [000] 0.000000000: PERF_RECORD_COMM: worker:7/8\n"
        "worker 7/8 [000] 1.000000000: sched:sched_process_fork: comm=worker pid=8 child_comm=worker child_pid=9\n",
    )
    columns = ["event", "pid", "ppid", "comm"]
    assert [tuple(row.values()) for row in trace.table(columns=columns).select(columns).to_pylist()] == [
        ("fork", 9, 7, "worker"),
        ("process", 7, 1, "app"),
    ]


def test_what_calls_return(tmp_path: Path) -> None:
    """What is no error number is no failing exec; a call that a signal ended was interrupted, by whatever name."""
    results = (0, -1, -4095, -4096, -(2**40))
    execs = [
        f"x 1/1 [000] 1.00000000{n}: syscalls:sys_exit_execve: {ret % 2**64:#x}\n" for n, ret in enumerate(results)
    ]
    ends = (-511, -512, -516, -517)
    opens = [f"x 1/1 [000] 2.00000000{n}: syscalls:sys_exit_openat: {ret % 2**64:#x}\n" for n, ret in enumerate(ends)]
    trace, done = imported(tmp_path, "".join((*execs, *opens)))
    assert trace.table("exec_failed")["ret"].to_pylist() == [-1, -4095]
    assert trace.table("open")["ret"].to_pylist() == [-511, -4, -4, -517]
    assert done.tally.nonsense == 0


def test_calls_of_whom_nobody_knows_are_not_matched(tmp_path: Path) -> None:
    trace, done = imported(
        tmp_path,
        "[000] 1.000000000: syscalls:sys_enter_openat: dfd: 0x5, filename: 0x7ffe, flags: 0x7, mode: 0x0\n"
        "[001] 2.000000000: syscalls:sys_exit_openat: 0x4\n",
    )
    (row,) = trace.table("open").to_pylist()
    assert (row["ret"], row["duration_ns"], row["tid"]) == (4, None, None)
    assert done.tally.notes == []


def test_where_it_is_not_told_which_thread_is_the_last_a_note_says_so(tmp_path: Path) -> None:
    line = "sched:sched_process_exit: comm=x pid=8 prio=120"
    notes = [
        len(imported(tmp_path, f"x {who} [000] 1.000000000: {line}{dead}\n")[1].tally.notes)
        for who in ("8", "8/8")
        for dead in ("", " group_dead=true")
    ]
    assert notes == [2, 1, 0, 0]


def test_a_call_that_ends_in_another_block_of_lines(tmp_path: Path) -> None:
    enter = "sh 1/1 [000] 1.000000000: syscalls:sys_enter_openat: dfd: 0x5, filename: 0x7ffe, flags: 0x7, mode: 0x0\n"
    between = "x 2/2 [001] 2.000000000: syscalls:sys_exit_openat: 0x1\n" * 100_000
    trace, _ = imported(tmp_path, f"{enter}{between}sh 1/1 [000] 3.000000000: syscalls:sys_exit_openat: 0x4\n")
    row = trace.table("open", end_ns=1_500_000_000).to_pylist()[0]
    assert (row["duration_ns"], row["flags"], row["ret"]) == (2_000_000_000, 7, 4)
    assert trace.counts == {"open": 100_001}


def test_order_is_restored_however_far_a_line_is_from_its_place(tmp_path: Path) -> None:
    count = 400_009
    text = io.StringIO()
    for number in range(count):
        at = (number * 7919) % count
        text.write(f"sh 1/1 [000] 5.{at:09}: syscalls:sys_exit_openat: 0x{number:x}\n")
    trace, _ = imported(tmp_path, text.getvalue())
    rows = trace.pandas(columns=["ts_ns", "ret"])
    assert list(rows.ts_ns) == list(range(5 * 10**9, 5 * 10**9 + count))
    assert ((rows.ret.astype(int) * 7919) % count == rows.ts_ns - 5 * 10**9).all()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("PERFILE2 and more", "perf script --ns"),
        ("sh 1/1 [000] 1.000000: sched:sched_switch: x\n", "it has sched:sched_switch"),
        ("sh 1/1 [000] sched:sched_process_exit: comm=a pid=1 prio=1\n", "no kind that can be imported"),
    ],
)
def test_what_cannot_be_imported_says_what_to_do(tmp_path: Path, text: str, wrong: str) -> None:
    with pytest.raises(TraceError, match=wrong):
        imported(tmp_path, text)
    assert not (tmp_path / "imported.parquet").exists()
