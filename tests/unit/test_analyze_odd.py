"""Odd but possible traces: what is not known is not made up, and nothing breaks."""

import numpy as np
import pytest
from tracebuilder import TraceBuilder

from tracekit.analyze import analyze
from tracekit.analyze.report.json import to_dict
from tracekit.analyze.report.text import to_text

MS = 1_000_000


def report(builder, tmp_path):
    return analyze(builder.trace(tmp_path / "t.parquet"))


def test_losses_that_nobody_counted_are_unknown(tmp_path):
    builder = TraceBuilder().add("open", 5, comm="cat", path="/a", ret=3, duration_ns=7).metadata(counters={})
    result = report(builder, tmp_path)
    assert to_dict(result)["quality"]["lost"] is None
    assert "whether events were lost is unknown" in to_text(result)
    for at, event in ((6, "block_issue"), (10, "block_start")):
        builder.add(event, at, dev=8, request=1, sector=8, bytes=4096, op="read", flags=0)
    text = to_text(report(builder, tmp_path))
    assert "\nQuality: complete; whether events were lost is unknown\n" in text
    assert "completion never seen" in text


def test_io_that_cannot_be_paired_is_in_the_headline(tmp_path):
    builder = TraceBuilder()
    for slot in (1, 1):
        builder.add("block_issue", 5 + slot, dev=8, request=slot, sector=8, bytes=4096, op="read", flags=0)
        builder.add("block_start", 9 + slot, dev=8, request=slot, sector=8, bytes=4096, op="read", flags=0)
    text = to_text(report(builder, tmp_path))
    assert "no loss counted, but not all I/O could be paired" in text
    assert "nothing lost" not in text


def test_a_process_has_the_name_of_its_last_exec_not_of_its_last_thread(tmp_path):
    builder = TraceBuilder()
    builder.add("process", 0, pid=5, tid=5, comm="postgres", ppid=1, start_ns=1)
    for number in range(40):
        builder.add("fork", 10 + number, pid=100 + number, tid=100 + number, comm="postgres", ppid=5)
        builder.add("exec", 11 + number, pid=100 + number, tid=100 + number, comm="worker", ppid=5, path="/w")
        builder.add(
            "exit", 90 + number, pid=100 + number, tid=200, comm="bg_thread", ppid=5, exit_code=0, exit_signal=0
        )
    builder.add("exit", 500, pid=5, tid=6, comm="bg_thread", ppid=1, exit_code=0, exit_signal=0, start_ns=1)
    found = to_dict(report(builder, tmp_path))
    assert [use["name"] for use in found["workload"]["process"]["by_parent"]] == ["postgres"]


@pytest.mark.parametrize("step", [1, 4 * MS])
def test_a_mode_lies_within_its_range(tmp_path, step):
    rng = np.random.default_rng(3)
    for values in ([300] * 500, (rng.choice([1, 1, 1, 1, 2], 500) * step).tolist(), [5 * MS] * 200):
        builder = TraceBuilder()
        for number, value in enumerate(values):
            builder.add("open", number * 1000, comm="cat", path="/a", ret=3, duration_ns=int(value))
        for one in report(builder, tmp_path).latency:
            assert all(mode.low_ns <= mode.peak_ns <= mode.high_ns for mode in one.modes)


@pytest.mark.parametrize("duration_ns", [-5, -1, 0, 2**62, 2**63 - 1])
def test_durations_that_cannot_be_true(tmp_path, duration_ns):
    builder = TraceBuilder()
    for number in range(300):
        builder.add("open", number, comm="cat", path="/a", ret=3, duration_ns=duration_ns)
    result = report(builder, tmp_path)
    assert [one.count for one in result.latency if not one.group] == ([300] if duration_ns >= 0 else [])
    assert to_text(result)


def test_a_long_name_is_shown_whole(tmp_path):
    path = "/var/lib/" + "a1b2c3d4" * 12 + "/merged/srv/production.conf"
    builder = TraceBuilder()
    for number in range(400):
        builder.add("open", number * MS, comm="app", path=path, ret=-2, duration_ns=900 + number)
    lines = to_text(report(builder, tmp_path)).splitlines()
    assert "production.conf" in "".join(lines)
    assert "\u2026" not in "".join(lines)
    assert max(map(len, lines)) <= 80


def test_flushes_without_slots_are_no_damage(tmp_path):
    builder = TraceBuilder()
    for number in range(20):
        builder.add("block_start", number * MS, dev=8, bytes=0, op="flush", flags=1)
        builder.add("block_complete", number * MS + 90, dev=8, bytes=0, op="flush", flags=1, ret=0)
    assert report(builder, tmp_path).quality.unmatched_completions == 0


def test_commands_that_are_left_out_are_counted(tmp_path):
    builder = TraceBuilder()
    for command in range(20):
        for number in range(40):
            builder.add("open", (command * 40 + number) * MS, comm=f"c{command:02}", path="/a", ret=3, duration_ns=900)
    result = report(builder, tmp_path)
    groups = [one for one in result.latency if one.metric == "open" and one.group]
    assert next(one for one in result.latency if not one.group).omitted == 20 - len(groups)
    assert f"and {20 - 5} more" in to_text(result)


def test_processes_without_ids_are_not_one(tmp_path):
    builder = TraceBuilder()
    for number in range(20):
        builder.add("exec", number * MS, comm="cc", path="/bin/cc")
    found = to_dict(report(builder, tmp_path))
    assert [(use["name"], use["count"]) for use in found["workload"]["process"]["by_path"]] == [("/bin/cc", 20)]
