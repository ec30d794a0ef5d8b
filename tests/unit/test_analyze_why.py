"""Why a program fails: what it could not open or run, told only where that is clear."""

import pytest
from scenarios import demonstration
from tracebuilder import SECOND_NS, START_NS, TraceBuilder

from tracekit.analyze import Selection, analyze

MS, US = 1_000_000, 1_000
EACCES, ENOENT = 13, 2
O_WRONLY, O_CLOEXEC = 1, 0o2000000
CONF = "/etc/app/app.conf"
#: What every program opens as it starts, and what it looks for in vain.
START = [("/etc/ld.so.cache", 3), ("/lib/libc.so.6", 3), ("/usr/lib/locale/locale-archive", -ENOENT)]


class Machine(TraceBuilder):
    """Programs, the files that they try, and how they end."""

    def __init__(self) -> None:
        super().__init__(duration_ns=200 * SECOND_NS)
        self.next_pid = 1000
        self.add("process", 0, pid=50, tid=50, ppid=1, comm="shell")

    def run(self, at, tries=(), exit_code=1, **how):
        """A process that opens files half a millisecond apart, and ends half a millisecond after the last.

        Args:
            tries: paths, what the kernel returns, and an event if they are not to be opened.
            how: comm, ppid, pid, and how long it lasts.
        """
        self.next_pid += 1
        pid, comm, ppid = how.get("pid", self.next_pid), how.get("comm", "app"), how.get("ppid", 50)
        who = {"pid": pid, "tid": pid, "comm": comm}
        self.add("fork", at, ppid=ppid, **who)
        self.add("exec", at + 50 * US, ppid=ppid, path=f"/usr/bin/{comm}", **who)
        tries = [*START, *tries]
        for number, (path, ret, *event) in enumerate(tries):
            what = {"ppid": ppid, "ret": ret} if event else {"ret": ret, "flags": O_CLOEXEC, "duration_ns": 1000}
            self.add(*event or ["open"], at + 100 * US + number * 500 * US, path=path, **what, **who)
        end = at + how.get("lasts", 100 * US + len(tries) * 500 * US)
        self.add("exit", end, start_ns=START_NS + at, exit_code=exit_code, exit_signal=0, ppid=ppid, **who)
        return pid

    def runs(self, count, *args, begin=0, **how):
        """The same again and again, at uneven distances."""
        return [self.run(begin + turn * turn * 90 * MS, *args, **how) for turn in range(count)]


def told(machine, tmp_path):
    """What is said of a file that `app` could not open; empty if nothing is."""
    findings = [one for one in analyze(machine.trace(tmp_path / "t")).findings if one.kind == "failed_processes"]
    (detail,) = (one.detail for one in findings if one.evidence["comm"] == "app")  # that it fails is told in any case
    return detail[detail.index("app exits") :] if "could not" in detail else ""


def test_the_last_file_that_could_not_be_opened(tmp_path):
    machine = Machine()
    machine.runs(8, [("/etc/app/modules", 4), (CONF, -ENOENT)])
    assert told(machine, tmp_path) == f"app exits with 1 after it could not open {CONF} (ENOENT), 8 of 8 times."
    (finding,) = analyze(machine.trace(tmp_path / "t")).findings
    assert {"program": "app", "path": CONF, "error": "ENOENT"}.items() <= finding.evidence.items()


def cannot_run(path, error=ENOENT):
    return path, -error, "exec_failed"


def test_a_program_that_could_not_be_run(tmp_path):
    machine = Machine()
    machine.runs(8, [("/etc/app/app.local", -ENOENT), cannot_run("/opt/daemon")], exit_code=127)
    assert told(machine, tmp_path) == "app exits with 127 after it could not run /opt/daemon (ENOENT), 8 of 8 times."


@pytest.mark.parametrize("later", [("/usr/bin/daemon", None, "exec"), ("/etc/app/rules", 3)])
def test_a_program_found_in_the_last_folder_or_not_needed_is_no_reason(tmp_path, later):
    machine = Machine()
    machine.runs(8, [cannot_run("/usr/local/bin/daemon"), cannot_run("/bin/daemon"), later])
    assert told(machine, tmp_path) == ""


def test_a_program_that_is_in_no_folder(tmp_path):
    machine = Machine()
    machine.runs(8, [cannot_run("/usr/local/bin/daemon"), cannot_run("/bin/daemon")], exit_code=127)
    assert "it could not run daemon in any of 2 folders, at last /bin/daemon (ENOENT), 8 of 8" in told(
        machine, tmp_path
    )


def test_a_shell_looks_into_what_it_could_not_run(tmp_path):
    machine = Machine()
    machine.runs(8, [cannot_run("/opt/script"), ("/opt/script", 3)], exit_code=126)
    assert "it could not run /opt/script (ENOENT), 8 of 8" in told(machine, tmp_path)


