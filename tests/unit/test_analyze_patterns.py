"""What is said of rhythms in process starts: who starts them, what fails, and whether it is started again."""

import numpy as np
import pytest
from tracebuilder import SECOND_NS, START_NS, TraceBuilder

from tracekit.analyze import Selection, analyze, raw_events

MS = 1_000_000
SHELL = 4529


def process(builder, pids, comm, at_ns, *, code=0, life_ns=MS):
    """A process that starts at a time, runs a program, and ends; `pids` are its own and its parent's."""
    who = {"pid": pids[0], "tid": pids[0], "ppid": pids[1]}
    builder.add("fork", at_ns, comm="sh", **who)
    builder.add("exec", at_ns + 1000, comm=comm, path=f"/usr/bin/{comm}", argv=[comm], **who)
    end = {"start_ns": START_NS + at_ns, "exit_code": code, "exit_signal": 0}
    builder.add("exit", at_ns + life_ns, comm=comm, **end, **who)


def shell(duration_s=20):
    """A recording in which bash (pid 875) has a child sh."""
    builder = TraceBuilder(duration_ns=duration_s * SECOND_NS)
    builder.add("process", 0, pid=875, tid=875, ppid=1, comm="bash", start_ns=START_NS - SECOND_NS)
    builder.add("process", 0, pid=SHELL, tid=SHELL, ppid=875, comm="sh", start_ns=START_NS - SECOND_NS)
    return builder


def rounds(builder, commands, *, clock=False, period_ms=300, count=30):
    """Rounds of commands that exit with their codes; a round waits for a clock, or for the one before it."""
    chance = np.random.default_rng(2)
    at_ms = 400.0
    for turn in range(count):
        begin = at_ms + (chance.normal(0, 0.01 * period_ms) if clock else 0)
        for place, (comm, codes) in enumerate(commands):
            code = codes[turn % len(codes)]
            process(builder, (10_000 + 10 * turn + place, SHELL), comm, round((begin + 2 * place) * MS), code=code)
        at_ms += period_ms + (0 if clock else chance.normal(0, 0.02 * period_ms))
    return builder


def first_finding(builder, tmp_path):
    return analyze(builder.trace(tmp_path / "t")).findings[0]


# --- what is started again -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("comm", "code"), [("grep", 1), ("curl", 7)])
def test_a_loop_with_a_command_that_fails_is_no_service_started_again(tmp_path, comm, code):
    builder = rounds(shell(), [(comm, (code,)), ("date", (0,)), ("sleep", (0,))], count=60)
    found = first_finding(builder, tmp_path)
    assert found.kind == "process_bursts"
    assert f"{comm} exits with {code} each time, the rest exit with 0" in found.title
    assert "started again" not in found.detail
    assert "look for a loop" in found.detail


@pytest.mark.parametrize("comm", ["pgrep", "check"])
def test_what_keeps_the_beat_of_a_clock_is_not_started_because_it_failed(tmp_path, comm):
    builder = rounds(shell(40), [(comm, (1,))], clock=True, period_ms=1000)
    found = first_finding(builder, tmp_path)
    assert found.kind == "periodic"
    assert f"{comm} exits with 1 each time" in found.title
    assert "look for a timer" in found.detail


def test_an_exit_with_1_that_is_an_answer_is_no_failure_of_a_service(tmp_path):
    """A shell that waits for a process to come."""
    assert first_finding(rounds(shell(), [("pgrep", (1,)), ("sleep", (0,))]), tmp_path).kind == "process_bursts"


def test_a_service_without_children_that_is_started_again(tmp_path):
    found = first_finding(rounds(shell(), [("serve", (3,)), ("sleep", (0,))]), tmp_path)
    assert found.kind == "restarts"
    assert found.detail.endswith("serve fails and is started again, over and over.")


