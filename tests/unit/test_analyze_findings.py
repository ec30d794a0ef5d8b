"""What is worth telling, and what is not."""

import pytest
from tracebuilder import SECOND_NS, START_NS, TraceBuilder

from tracekit.analyze import Selection, analyze, raw_events

MS, US = 1_000_000, 1_000
SIGPIPE, SIGSEGV = 13, 11


def found(builder, tmp_path, kind):
    return [one for one in analyze(builder.trace(tmp_path / "t")).findings if one.kind == kind]


# --- opens -----------------------------------------------------------------------------------------------------


def opens(fast_ns, slow_ns):
    """Opens at chance times, a third of them slow."""
    builder = TraceBuilder()
    for turn in range(600):
        duration_ns = (slow_ns if turn % 3 == 0 else fast_ns) + turn * 10
        builder.add("open", turn * turn * 20 * US, comm="cat", path=f"/{turn}", ret=3, duration_ns=duration_ns)
    return builder


@pytest.mark.parametrize(("slow_ns", "told"), [(300 * US, 0), (5 * MS, 1)])
def test_modes_of_opens_are_told_from_a_millisecond_on(tmp_path, slow_ns, told):
    assert len(found(opens(20 * US, slow_ns), tmp_path, "modes")) == told


def failing_opens(failed, well, paths):
    """Opens that fail, spread over so many paths, and some that do not."""
    builder = TraceBuilder()
    for turn in range(failed + well):
        bad = turn < failed
        path = f"/srv/{turn % paths}" if bad else "/etc/motd"
        columns = {"comm": "cat", "path": path, "ret": -2 if bad else 3, "duration_ns": 1000}
        builder.add("open", turn * turn * 20 * US, **columns)
    return builder


@pytest.mark.parametrize(
    ("failed", "well", "paths", "told"),
    [
        (40, 20, 2, 1),
        (19, 0, 1, 0),  # too few
        (40, 200, 2, 0),  # few of all
        (40, 20, 20, 0),  # a search, as every program does it
    ],
)
def test_failed_opens_that_are_worth_telling(tmp_path, failed, well, paths, told):
    assert len(found(failing_opens(failed, well, paths), tmp_path, "failed_opens")) == told


# --- processes -------------------------------------------------------------------------------------------------


def runs(bad, well, **end):
    """Processes of one program at chance times, some of which end badly."""
    builder = TraceBuilder()
    builder.add("process", 0, pid=50, tid=50, ppid=1, comm="shell")
    for turn in range(bad + well):
        who = {"pid": 100 + turn, "tid": 100 + turn, "ppid": 50, "comm": "readlink"}
        at = turn * turn * 50 * MS
        how = {"exit_code": 0, "exit_signal": 0} | (end if turn < bad else {})
        builder.add("exec", at, path="/usr/bin/readlink", **who)
        builder.add("exit", at + MS, start_ns=START_NS + at, **how, **who)
    return builder


def test_a_program_whose_runs_fail(tmp_path):
    told = found(runs(10, 0, exit_code=1), tmp_path, "failed_processes")
    assert [one.title for one in told] == ["readlink: 10 of 10 runs exit with an error"]
    assert told[0].detail == "The first was started by shell (pid 50)."


@pytest.mark.parametrize(("bad", "well", "told"), [(5, 5, 1), (4, 0, 0), (5, 9, 1), (5, 12, 0)])
def test_few_failures_are_not_worth_telling(tmp_path, bad, well, told):
    assert len(found(runs(bad, well, exit_code=1), tmp_path, "failed_processes")) == told


def test_of_a_part_its_own_runs_are_counted(tmp_path):
    """Ten fail after the tenth second, twenty exit well before."""
    builder = TraceBuilder(duration_ns=40 * SECOND_NS)
    for turn in range(30):
        who = {"pid": 100 + turn, "tid": 100 + turn, "ppid": 50, "comm": "readlink"}
        at = turn * 500 * MS + turn % 3 * 100 * MS
        builder.add("exec", at, path="/usr/bin/readlink", **who)
        builder.add("exit", at + MS, start_ns=START_NS + at, exit_code=int(turn >= 20), exit_signal=0, **who)
    findings = analyze(builder.trace(tmp_path / "t"), Selection(start_ns=9_900 * MS)).findings
    assert "readlink: 10 of 10 runs exit with an error" in [one.title for one in findings]