def test_a_process_for_a_program_that_cannot_be_run_is_a_part_of_who_started_it(tmp_path):
    """A shell forks for each program; what the fork could not run is told once."""
    machine = Machine()
    for pid in machine.runs(8, exit_code=3, lasts=20 * MS):
        began = next(row["ts_ns"] for row in machine.rows if row["pid"] == pid and row["event"] == "fork") - START_NS
        child = {"pid": pid + 5000, "tid": pid + 5000, "ppid": pid, "comm": "app"}
        machine.add("fork", began + 10 * MS, **child)
        machine.add("exec_failed", began + 11 * MS, path="/opt/helper", ret=-ENOENT, **child)
        start_ns = START_NS + began + 10 * MS
        machine.add("exit", began + 12 * MS, start_ns=start_ns, exit_code=127, exit_signal=0, **child)
    assert "app exits with 3 after it could not run /opt/helper (ENOENT), 8 of 8" in told(machine, tmp_path)
    assert [one.kind for one in analyze(machine.trace(tmp_path / "t")).findings] == ["failed_processes"]


def test_of_two_that_fail_each_time_the_program_went_on_after_the_first(tmp_path):
    machine = Machine()
    machine.runs(8, [("/etc/app/app.local", -ENOENT), (CONF, -EACCES)])
    assert f"could not open {CONF} (EACCES), 8 of 8" in told(machine, tmp_path)


def test_runs_that_disagree_say_nothing(tmp_path):
    machine = Machine()
    machine.runs(6, [(CONF, -ENOENT)])
    machine.runs(6, [("/etc/app/other.conf", -ENOENT)], begin=31 * MS)
    assert told(machine, tmp_path) == ""


def test_a_few_runs_that_fail_otherwise(tmp_path):
    machine = Machine()
    machine.runs(9, [(CONF, -ENOENT)])
    machine.run(30 * MS)
    assert "9 of 10 times" in told(machine, tmp_path)


def test_runs_that_end_in_another_way_are_not_looked_at(tmp_path):
    machine = Machine()
    machine.runs(8, [(CONF, -ENOENT)])
    machine.runs(4, exit_code=2, begin=31 * MS)
    assert "8 of 8 times" in told(machine, tmp_path)


def test_a_file_of_which_the_name_is_not_known_is_no_reason(tmp_path):
    machine = Machine()
    machine.runs(8, [(CONF, -ENOENT), (None, -ENOENT)])
    assert f"could not open {CONF} (ENOENT), 8 of 8" in told(machine, tmp_path)


def test_what_every_program_looks_for_is_no_reason(tmp_path):
    machine = Machine()
    machine.runs(8)
    machine.runs(
        8, [("/usr/pyvenv.cfg", -ENOENT), ("/usr/share/locale/de/LC_MESSAGES/libc.mo", -ENOENT)], begin=30 * MS
    )
    assert told(machine, tmp_path) == ""


def test_words_of_an_error_message_do_not_hide_the_reason(tmp_path):
    machine = Machine()
    machine.runs(8, [(CONF, -ENOENT), ("/usr/share/locale/de/LC_MESSAGES/libc.mo", -ENOENT)])
    assert CONF in told(machine, tmp_path)


def test_a_search_that_ends_well_is_no_reason(tmp_path):
    machine = Machine()
    machine.runs(8, [("/usr/local/lib/libz.so.1", -ENOENT), ("/usr/lib/libz.so.1", 3)])
    assert told(machine, tmp_path) == ""


def test_a_search_in_vain_is_told_with_its_folders(tmp_path):
    machine = Machine()
    machine.runs(8, [("/usr/local/lib/libz.so.1", -ENOENT), ("/usr/lib/libz.so.1", -ENOENT)], exit_code=127)
    assert "after it could not open libz.so.1 in any of 2 folders, at last /usr/lib/libz.so.1 (ENOENT), 8 of 8" in told(
        machine, tmp_path
    )


def test_what_runs_that_exit_well_lack_as_well_is_no_reason(tmp_path):
    machine = Machine()
    machine.runs(8, [(CONF, -ENOENT)])
    machine.runs(2, [(CONF, -ENOENT)], exit_code=0, begin=31 * MS)
    assert told(machine, tmp_path) == ""


def test_runs_that_exit_well_and_have_the_file(tmp_path):
    machine = Machine()
    machine.runs(8, [(CONF, -ENOENT)])
    machine.runs(2, [(CONF, 3)], exit_code=0, begin=31 * MS)
    assert "8 of 8 times" in told(machine, tmp_path)


@pytest.mark.parametrize("later", [[(CONF, 3)], [("/etc/app/rules", 3)]])
def test_what_is_opened_after_all_or_followed_by_more_work_is_no_reason(tmp_path, later):
    machine = Machine()
    machine.runs(8, [(CONF, -ENOENT), *later])
    assert told(machine, tmp_path) == ""