def test_a_service_whose_script_has_a_command_that_fails(tmp_path):
    """The service itself ends well: what it runs is not started again because of its failure."""
    builder = rounds(shell(), [("service", (0,))])
    for row in [row for row in builder.rows if row["event"] == "exec"]:
        at_ns = row["ts_ns"] - START_NS + 100_000
        process(builder, (row["pid"] + 5, row["pid"]), "mount", at_ns, code=32, life_ns=50_000)
    found = first_finding(builder, tmp_path)
    assert found.kind == "process_bursts"
    assert "mount exits with 32 each time" in found.title


# --- how they end ----------------------------------------------------------------------------------------------


def test_a_command_that_fails_now_and_then_does_not_fail_each_time(tmp_path):
    builder = rounds(shell(), [("serve", (3, 0, 0, 0)), ("date", (0,))])
    result = analyze(builder.trace(tmp_path / "t"))
    assert [one.failing for one in result.patterns] == [{}]
    assert result.findings[0].kind == "process_bursts"
    assert "; 8 of 60 fail (serve)" in result.findings[0].title


def test_of_several_that_fail_now_and_then_none_is_named(tmp_path):
    found = first_finding(rounds(shell(), [("serve", (3, 0, 0, 0)), ("date", (0, 0, 0, 0, 1))]), tmp_path)
    assert found.title.endswith("; 14 of 60 fail")


def test_a_command_that_fails_each_time_but_in_two_ways_does_not_fail_the_same_way_each_time(tmp_path):
    (one,) = analyze(rounds(shell(), [("serve", (3, 4)), ("date", (0,))]).trace(tmp_path / "t")).patterns
    assert one.exit_codes == {"0": 30, "3": 15, "4": 15}
    assert one.failing == {}


def test_a_signal_is_no_exit_code(tmp_path):
    builder = shell()
    for turn in range(30):
        process(builder, (10_000 + turn, SHELL), "serve", (400 + 300 * turn) * MS)
        builder.rows[-1]["exit_signal"] = 9
    (one,) = analyze(builder.trace(tmp_path / "t")).patterns
    assert (one.exit_codes, one.failing) == ({"signal 9": 30}, {"serve": "signal 9"})


def test_a_command_that_fails_nearly_each_time(tmp_path):
    builder = rounds(shell(), [("serve", (3, 3, 3, 3, 3, 3, 3, 3, 0, 3))])
    found = first_finding(builder, tmp_path)
    assert found.kind == "restarts"
    assert "serve exits with 3 nearly each time, the rest exit with 0" in found.title


def test_the_rest_is_said_to_be_well_only_where_it_is(tmp_path):
    codes = (1, *[0] * 29)
    found = first_finding(rounds(shell(), [("serve", (3,)), ("tail", codes), ("date", (0,))]), tmp_path)
    assert "serve exits with 3 each time, 1 of the other 60 fails (tail)" in found.title


def test_nothing_is_said_of_ends_that_are_not_known(tmp_path):
    builder = rounds(shell(), [("date", (0,)), ("id", (None,))])
    assert "exit with 0" not in first_finding(builder, tmp_path).title


# --- who starts them -------------------------------------------------------------------------------------------


def test_who_starts_them_is_the_parent_and_no_far_ancestor(tmp_path):
    """Other work of the same tree that looks like more rounds of the same; the loop's shell is of its first round."""
    builder = rounds(shell(8), [("date", (0,)), ("sleep", (0,))], period_ms=500, count=8)
    builder.rows = [row for row in builder.rows if row["pid"] != SHELL]
    process(builder, (SHELL, 875), "sh", 398 * MS, life_ns=4 * SECOND_NS)
    for turn in range(3):
        for place, comm in enumerate(("ls", "cat", "wc", "tr")[: 2 + turn]):
            at_ms = 4400 + 500 * turn + 2 * place
            process(builder, (20_000 + 10 * turn + place, 875), comm, at_ms * MS)
    result = analyze(builder.trace(tmp_path / "t"))
    one = next(one for one in result.patterns if one.event == "exec")
    assert one.scope["parent"] == f"sh (pid {SHELL})"
    assert (one.cycles, one.burst_size) == (8, 2)
    assert f"started by sh (pid {SHELL})" in one.sentence
    assert "running date, sleep; all exit with 0" in one.sentence