@pytest.mark.parametrize(
    ("selection", "everything"),
    [
        (Selection(), "100 % of all process starts."),
        (Selection(comm="job"), "100 % of all process starts of job."),
        (Selection(disk="sda"), "100 % of all process starts."),
        (Selection(start_ns=SECOND_NS, comm="job"), "100 % of all process starts of job in this part."),
    ],
    ids=str,
)
def test_of_what_a_pattern_is_a_share(tmp_path, selection, everything):
    builder = TraceBuilder(duration_ns=20 * SECOND_NS)
    for turn in range(40):
        builder.add("exec", (400 + 400 * turn) * MS, pid=turn + 9, comm="job", path="/bin/job")
        place = {"dev": 8 << 20, "disk": "sda", "op": "read", "request": 1, "sector": 8, "bytes": 4096}
        builder.add("block_start", (400 + 400 * turn) * MS, comm="job", pid=7, **place)
    found = [one.detail for one in analyze(builder.trace(tmp_path / "t"), selection).findings]
    assert any(everything in detail for detail in found)


@pytest.mark.parametrize(("signal", "told"), [(SIGPIPE, 0), (SIGSEGV, 1)])
def test_who_writes_to_a_pipe_that_is_closed_has_not_failed(tmp_path, signal, told):
    builder = runs(10, 0, exit_code=0, exit_signal=signal)
    assert len(found(builder, tmp_path, "failed_processes")) == told


def test_events_of_others_that_had_the_same_pid_are_not_behind_a_finding(tmp_path):
    """Ten failing runs share three pids with runs that do well, also between these; of some the fork was lost."""
    builder, failing = TraceBuilder(), []
    for turn in range(40):
        at, bad = turn * turn * 5 * MS, turn % 4 == 2
        who = {"pid": 100 + turn % 3, "tid": 100 + turn % 3, "ppid": 50}
        if turn % 5:
            builder.add("fork", at, comm="sh", **who)
        builder.add("exec", at + US, comm="readlink" if bad else "ls", **who)
        builder.add("exit", at + MS, comm="readlink" if bad else "ls", exit_code=int(bad), exit_signal=0, **who)
        failing += [START_NS + at + since for since in (*((0,) if turn % 5 else ()), US, MS)] if bad else []
    trace = builder.trace(tmp_path / "t")
    finding = next(one for one in analyze(trace).findings if one.kind == "failed_processes")
    rows = [row for batch in raw_events(trace, Selection(), finding.where) for row in batch.to_pylist()]
    assert [row["ts_ns"] for row in rows] == failing


# --- I/O -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("queue_ns", "device_ns", "told"),
    [(10 * MS, MS, 1), (2 * MS, MS, 0), (900 * US, 10 * US, 0), (10 * US, MS, 0)],
)
def test_io_that_waits_longer_in_the_queue_than_at_the_device(tmp_path, queue_ns, device_ns, told):
    builder = TraceBuilder()
    for turn in range(50):
        at = turn * turn * 3 * MS
        place = {"dev": 8 << 20, "disk": "sda", "op": "read", "request": turn, "sector": 8 * turn, "bytes": 4096}
        builder.add("block_start", at, comm="dd", pid=7, **place)
        builder.add("block_issue", at + queue_ns, comm="dd", pid=7, **place)
        builder.add("block_complete", at + queue_ns + device_ns, comm="swapper", pid=0, ret=0, **place)
    assert builder.duration_ns == 10 * SECOND_NS
    assert len(found(builder, tmp_path, "queueing")) == told


def test_behind_a_finding_are_its_events_where_pids_are_not_known(tmp_path):
    builder = TraceBuilder(duration_ns=20 * SECOND_NS)
    for number in range(40):
        builder.add("exec", (400 + 400 * number) * MS, comm="job", path="/bin/job")
    builder.add("exec", 19_900 * MS, comm="other", path="/bin/other")
    trace = builder.trace(tmp_path / "t")
    (found,) = [one for one in analyze(trace).findings if "every 400 ms" in one.title]
    rows = [row for batch in raw_events(trace, Selection(), found.where) for row in batch.to_pylist()]
    assert [row["comm"] for row in rows] == ["job"] * 40