def test_what_another_failing_run_could_open_is_no_reason(tmp_path):
    machine = Machine()
    machine.runs(8, [(CONF, -ENOENT)])
    machine.run(30 * MS, [(CONF, 3)])
    assert told(machine, tmp_path) == ""


def test_writing_a_log_is_no_more_work(tmp_path):
    machine = Machine()
    for pid in machine.runs(8, [(CONF, -ENOENT)], lasts=20 * MS):
        began = next(row["ts_ns"] for row in machine.rows if row["pid"] == pid and row["event"] == "fork") - START_NS
        log = {"path": "/var/log/app", "ret": 3, "flags": O_WRONLY, "duration_ns": 1000}
        machine.add("open", began + 10 * MS, pid=pid, tid=pid, comm="app", **log)
    assert CONF in told(machine, tmp_path)


def test_nothing_is_said_where_no_opens_were_recorded(tmp_path):
    machine = Machine()
    machine.runs(8)
    machine.rows = [row for row in machine.rows if row["event"] != "open"]
    assert told(machine, tmp_path) == ""


def test_opens_of_others_that_had_the_pid_are_not_its_own(tmp_path):
    """Each pid is used three times: by a failing run, and before and after it by somebody who lacks another file."""
    machine = Machine()
    for turn in range(8):
        at, pid = turn * turn * 90 * MS, 2000 + turn
        for since, comm, path, code in ((0, "x", "/x", 0), (20 * MS, "app", CONF, 1), (40 * MS, "y", "/y", 0)):
            machine.run(at + since, [(path, -ENOENT)], code, comm=comm, pid=pid)
    assert f"could not open {CONF} (ENOENT), 8 of 8 times" in told(machine, tmp_path)


def test_runs_in_which_opens_were_lost_do_not_count(tmp_path):
    machine = Machine()
    machine.runs(8, [(CONF, -ENOENT)])
    machine.add("lost", 2 * MS, start_ns=START_NS + MS, lost=3, lost_family="open")
    assert "7 of 7 times looked at" in told(machine, tmp_path)


# --- a program of many processes -------------------------------------------------------------------------------


def script(machine, at, *, reader="cat", reader_code=1, after=0):
    """A shell that runs programs, one of which cannot open a file."""
    shell = machine.run(at, lasts=200 * MS)
    for number in range(6):
        machine.run(at + (10 + 5 * number) * MS, exit_code=0, comm="date", ppid=shell)
    machine.run(at + 60 * MS, [(CONF, -ENOENT)], reader_code, comm=reader, ppid=shell)
    for number in range(after):
        machine.run(at + (80 + 5 * number) * MS, exit_code=0, comm="date", ppid=shell)


@pytest.mark.parametrize(
    ("how", "clear"),
    [
        ({}, True),
        ({"after": 2}, True),
        ({"after": 12}, False),  # the script goes on
        ({"reader_code": 0}, False),  # nobody minds
        ({"reader": "grep"}, False),  # an answer
    ],
)
def test_a_process_of_the_run_that_fails_for_want_of_a_file(tmp_path, how, clear):
    machine = Machine()
    for turn in range(8):
        script(machine, turn * turn * 900 * MS, **how)
    sentence = f"app exits with 1 after cat could not open {CONF} (ENOENT), 8 of 8 times."
    assert told(machine, tmp_path) == (sentence if clear else "")


def test_the_last_process_that_fails_is_to_blame(tmp_path):
    """A file is missing, and something else fails afterwards, in each run."""
    machine = Machine()
    for turn in range(8):
        at = turn * turn * 900 * MS
        script(machine, at)
        machine.run(at + 100 * MS, exit_code=7, comm="curl", ppid=machine.next_pid - 7)
    assert told(machine, tmp_path) == ""


def test_of_a_service_that_is_started_again(tmp_path):
    """The file that another program lacks, hundreds of times, is not the one that it lacks."""
    builder = demonstration(seed=3)
    services = [row for row in builder.rows if row["event"] == "exit" and row["comm"] == "start-service"]
    for row in services:
        who = {"pid": row["pid"], "tid": row["pid"], "comm": "start-service"}
        at = row["ts_ns"] - START_NS - MS
        builder.add("open", at, path="/srv/service.conf", ret=-ENOENT, duration_ns=1000, **who)
    first = analyze(builder.trace(tmp_path / "t")).findings[0]
    assert first.kind == "restarts"
    assert "exits with 1 after it could not open /srv/service.conf (ENOENT), 9 of 9 times." in first.detail
    part = analyze(builder.trace(tmp_path / "u"), Selection(start_ns=3 * SECOND_NS)).findings[0]
    assert "/srv/service.conf (ENOENT), 6 of 6 times." in part.detail