def test_an_ancestor_that_does_not_start_them_itself(tmp_path):
    """Each round has a shell of its own, which was there before the recording."""
    builder = shell()
    for turn in range(30):
        who = {"pid": 5000 + turn, "tid": 5000 + turn}
        builder.add("process", 0, ppid=875, comm="sh", start_ns=START_NS - SECOND_NS, **who)
        for place, comm in enumerate(("date", "id")):
            at_ms = 400 + 300 * turn + 2 * place
            process(builder, (10_000 + 10 * turn + place, 5000 + turn), comm, at_ms * MS)
    one = analyze(builder.trace(tmp_path / "t")).patterns[0]
    assert one.scope == {"parent": "bash (pid 875)"}
    assert "started by sh below bash (pid 875)" in one.sentence


def test_a_subshell_is_a_part_of_who_starts_it(tmp_path):
    builder = shell()
    for turn in range(30):
        who = {"pid": 5000 + turn, "tid": 5000 + turn, "ppid": SHELL}
        builder.add("fork", (399 + 300 * turn) * MS, comm="sh", **who)
        for place, comm in enumerate(("date", "id")):
            at_ms = 400 + 300 * turn + 2 * place
            process(builder, (10_000 + 10 * turn + place, 5000 + turn), comm, at_ms * MS)
    one = analyze(builder.trace(tmp_path / "t")).patterns[0]
    assert f"started by sh (pid {SHELL})" in one.sentence


def test_a_subshell_that_starts_all_rounds_is_who_starts_them(tmp_path):
    builder = TraceBuilder(duration_ns=20 * SECOND_NS)
    builder.add("process", 0, pid=875, tid=875, ppid=1, comm="bash", start_ns=START_NS - SECOND_NS)
    builder.add("fork", MS, pid=SHELL, tid=SHELL, ppid=875, comm="bash")
    one = analyze(rounds(builder, [("date", (0,)), ("id", (0,))]).trace(tmp_path / "t")).patterns[0]
    assert one.scope["parent"].endswith(f"(pid {SHELL})")
    assert f"started by {one.scope['parent']}" in one.sentence


def test_what_the_first_one_of_a_round_starts_is_started_by_its_starter(tmp_path):
    builder = rounds(shell(), [("service", (0,))])
    for row in [row for row in builder.rows if row["event"] == "exec"]:
        for place in (1, 2):
            at_ns = row["ts_ns"] - START_NS + 100_000 * place
            process(builder, (row["pid"] + place, row["pid"]), "id", at_ns, life_ns=50_000)
    one = analyze(builder.trace(tmp_path / "t")).patterns[0]
    assert one.chain == ("service", "id", "id")
    assert f"started by sh (pid {SHELL})" in one.sentence


# --- rates and rhythms of no interest --------------------------------------------------------------------------


def io(builder, at_ns):
    columns = {"dev": 8 << 20, "disk": "sda", "op": "read", "request": 1, "sector": 0, "bytes": 4096}
    builder.add("block_start", at_ns, pid=7, tid=7, comm="dd", **columns)
    builder.add("block_issue", at_ns + 1000, pid=7, tid=7, comm="dd", **columns)
    builder.add("block_complete", at_ns + 100_000, pid=0, tid=0, comm="swapper", ret=0, **columns)


