"""Whole traces through the analyzer: what is measured, what is not trusted, and what the report says."""

import itertools
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from scenarios import DISK, demonstration, everything, io
from tracebuilder import SECOND_NS, START_NS, TraceBuilder

from tracekit import open_trace
from tracekit.analyze import analyze
from tracekit.analyze.report.json import to_json
from tracekit.analyze.report.markdown import to_markdown
from tracekit.analyze.report.text import to_text
from tracekit.cli.main import cli
from tracekit.metadata import Clock
from tracekit.schema import FAMILY_OF

MS, US = 1_000_000, 1_000


def latency(result, metric, **group):
    found = [one for one in result.latency if one.metric == metric and one.group == group]
    assert len(found) == 1
    return found[0]


# --- latency ---------------------------------------------------------------------------------------------------


def test_queue_device_and_total(tmp_path):
    builder = TraceBuilder()
    for turn in range(10):
        io(builder, turn * 10 * MS, queue_ns=(turn + 1) * US, device_ns=(turn + 1) * MS)
    result = analyze(builder.trace(tmp_path / "t"))
    assert latency(result, "block.queue").p50_ns == 5 * US
    assert latency(result, "block.device").max_ns == 10 * MS
    assert latency(result, "block.total").max_ns == 10 * MS + 10 * US
    assert latency(result, "block.total").mean_ns == (55 * MS + 55 * US) // 10
    assert [one.name for one in result.workload.block["by_comm"]] == ["reader"]


def test_requeue_partial_completion_and_merge(tmp_path):
    builder = TraceBuilder()
    columns = DISK | {"request": 1, "sector": 0, "bytes": 8192}
    builder.add("block_start", 0, **columns).add("block_issue", 100, **columns).add("block_requeue", 200, **columns)
    builder.add("block_issue", 1000, **columns)
    builder.add("block_complete", 1500, **columns | {"bytes": 4096})
    builder.add("block_complete", 3000, **columns | {"bytes": 4096, "sector": 8})
    other = columns | {"request": 2, "sector": 64}
    builder.add("block_start", 5000, **other).add("block_merge", 5001, **other)
    result = analyze(builder.trace(tmp_path / "t"))
    assert latency(result, "block.device").max_ns == 2000
    assert latency(result, "block.queue").max_ns == 100
    assert latency(result, "block.total").max_ns == 3000
    assert result.quality.unmatched_issues == result.quality.in_flight_at_end == 0
    assert result.quality.notes == ()


def test_a_write_with_a_flush_behind_it_ends_with_its_last_completion(tmp_path):
    builder = TraceBuilder()
    write = DISK | {"request": 1, "sector": 0, "bytes": 4096, "op": "write"}
    builder.add("block_start", 0, **write).add("block_issue", 10, **write).add("block_complete", 110, **write)
    builder.add("block_complete", 500, **write | {"bytes": 0})
    result = analyze(builder.trace(tmp_path / "t"))
    assert latency(result, "block.device").max_ns == 100
    assert latency(result, "block.total").max_ns == 500
    assert result.quality.unmatched_completions == 0


def test_io_at_both_ends_and_a_missed_completion(tmp_path):
    builder = TraceBuilder()
    columns = DISK | {"sector": 0, "bytes": 4096}
    builder.add("block_complete", 10, request=1, **columns)
    builder.add("block_issue", 20, request=2, **columns | {"sector": 800})
    io(builder, 1000, slot=2)
    builder.add("block_issue", builder.duration_ns - MS, request=3, **columns)
    quality = analyze(builder.trace(tmp_path / "t")).quality
    assert (quality.unmatched_issues, quality.unmatched_completions, quality.in_flight_at_end) == (1, 0, 1)
    assert quality.notes == ("1 I/O was under way at the beginning",)


def test_what_spans_lost_events_is_not_trusted(tmp_path):
    builder = TraceBuilder()
    for turn in range(20):
        io(builder, turn * 10 * MS)
    io(builder, 500 * MS, slot=2, device_ns=900 * MS)
    builder.add("lost", 700 * MS, start_ns=START_NS + 600 * MS, lost=7, lost_family="block")
    result = analyze(builder.trace(tmp_path / "t"))
    assert latency(result, "block.device").count == 20
    assert latency(result, "block.device").max_ns == MS
    assert latency(result, "block.queue").count == 21
    assert result.quality.lost == 7
    assert not result.quality.whole
    assert result.quality.notes == ("1 I/O that spans lost events left out of latencies",)
    assert "7 events lost" in to_text(result)


