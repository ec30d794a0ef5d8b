"""What is worth telling, and what is not."""

import pytest
from tracebuilder import SECOND_NS, START_NS, TraceBuilder

from tracekit.analyze import Selection, analyze, raw_events

MS, US = 1_000_000, 1_000
SIGPIPE, SIGSEGV = 13, 11


def found(builder, tmp_path, kind):
    return [one for one in analyze(builder.trace(tmp_path / "t")).findings if one.kind == kind]


# --- programs that cannot be run -------------------------------------------------------------------------------


def tries(count, folders=("/opt",), well=0, shells=1):
    """Processes for a helper that is in none of some folders, at chance times, and some that run it after all."""
    builder = TraceBuilder(duration_ns=100 * SECOND_NS)
    for shell in range(shells):
        builder.add("process", 0, pid=50 + shell, tid=50 + shell, ppid=1, comm="shell")
    for turn in range(count + well):
        at, pid = turn * turn * 9 * MS, 100 + turn
        who = {"pid": pid, "tid": pid, "ppid": 50 + turn % shells, "comm": "shell"}
        builder.add("fork", at, **who)
        for number, folder in enumerate(folders if turn < count else ()):
            builder.add("exec_failed", at + (1 + number) * 10 * US, path=f"{folder}/helper", ret=-2, **who)
        if turn >= count:
            builder.add("exec", at + 10 * US, path="/opt/helper", **(who | {"comm": "helper"}))
        builder.add("exit", at + MS, exit_code=0 if turn >= count else 127, exit_signal=0, **who)
    return builder


def test_what_could_not_be_run_is_told_once_with_who_tried(tmp_path):
    result = analyze(tries(9).trace(tmp_path / "t"))
    assert [one.title for one in result.findings] == ["shell (pid 50) could not run /opt/helper (ENOENT), 9 times"]
    assert result.workload.process["by_path"] == ()


@pytest.mark.parametrize(
    ("count", "how", "title"),
    [
        (9, {"shells": 3}, "shell could not run /opt/helper (ENOENT), 9 times"),
        (9, {"well": 21}, "shell (pid 50) could not run /opt/helper (ENOENT), 9 times"),
        (9, {"well": 22}, None),  # it can be run, as a rule
        (4, {}, None),
        (
            9,
            {"folders": ("/usr/bin", "/bin", "/bin")},
            "shell (pid 50) could not run helper in any of 2 folders, at last /bin/helper (ENOENT), 9 times",
        ),
    ],
)
def test_programs_that_cannot_be_run(tmp_path, count, how, title):
    told = found(tries(count, **how), tmp_path, "failed_execs")
    assert [one.title for one in told] == ([title] if title else [])


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


def slow_opens(slow, commands=100):
    """Opens at chance times of so many commands, some of them slow: by which command, and of which path."""
    builder = TraceBuilder()
    for turn in range(600):
        columns = {"comm": f"c{turn % commands}", "path": f"/{turn}", "ret": 3, "duration_ns": 5 * US + turn}
        builder.add("open", turn * turn * 20 * US, **columns)
    for number, (comm, path) in enumerate(slow):
        at = (1 + 3 * number) * SECOND_NS
        builder.add("open", at, comm=comm, path=path, ret=3, duration_ns=50 * MS + number * US)
    return builder


@pytest.mark.parametrize(
    ("slow", "detail"),
    [
        ([("dd", "/tmp/x")], "By dd, of /tmp/x."),
        ([("dd", "/tmp/x"), ("dd", "/tmp/x")], "Both by dd, of /tmp/x."),
        ([("dd", "/tmp/x"), ("dd", "/tmp/y"), ("dd", "/tmp/z")], "All 3 by dd."),
        ([("dd", "/tmp/x"), ("cp", "/tmp/x")], ""),
        ([(None, "/tmp/x"), (None, "/tmp/x")], ""),
    ],
)
def test_few_slow_opens_of_one_command_are_told_with_it(tmp_path, slow, detail):
    (finding,) = found(slow_opens(slow), tmp_path, "outliers")
    assert finding.detail == detail


def test_who_does_nearly_everything_is_not_named_with_what_is_slow(tmp_path):
    (finding,) = found(slow_opens([("c0", "/tmp/x"), ("c0", "/tmp/y")], commands=1), tmp_path, "outliers")
    assert finding.detail == ""