@pytest.mark.parametrize(("event", "period_us"), [("block_start", 160), ("open", 160), ("open", 4000)])
def test_one_after_another_is_a_steady_rate_and_no_rhythm_worth_telling(tmp_path, event, period_us):
    builder = TraceBuilder(duration_ns=2000 * period_us * 1000)
    for turn in range(1990):
        if event == "open":
            who = {"pid": 7, "tid": 7, "comm": "cat", "path": "/etc/motd"}
            builder.add("open", turn * period_us * 1000, ret=3, duration_ns=1000, **who)
        else:
            io(builder, turn * period_us * 1000)
    result = analyze(builder.trace(tmp_path / "t"))
    (one,) = result.patterns
    assert (one.kind, one.event, one.cycles) == ("steady", event, 1990)
    assert one.rate_per_second == pytest.approx(1e6 / period_us)
    assert f"at a steady rate of {1e6 / period_us:,.0f} a second, by" in one.sentence
    assert result.findings == ()


def test_a_few_at_once_are_a_rhythm_however_short_its_period(tmp_path):
    chance, builder = np.random.default_rng(1), TraceBuilder(duration_ns=4 * SECOND_NS)
    for turn in range(990):
        for part in range(3):
            at = turn * 4 * MS + part * MS // 20 + round(chance.normal(0, 5000)) + MS
            builder.add("open", at, pid=7, tid=7, comm="poll", path="/run/state", ret=3, duration_ns=1000)
    (one,) = [each for each in analyze(builder.trace(tmp_path / "t")).patterns if each.kind != "steady"]
    assert (one.kind, one.burst_size, round(one.period_ns / MS, 1)) == ("bursts", 3, 4.0)


def poisson_opens(*, walk=0.0):
    """Opens by three commands at chance times; the rate of all of them wanders, or not."""
    chance = np.random.default_rng(1)
    builder = TraceBuilder(duration_ns=20 * SECOND_NS)
    rate = np.exp(np.cumsum(chance.normal(0, walk, 200)))
    for comm in ("cat", "ls", "wc"):
        counts = chance.poisson(50 * 0.1 * rate / rate.mean())
        for at in (np.repeat(np.arange(200), counts) + chance.uniform(0, 1, counts.sum())) * 0.1:
            columns = {"pid": 7, "tid": 7, "comm": comm, "path": "/etc/motd", "ret": 3, "duration_ns": 1000}
            builder.add("open", round(at * SECOND_NS), **columns)
    return builder


def test_a_steady_rate_is_told_once_and_is_no_finding(tmp_path):
    result = analyze(poisson_opens().trace(tmp_path / "t"))
    (one,) = result.patterns
    assert (one.kind, one.scope, one.share) == ("steady", {"path": "/etc/motd"}, 1.0)
    assert one.sentence.startswith("the file /etc/motd is opened at a steady rate of 1")
    assert result.findings == ()


def test_a_rate_that_wanders_is_not_steady(tmp_path):
    assert analyze(poisson_opens(walk=0.1).trace(tmp_path / "t")).patterns == ()


def test_how_long_each_command_lives(tmp_path):
    """One that takes long does not make all of them slow."""
    builder = rounds(shell(), [("serve", (3,)), ("date", (0,))])
    builder.rows[-1]["ts_ns"] += 100 * MS
    (one,) = analyze(builder.trace(tmp_path / "t")).patterns
    assert one.lifetimes == {"serve": MS, "date": MS}