def test_without_slots_a_pair_with_a_rival_is_not_trusted(tmp_path):
    builder = TraceBuilder()
    io(builder, 0, slot=None)
    io(builder, 100 * MS, slot=None, device_ns=10 * MS)
    io(builder, 101 * MS, slot=None, device_ns=10 * MS)
    result = analyze(builder.trace(tmp_path / "t"))
    assert latency(result, "block.device").count == 1
    note = "2 I/O matched by place, with another one like it under way, left out of latencies"
    assert result.quality.notes == (note,)


def test_outliers_of_one_stall_and_what_sets_them_apart(tmp_path):
    builder = TraceBuilder()
    for turn in range(2500):
        io(builder, turn * 3 * MS, slot=1, device_ns=MS + turn * 100)
    for turn in range(11):
        io(builder, 4 * SECOND_NS + turn * MS, slot=10 + turn, device_ns=700 * MS, disk="sdb", op="write")
    result = analyze(builder.trace(tmp_path / "t"))
    out = latency(result, "block.device").outliers
    assert out is not None
    assert (out.count, len(out.episodes), len(out.events)) == (11, 1, 11)
    reasons = {item.field: item.value for item in out.sets_apart}
    assert reasons["disk"] == "sdb"
    assert reasons["op"] == "write"
    assert {row["disk"] for row in out.events} == {"sdb"}
    assert [one.kind for one in result.findings][:1] == ["outliers"]
    assert "all in one stall at 4.00 s" in result.findings[0].title


@pytest.mark.parametrize(("stalls", "shown"), [(4, 4), (5, 3)])
def test_episodes_of_outliers_as_text(tmp_path, stalls, shown):
    """The first lasts for 90 ms, the others are moments; one that would be left out is shown instead."""
    builder = TraceBuilder(duration_ns=20 * SECOND_NS)
    for turn in range(2500):
        io(builder, turn * 3 * MS, slot=1, device_ns=50 * US + turn)
    for turn, at in enumerate((1000, 1090, *range(3000, 2000 + 1000 * stalls, 1000))):
        io(builder, at * MS, slot=10 + turn, device_ns=4 * MS)
    text = to_text(analyze(builder.trace(tmp_path / "t"))).split("Block I/O in the queue")[0]
    lines = [line.strip().removesuffix(" into the recording") for line in text.splitlines()]
    begin = next(number for number, line in enumerate(lines) if "outliers (" in line) + 1
    moments = ["2 from 1.00 s to 1.09 s", "1 at 3.00 s", "1 at 4.00 s", "1 at 5.00 s"][:shown]
    more = [] if shown == stalls else [f"and {stalls - shown} more episodes"]
    assert lines[begin : begin + shown + len(more)] == [*moments, *more]
    assert "episode" not in " ".join(lines[begin + shown + len(more) :])


def test_a_coarse_clock_makes_no_modes(tmp_path):
    builder = TraceBuilder().metadata(clock=Clock(resolution_ns=4 * MS))
    for turn in range(400):
        io(builder, turn * 20 * MS, device_ns=4 * MS * (turn % 4))
    assert len(latency(analyze(builder.trace(tmp_path / "t")), "block.device").modes) == 1


# --- processes -------------------------------------------------------------------------------------------------


def test_lifetimes_pid_reuse_and_lost_windows(tmp_path):
    builder = TraceBuilder()
    builder.add("fork", 100, pid=5, tid=5, ppid=1, comm="sh").add("exit", 1100, pid=5, tid=5, ppid=1, comm="a")
    builder.add("fork", 2000, pid=5, tid=5, ppid=1, comm="sh").add("exit", 2500, pid=5, tid=5, ppid=1, comm="b")
    builder.add("exit", 3000, pid=6, tid=6, ppid=1, comm="old", start_ns=START_NS - 7000)
    builder.add("exit", 3000, pid=7, tid=7, ppid=1, comm="unknown")
    builder.add("fork", 4000, pid=8, tid=8, ppid=1, comm="sh").add("exit", 6000, pid=8, tid=8, ppid=1, comm="c")
    builder.add("lost", 5001, start_ns=START_NS + 5000, lost=1, lost_family="process")
    found = latency(analyze(builder.trace(tmp_path / "t")), "process.lifetime")
    assert (found.count, found.min_ns, found.p50_ns, found.max_ns) == (3, 500, 1000, 10_000)


