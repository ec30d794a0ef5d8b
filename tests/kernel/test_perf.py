"""The same workload recorded by tracekit and by perf at once: both traces, and both reports, say the same."""

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from needs import must_have
from recording import TRACEKIT, WORKLOAD

from tracekit import Recording, open_trace
from tracekit.exchange.perf import COMMAND

EVENTS = (
    "sched:sched_process_fork,sched:sched_process_exec,sched:sched_process_exit,"
    "block:block_io_start,block:block_rq_issue,block:block_rq_complete,"
    "syscalls:sys_enter_openat,syscalls:sys_exit_openat,syscalls:sys_exit_execve,syscalls:sys_exit_execveat"
)
READS, OPENS, EXECS = 47, 1009, 43

pytestmark = pytest.mark.kernel


@pytest.fixture
def both(tmp_path: Path, loop_disk: tuple[Path, Path]) -> tuple[Recording, Recording, str]:
    """The workload as tracekit has it, as perf has it, and the number of the disk that it used."""
    must_have("perf", "linux-perf")
    device, _ = loop_disk
    work = " ".join(WORKLOAD)
    script = (
        f"{work} direct {device} {READS}; {work} many_opens /dev/null {OPENS}; {work} execs /bin/true {EXECS}; "
        f"{work} missing /nonexistent"
    )
    data, ours, theirs = tmp_path / "perf.data", tmp_path / "ours.parquet", tmp_path / "theirs.parquet"
    perf = ["perf", "record", "-q", "-m", "16M", "-k", "mono", "-a", "-e", EVENTS, "-o", data, "--", "sh", "-c", script]
    subprocess.run([*TRACEKIT, "record", "--system", "-o", ours, "--", *perf], check=True, timeout=120)
    printed = subprocess.Popen([*COMMAND.split(), "-i", data], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    done = subprocess.run(
        [*TRACEKIT, "import", "-", "-o", theirs], stdin=printed.stdout, stderr=subprocess.PIPE, text=True, timeout=120
    )
    assert printed.wait() == 0
    assert done.returncode == 0, done.stderr
    assert "no sense" not in done.stderr
    number = device.stat().st_rdev
    return open_trace(ours), open_trace(theirs), f"{number >> 8 & 0xFFF}:{number & 0xFF}"


def of_workload(trace: Recording, event: str) -> pd.DataFrame:
    """Rows of the shell that perf started, from then on, and of all below it."""
    execs = trace.pandas("exec", columns=["ts_ns", "pid", "path"])
    shell = next(pid for pid, path in zip(execs.pid, execs.path, strict=True) if str(path).endswith("/sh"))
    forks = trace.pandas("fork", columns=["pid", "ppid"])
    pids = {shell}
    while more := set(forks.pid[forks.ppid.isin(pids)]) - pids:
        pids |= more
    rows = trace.pandas(event)
    began = execs.ts_ns[execs.pid == shell].min()
    return rows[rows.pid.isin(pids) & (rows.ts_ns >= began)].reset_index(drop=True)


def test_counts_latencies_and_reports_agree(both: tuple[Recording, Recording, str]) -> None:
    ours, theirs, disk = both
    assert not theirs.table("lost").num_rows

    for event, columns in {
        "exec": ["pid", "comm", "path"],
        "exec_failed": ["pid", "comm", "ret"],
        "fork": ["pid", "ppid"],
        "exit": ["pid", "comm"],
        "open": ["pid", "tid", "comm", "ret", "flags", "mode", "dirfd"],
    }.items():
        one, other = (of_workload(trace, event)[columns].astype(object) for trace in both[:2])
        assert one.to_numpy().tolist() == other.to_numpy().tolist(), event
    assert sum(of_workload(theirs, "exec").path == "/bin/true") == EXECS
    assert len(of_workload(theirs, "open")) >= OPENS

    name = {int(disk.split(":")[0]) << 20 | int(disk.split(":")[1]): disk}
    loop = next(one.name for one in ours.metadata.disks if one.dev in name)
    io = [trace.part(disk=called).block() for trace, called in ((ours, loop), (theirs, disk))]
    of_both = [rows[rows.op == "read"].set_index("sector").sort_index() for rows in io]
    assert len(of_both[0]) == len(of_both[1]) == READS
    assert list(of_both[0].index) == list(of_both[1].index)
    assert list(of_both[0].pid) == list(of_both[1].pid)
    # The two see a moment one after the other: they differ by less than what they measure.
    apart = (of_both[0].device_ns - of_both[1].device_ns).abs().median()
    assert apart < of_both[0].device_ns.median() / 2
    # On one clock, unless the machine slept since it booted; the wall clock is the same in any case.
    shift = (of_both[0].time - of_both[1].time).abs().median()
    assert shift < pd.Timedelta(seconds=1)

    reports = [json.loads(_report(trace.path)) for trace in both[:2]]
    starts = [{use["name"]: use["count"] for use in report["workload"]["process"]["by_path"]} for report in reports]
    assert starts[0]["/bin/true"] == starts[1]["/bin/true"] == EXECS
    device = [
        {
            one["group"]["op"]: one
            for one in report["latency"]
            if one["metric"] == "block.device" and one["group"].get("disk") == called
        }
        for report, called in zip(reports, (loop, disk), strict=True)
    ]
    for op in ("read", "write"):
        one, other = device[0][op], device[1][op]
        assert one["count"] == other["count"] == READS
        assert abs(one["p50_ns"] - other["p50_ns"]) < one["p50_ns"] / 2


def _report(path: Path) -> str:
    done = subprocess.run([*TRACEKIT, "report", "--format", "json", path], capture_output=True, text=True, check=True)
    return done.stdout