@pytest.mark.parametrize(
    ("period_ms", "times", "rate"),
    [(2, "2,400 times", "500 a second"), (40, "120 times", "25.0 a second"), (3000, "6 times", "20.0 a minute")],
)
def test_rates_are_numbers_that_people_read(tmp_path, period_ms, times, rate):
    count = min(4800 // period_ms, 2400) if period_ms < 1000 else 6
    builder = TraceBuilder(duration_ns=max(5 * SECOND_NS, 20 * SECOND_NS * (period_ms >= 1000)))
    for turn in range(count):
        process(builder, (10_000 + turn, SHELL), "date", (turn * period_ms + 100) * MS)
    found = first_finding(builder, tmp_path)
    assert times in found.title
    assert f"That makes {rate}, " in found.detail


@pytest.mark.parametrize("well", [True, False])
def test_the_events_behind_a_rhythm_are_of_its_processes_alone(tmp_path, well):
    """Others had the same pids between; so it is with programs that cannot be run."""
    builder = TraceBuilder(duration_ns=20 * SECOND_NS)
    for turn in range(30):
        at, who = (400 + 300 * turn) * MS, {"pid": 100 + turn % 3, "tid": 100 + turn % 3, "ppid": 50}
        builder.add("fork", at, comm="sh", **who)
        builder.add("exec" if well else "exec_failed", at + 1000, comm="job" if well else "sh", path="/bin/job", **who)
        builder.add("exit", at + MS, comm="job" if well else "sh", exit_code=0, exit_signal=0, **who)
        if turn in (2, 3, 7, 15, 22, 23):
            process(builder, (100 + turn % 3, 60), "other", at + 100 * MS)
    trace = builder.trace(tmp_path / "t")
    report = analyze(trace)
    assert {one.chain for one in report.patterns} == ({("job",)} if well else set())
    [finding] = [one for one in report.findings if one.evidence["cycles" if well else "failed"] == 30]
    rows = [row for batch in raw_events(trace, Selection(), finding.where) for row in batch.to_pylist()]
    assert len(rows) == 90
    assert {row["ppid"] for row in rows} == {50}


@pytest.mark.parametrize(("uneven", "told"), [(0.35, 0), (0.0, 1)])
def test_each_file_of_many_that_are_opened_in_turn_has_no_rhythm_of_its_own(tmp_path, uneven, told):
    """Ten files in turn, after steps that vary: each comes at more equal distances than chance makes, by counting."""
    chance, builder, at = np.random.default_rng(1), TraceBuilder(duration_ns=20 * SECOND_NS), 100 * MS
    for turn in range(800):
        for part in range(2):
            builder.add("open", at + part * MS // 2, pid=7, tid=7, comm="worker", path=f"/r/{turn % 10}", ret=3)
        at += round(23 * MS * max(1 + uneven * chance.normal(), 0.2))
    found = [one for one in analyze(builder.trace(tmp_path / "t")).patterns if one.kind != "steady"]
    assert len(found) == told


@pytest.mark.parametrize("seed", range(6))
def test_a_few_rounds_of_them_are_enough_to_see_that(tmp_path, seed):
    """Distances of so few beats vary by much less than they should, now and then; those of all ten files do not."""
    chance, builder = np.random.default_rng(seed), TraceBuilder(duration_ns=2 * SECOND_NS)
    for turn, at_ms in enumerate(np.cumsum(19 * np.maximum(1 + 0.35 * chance.normal(size=100), 0.2))):
        for part_ms in range(2):
            at = round((at_ms + 0.5 * part_ms) * MS)
            builder.add("open", at, pid=7, tid=7, comm="worker", path=f"/r/{turn % 10}", ret=3)
    assert not [one.scope for one in analyze(builder.trace(tmp_path / "t")).patterns if one.kind != "steady"]


def test_a_poll_among_as_many_other_opens_of_its_command_is_told(tmp_path):
    """Its distances vary by 8 %, and the opens between by more."""
    chance, builder = np.random.default_rng(1), TraceBuilder(duration_ns=20 * SECOND_NS)
    for at in np.cumsum(chance.normal(250, 20, 75)):
        builder.add("open", round(at * MS), pid=7, tid=7, comm="worker", path="/run/poll", ret=3)
    for at in chance.uniform(0, 20_000, 1500):
        builder.add("open", round(at * MS), pid=7, tid=7, comm="worker", path="/data", ret=3)
    found = [one for one in analyze(builder.trace(tmp_path / "t")).patterns if one.kind != "steady"]
    assert [one.scope for one in found] == [{"path": "/run/poll"}]


@pytest.mark.parametrize("offsets_ms", [(0, 300, 550), (0, 200, 600), (0, 100, 400, 500)])
def test_rounds_of_uneven_steps_keep_time_and_are_told_once(tmp_path, offsets_ms):
    builder, chance = TraceBuilder(duration_ns=100 * SECOND_NS), np.random.default_rng(4)
    for at_ms in np.cumsum(chance.normal(1000, 70, 90)):
        for number, offset_ms in enumerate(offsets_ms):
            builder.add("open", round((at_ms + offset_ms) * 1e6), pid=7, comm="svc", path=f"/p{number}", ret=3)
    found = [one for one in analyze(builder.trace(tmp_path / "t")).patterns if one.kind != "steady"]
    assert [(one.scope, one.burst_size) for one in found] == [({"comm": "svc"}, len(offsets_ms))]
    assert abs(found[0].period_ns / 1e9 - 1) < 0.03


@pytest.mark.parametrize("starts", [False, True])
def test_files_that_are_opened_together_are_told_once_and_not_beside_the_processes_that_open_them(tmp_path, starts):
    """All opens of each command have no rhythm that shows: those of each of its files do."""
    builder, chance = shell(15), np.random.default_rng(3)
    beats_ms = np.cumsum(chance.normal(1000, 90, 13))
    for turn, at_ms in enumerate(beats_ms):
        for number, comm in enumerate(("id", "date", "uname", "mkdir")):
            for place in range(5):
                pid, begin_ms = 10_000 + 20 * turn + 5 * number + place, at_ms + 4 * (5 * number + place)
                if starts:
                    process(builder, (pid, SHELL), comm, round(begin_ms * MS))
                for file in range(6):
                    at = round((begin_ms + 0.1 + 0.01 * file) * MS)
                    builder.add("open", at, pid=pid, tid=pid, comm=comm, path=f"/lib/{file}", ret=3)
    for comm in ("id", "date", "uname", "mkdir"):
        for at_ms in chance.uniform(0, 15_000, 2000):
            builder.add("open", round(at_ms * MS), pid=7, tid=7, comm=comm, path="/data", ret=3)
    told = [one for one in analyze(builder.trace(tmp_path / "t")).patterns if one.kind != "steady"]
    assert [one.event for one in told] == ["exec" if starts else "open"]


def test_two_polls_of_the_same_period_that_do_not_wait_for_each_other_are_both_told(tmp_path):
    builder, chance = TraceBuilder(duration_ns=60 * SECOND_NS), np.random.default_rng(5)
    for comm, offset_ms in (("first", 300), ("second", 700)):
        for at_ms in np.arange(offset_ms, 60_000, 1000) + chance.normal(0, 30, 60):
            builder.add("open", round(at_ms * MS), pid=7, tid=7, comm=comm, path=f"/run/{comm}", ret=3)
    for at_ms in chance.uniform(0, 60_000, 1200):
        builder.add("open", round(at_ms * MS), pid=8, tid=8, comm="other", path="/data", ret=3)
    told = [one for one in analyze(builder.trace(tmp_path / "t")).patterns if one.kind != "steady"]
    assert len(told) == 2


@pytest.mark.parametrize(("every", "after_ms"), [(3, 500), (5, 500), (3, 20)])
def test_a_poll_to_every_third_beat_of_a_job_is_told_as_well(tmp_path, every, after_ms):
    builder, chance = shell(60), np.random.default_rng(1)
    for turn, at_ms in enumerate(np.arange(200, 60_000, 1000)):
        process(builder, (10_000 + turn, SHELL), "job", round((at_ms + chance.normal(0, 3)) * MS))
        if turn % every == 0:
            at = round((at_ms + after_ms + chance.normal(0, 3)) * MS)
            builder.add("open", at, pid=7, tid=7, comm="daemon", path="/run/state", ret=3)
    told = [one for one in analyze(builder.trace(tmp_path / "t")).patterns if one.kind != "steady"]
    assert [one.event for one in told] == ["exec", "open"]