def test_a_parent_is_the_one_that_lived_when_the_child_was_born(tmp_path):
    builder = TraceBuilder()
    for at, name in ((0, "first"), (10_000, "second")):
        builder.add("fork", at, pid=5, tid=5, ppid=1, comm="init")
        builder.add("exec", at + 1, pid=5, tid=5, ppid=1, comm=name, path=f"/{name}")
        builder.add("fork", at + 100, pid=6, tid=6, ppid=5, comm=name)
        builder.add("exec", at + 101, pid=6, tid=6, ppid=5, comm="child", path="/child")
        builder.add("exit", at + 200, pid=6, tid=6, ppid=5, comm="child", exit_code=0, exit_signal=0)
        builder.add("exit", at + 300, pid=5, tid=5, ppid=1, comm=name, exit_code=3, exit_signal=0)
    used = analyze(builder.trace(tmp_path / "t")).workload.process
    assert {one.name: one.count for one in used["by_parent"]} == {"?": 2, "first": 1, "second": 1}
    assert {one.name: one.failed for one in used["by_path"]} == {"/child": 0, "/first": 1, "/second": 1}


def test_the_motivating_case(tmp_path):
    result = analyze(demonstration(seed=1).trace(tmp_path / "t"))
    bursts = [one for one in result.patterns if one.event == "exec"]
    assert len(bursts) == 1
    one = bursts[0]
    assert (one.kind, one.burst_size, one.cycles) == ("bursts", 30, 9)
    assert one.scope == {"parent": "supervise (pid 123)"}
    assert abs(one.period_ns - 1.02e9) < 0.02e9
    assert abs(one.pause_ns - 0.97e9) < 0.02e9
    assert one.chain[:3] == ("start-service", "id", "uname")
    assert len(one.chain) == 30
    assert one.exit_codes["1"] == 9
    assert result.findings[0].kind == "restarts"
    sentence = result.findings[0].title
    for part in ("30 processes start in a burst of", "9 times", "supervise (pid 123)", "start-service exits with 1"):
        assert part in sentence
    assert [one.kind for one in result.findings].count("restarts") == 1


@pytest.mark.parametrize("seed", range(6))
def test_the_motivating_case_beside_other_processes(tmp_path, seed):
    result = analyze(demonstration(seed=seed, strangers=150).trace(tmp_path / "t"))
    bursts = [one for one in result.patterns if one.event == "exec"]
    assert [(one.burst_size, one.scope) for one in bursts] == [(30, {"parent": "supervise (pid 123)"})]
    assert abs(bursts[0].period_ns - 1.02e9) < 0.02e9


def test_a_program_that_cannot_be_run_is_never_started(tmp_path):
    builder = TraceBuilder(duration_ns=20 * SECOND_NS)
    builder.add("process", 0, pid=9, tid=9, ppid=1, comm="runner")
    for turn in range(19):
        at, pid = turn * SECOND_NS + 500 * MS, 100 + turn
        builder.add("fork", at, pid=pid, tid=pid, ppid=9, comm="runner")
        builder.add("exec_failed", at + MS, pid=pid, tid=pid, ppid=9, comm="runner", path="/opt/missing", ret=-2)
        builder.add("exit", at + 2 * MS, pid=pid, tid=pid, ppid=9, comm="runner", exit_code=127, exit_signal=0)
    result = analyze(builder.trace(tmp_path / "t"))
    assert result.patterns == ()
    assert result.workload.process["by_path"] == ()
    (finding,) = result.findings
    assert (finding.kind, finding.title) == (
        "failed_execs",
        "runner (pid 9) could not run /opt/missing (ENOENT), 19 times, every 1.00 s",
    )
    assert "a clock" in finding.detail
    assert finding.where.lives.shape == (3, 19)


# --- the whole report ------------------------------------------------------------------------------------------


def test_an_empty_recording(tmp_path):
    result = analyze(TraceBuilder().trace(tmp_path / "t"))
    assert "Nothing stands out: no events were recorded." in to_text(result)
    assert json.loads(to_json(result))["latency"] == []