def test_what_sets_slow_opens_apart_is_told_once(tmp_path):
    (finding,) = found(slow_opens([("dd", "/tmp/x")] * 6), tmp_path, "outliers")
    assert "comm dd (100 % of these" in finding.detail
    assert "All 6" not in finding.detail


def failing_opens(failed, well, paths):
    """Opens that fail, spread over so many paths, which are unknown if there are none; and some that do not."""
    builder = TraceBuilder()
    for turn in range(failed + well):
        bad = turn < failed
        path = {} if not paths else {"path": f"/srv/{turn % paths}" if bad else "/etc/motd"}
        columns = {"comm": "cat", "ret": -2 if bad else 3, "duration_ns": 1000, **path}
        builder.add("open", turn * turn * 20 * US, **columns)
    return builder


@pytest.mark.parametrize(
    ("failed", "well", "paths", "told"),
    [
        (40, 20, 2, 1),
        (19, 0, 1, 0),  # too few
        (40, 200, 2, 0),  # few of all
        (40, 20, 20, 0),  # a search, as every program does it
        (40, 20, 6, 1),  # the same few again and again
        (40, 20, 0, 0),  # perhaps one
    ],
)
def test_failed_opens_that_are_worth_telling(tmp_path, failed, well, paths, told):
    assert len(found(failing_opens(failed, well, paths), tmp_path, "failed_opens")) == told


def test_of_paths_that_fail_as_often_the_one_that_not_every_program_tries_is_told(tmp_path):
    builder = TraceBuilder()
    for turn in range(30):
        for place, path in enumerate(("/etc/ld.so.preload", "/usr/share/locale/C/x.mo", "/zoo/app.conf")):
            columns = {"comm": "app", "pid": 7, "path": path, "ret": -2, "duration_ns": 1000}
            builder.add("open", turn * turn * 60 * US + place * US, **columns)
    [one] = found(builder, tmp_path, "failed_opens")
    assert one.detail == "The most frequent path, 30 times: /zoo/app.conf."


@pytest.mark.parametrize(
    ("paths", "others", "detail"),
    [
        (2, 0, "The most frequent paths, 30 times each: /srv/0 and /srv/1."),
        (3, 5, "The most frequent paths, 30 times each: /srv/0, /srv/1 and /srv/2."),
        (4, 0, "4 paths fail as often as any, 30 times each, such as /srv/0."),
        (4, 5, "4 of 5 paths fail as often as any, 30 times each, such as /srv/0."),
    ],
)
def test_paths_that_share_the_first_place_are_told_together(tmp_path, paths, others, detail):
    builder = TraceBuilder()
    for turn in range(30):
        for place in range(paths + (turn < others)):
            columns = {"comm": "app", "pid": 7, "path": f"/srv/{place}", "ret": -2, "duration_ns": 1000}
            builder.add("open", turn * turn * 60 * US + place * US, **columns)
    [one] = found(builder, tmp_path, "failed_opens")
    assert one.detail == detail


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
    assert [one.title for one in told] == ["readlink: 10 of 10 runs exit with 1"]
    assert told[0].detail == "All were started by shell (pid 50)."


def test_how_failing_runs_end_and_who_started_most(tmp_path):
    builder, ends = TraceBuilder(duration_ns=40 * SECOND_NS), [(1, 0)] * 7 + [(2, 0)] * 2 + [(0, 9), (3, 0), (0, 0)]
    for pid, comm in ((50, "make"), (51, "make"), (52, "cron")):
        builder.add("process", 0, pid=pid, tid=pid, ppid=1, comm=comm)
    for turn, (code, signal) in enumerate(ends):
        who = {"pid": 100 + turn, "tid": 100 + turn, "ppid": 50 + turn % 5 // 2, "comm": "readlink"}
        at = turn * turn * 50 * MS
        builder.add("exec", at, path="/usr/bin/readlink", **who)
        builder.add("exit", at + MS, start_ns=START_NS + at, exit_code=code, exit_signal=signal, **who)
    [one] = found(builder, tmp_path, "failed_processes")
    ends = "exit 1 (7), exit 2 (2), signal 9 (1), other ways (1)"
    assert one.title == f"readlink: 11 of 12 runs fail: {ends}"
    assert one.detail == "9 of them were started by make."


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
    assert "readlink: 10 of 10 runs exit with 1" in [one.title for one in findings]


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