def steps(builder, request, *events, at=0):
    """One I/O of these events, a millisecond apart."""
    place = {"dev": 8 << 20, "disk": "sda", "op": "write", "request": request, "sector": 8 * request, "bytes": 4096}
    for number, event in enumerate(events):
        builder.add(event, at + number * MS, pid=7, tid=7, comm="db", **place)


def test_io_in_all_that_never_was_at_the_device_is_counted(tmp_path):
    builder = TraceBuilder()
    for turn in range(5):
        steps(builder, turn, "block_start", "block_issue", "block_complete", at=turn * 10 * MS)
    steps(builder, 7, "block_start", "block_complete")
    steps(builder, 8, "block_start", "block_complete")
    report = analyze(builder.trace(tmp_path / "t"))
    assert "\n  2 more than at the device: they ended without a request" in to_text(report)
    assert "- 2 more than at the device:" in to_markdown(report)
    steps(builder, 9, "block_issue", "block_complete", at=60 * MS)
    steps(builder, 10, "block_issue", "block_complete", at=70 * MS)
    assert "than at the device" not in to_text(analyze(builder.trace(tmp_path / "t")))
    steps(builder, 11, "block_issue", "block_complete", at=80 * MS)
    assert "1 fewer than at the device" in to_text(analyze(builder.trace(tmp_path / "t")))


@pytest.mark.parametrize(
    ("family", "absent"),
    [("process", "no I/O and no opens"), ("block", "no processes and no opens"), ("open", "no processes and no I/O")],
)
def test_one_family_only(tmp_path, family, absent):
    builder = everything()
    builder.rows = [row for row in builder.rows if FAMILY_OF[row["event"]] == family]
    result = analyze(builder.trace(tmp_path / "t"))
    assert f"- it has {absent}, so nothing is said of that\n" in to_text(result)
    assert {one.metric.split(".")[0] for one in result.latency} == {family}


def test_an_imported_trace_whose_optional_columns_are_null(tmp_path):
    builder = everything()
    keep = ("ts_ns", "event", "pid", "ppid", "comm", "duration_ns", "op", "dev", "sector", "bytes")
    builder.rows = [{key: row[key] for key in keep if key in row} for row in builder.rows]
    result = analyze(builder.metadata(clock=Clock(), counters={}).trace(tmp_path / "t"))
    assert latency(result, "block.device").count > 0
    assert to_text(result)
    assert json.loads(to_json(result))["trace"]["start_time"] is None


def test_hostile_strings_do_not_reach_the_terminal(tmp_path):
    evil = "\x1b[2J\u202eevil\n[bold]"
    builder = TraceBuilder()
    for turn in range(30):
        builder.add("open", turn * MS, pid=1, tid=1, comm=evil, path=evil, ret=-2, duration_ns=1000 + turn)
    text = to_text(analyze(builder.trace(tmp_path / "t")))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b[2J\\u202eevil\\n[bold]" in text


def test_two_runs_give_the_same_bytes(tmp_path):
    trace = everything().trace(tmp_path / "t")
    assert to_json(analyze(trace)) == to_json(analyze(trace))


def test_the_shape_of_the_json(tmp_path):
    found = json.loads(to_json(analyze(everything().trace(tmp_path / "t"))))
    assert list(found) == ["report_format", "trace", "quality", "latency", "patterns", "workload", "findings"]
    assert set(found["quality"]) == {
        "lost", "lost_windows", "unmatched_issues", "unmatched_completions", "in_flight_at_end", "notes",
    }  # fmt: skip
    for one in found["latency"]:
        buckets = one["histogram"]
        assert sum(bucket["count"] for bucket in buckets) == one["count"]
        assert all(a["high_ns"] == b["low_ns"] for a, b in itertools.pairwise(buckets))
        assert one["min_ns"] <= one["p50_ns"] <= one["p90_ns"] <= one["p99_ns"] <= one["p999_ns"] <= one["max_ns"]
    assert all(isinstance(one["period_ns"], int) for one in found["patterns"])
    assert [one["rank"] for one in found["findings"]] == list(range(1, len(found["findings"]) + 1))


# --- the command -----------------------------------------------------------------------------------------------


def test_the_command_prints_text_and_json(tmp_path):
    path = everything().write(tmp_path / "t")
    text = CliRunner().invoke(cli, ["report", str(path)], standalone_mode=False)
    assert text.output.startswith("Report of ")
    assert text.return_value == 0
    found = CliRunner().invoke(cli, ["report", str(path), "--format", "json"], standalone_mode=False)
    assert json.loads(found.output)["report_format"] == 1


@pytest.mark.parametrize(
    ("lost", "complete", "strict", "code"),
    [(0, True, True, 0), (3, True, True, 3), (0, False, True, 3), (3, False, False, 0)],
)
def test_strict(tmp_path, lost, complete, strict, code):
    builder = TraceBuilder().metadata(complete=complete)
    if lost:
        builder.add("lost", 100, start_ns=START_NS, lost=lost, lost_family="open")
    arguments = ["report", str(builder.write(tmp_path / "t")), *(["--strict"] if strict else [])]
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert result.return_value == code
    assert result.output.startswith("Report of ")


def test_colour_changes_nothing_else(tmp_path):
    result = analyze(everything().trace(tmp_path / "t"))
    coloured = to_text(result, color=True)
    assert "\x1b[1m" in coloured
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in plain.splitlines()] == to_text(result).splitlines()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_asked(tmp_path, width):
    text = to_text(analyze(demonstration(seed=2, strangers=40).trace(tmp_path / "t")), width=width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text


def test_findings_and_rhythms_beyond_the_tenth_are_counted_and_numbers_are_whole(tmp_path):
    result = analyze(demonstration(seed=2).trace(tmp_path / "t"))
    findings = tuple(replace(result.findings[0], rank=rank) for rank in range(1, 113))
    result = replace(result, findings=findings, patterns=result.patterns[:1] * 12)
    short, long = to_text(result), to_text(result, top=112)
    assert "\n10. 30 processes start" in short
    assert "\n11. " not in short
    assert "and 102 more: --top 112 shows all\n" in short
    assert "and 2 more: --top 12 shows all\n" in short
    assert short.count("  period  ") == 10
    assert "\n  9. 30 processes start" in long
    assert "\n112. 30 processes start" in long
    assert "shows all" not in long
    assert long.count("  period  ") == 12


def test_flushes_that_the_kernel_sends_by_itself_are_told_as_such(tmp_path):
    builder = TraceBuilder()
    for request in range(9):
        at, own = 10 * MS * (request + 1), {"dev": 8 << 20, "disk": "sda", "request": request, "tid": 1}
        flush = own | {"op": "flush", "bytes": 0}
        builder.add("block_issue", at, **flush)
        builder.add("block_complete", at + MS, **flush, ret=0)
    assert "? (flushes)" in to_text(analyze(builder.trace(tmp_path / "t")))
    read = own | {"op": "read", "bytes": 4096, "sector": 8, "request": 99}
    builder.add("block_issue", 500 * MS, **read)
    builder.add("block_complete", 501 * MS, **read, ret=0)
    text = to_text(analyze(builder.trace(tmp_path / "u")))
    assert "\n?  " in text
    assert "(flushes)" not in text


def test_when_it_was_recorded_changes_nothing_else(tmp_path):
    first, second = demonstration(seed=3), demonstration(seed=3)
    later = 86_400 * SECOND_NS
    second.start_ns += later
    for row in second.rows:
        row["ts_ns"] += later
        if row.get("start_ns") is not None:
            row["start_ns"] += later
    here, there = (analyze(builder.trace(tmp_path / str(at))) for at, builder in enumerate((first, second)))
    assert here.latency == there.latency
    assert here.workload == there.workload
    assert here.findings == there.findings
    for one, other in zip(here.findings, there.findings, strict=True):
        assert np.array_equal(one.where.lives, other.where.lives)
    assert [one.sentence for one in here.patterns] == [one.sentence for one in there.patterns]


# --- a part of it, and the events behind a finding -------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_how_a_trace_is_divided_into_row_groups_changes_nothing(tmp_path, monkeypatch, rows):
    whole = to_json(analyze(everything().trace(tmp_path / "t.parquet")))
    monkeypatch.setattr("tracekit.writer.ROW_GROUP_ROWS", rows)
    divided = everything().trace(tmp_path / "t.parquet")
    assert to_json(analyze(divided)) == whole
    assert open_trace(divided.path).counts["open"] == 680
