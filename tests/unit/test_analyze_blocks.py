"""What is known of each request besides its times, and what sets some of them apart."""

import numpy as np
from tracebuilder import TraceBuilder

from tracekit.analyze import analyze
from tracekit.analyze.blocks import read_blocks
from tracekit.analyze.columns import Codes
from tracekit.analyze.contrast import depth_class, sets_apart
from tracekit.analyze.windows import Windows

NO_LOSS = Windows.of((), "block")


def add(builder, issue_ns, done_ns, slot, **columns):
    """A request of `reader` on the first disk, issued and completed at these times; never completed if null."""
    place = {"dev": 1, "disk": "sda", "op": "read", "sector": 0, "bytes": 4096, "request": slot, "pid": 7} | columns
    ret = place.pop("ret", 0)
    builder.add("block_start", issue_ns, comm="reader", **place)
    builder.add("block_issue", issue_ns, **place)
    if done_ns is not None:
        builder.add("block_complete", done_ns, ret=ret, **place)


def test_queue_depth_counts_what_the_disk_has_at_issue(tmp_path):
    builder = TraceBuilder()
    add(builder, 100, 500, 1)
    add(builder, 200, 300, 2)
    add(builder, 250, 600, 3)
    add(builder, 250, 600, 3, dev=2, disk="sdb")
    add(builder, 400, None, 4)
    add(builder, 700, 800, 5)
    found = read_blocks(builder.trace(tmp_path / "t"), NO_LOSS)
    by_issue = {(int(dev), int(at) - builder.start_ns): int(depth) for dev, at, depth in
                zip(found.dev, found.issue_ns, found.depth, strict=True)}  # fmt: skip
    assert by_issue == {(1, 100): 1, (1, 200): 2, (1, 250): 3, (2, 250): 1, (1, 400): 3, (1, 700): 2}


def test_sequential_is_by_disk_op_and_process(tmp_path):
    builder = TraceBuilder()
    asked = [("read", 7, 0), ("read", 7, 8), ("read", 8, 16), ("write", 7, 16), ("read", 7, 16), ("read", 8, 24)]
    for turn, (op, pid, sector) in enumerate([*asked, ("read", 7, 0)]):
        add(builder, turn * 1000, turn * 1000 + 500, turn, op=op, pid=pid, sector=sector)
    found = read_blocks(builder.trace(tmp_path / "t"), NO_LOSS)
    assert found.sequential.tolist() == [False, True, False, False, True, True, False]


def test_behind_a_flush_of_the_same_disk(tmp_path):
    builder = TraceBuilder()
    add(builder, 50, 60, 1)
    add(builder, 100, 500, 2, op="flush", sector=None, bytes=0)
    add(builder, 200, 300, 3)
    add(builder, 200, 300, 3, dev=2, disk="sdb")
    add(builder, 600, 700, 4)
    found = read_blocks(builder.trace(tmp_path / "t"), NO_LOSS)
    behind = {(int(dev), int(at) - builder.start_ns) for dev, at in
              zip(found.dev[found.behind_flush], found.issue_ns[found.behind_flush], strict=True)}  # fmt: skip
    assert behind == {(1, 200)}


def test_failed_io_is_told(tmp_path):
    builder = TraceBuilder()
    add(builder, 0, 100, 1)
    add(builder, 200, 300, 1, ret=-5)
    result = analyze(builder.trace(tmp_path / "t"))
    assert [(one.kind, one.title) for one in result.findings] == [("io_errors", "1 I/O failed at the device: sda 1")]


def test_failed_opens_are_counted_by_error(tmp_path):
    builder = TraceBuilder()
    for turn, ret in enumerate([3, -2, -2, -13, 4]):
        builder.add("open", turn, pid=1, comm="reader", path="/etc/x", ret=ret, duration_ns=100)
    used = analyze(builder.trace(tmp_path / "t")).workload.open["by_comm"]
    assert [(one.name, one.count, one.failed) for one in used] == [("reader", 5, {"ENOENT": 2, "EACCES": 1})]


def test_the_planted_cause_comes_first_and_chance_is_silent():
    chance = np.random.default_rng(1)
    noise = {name: Codes(chance.integers(0, 3, 2000), ("a", "b", "c")) for name in ("disk", "op", "comm")}
    inside = np.zeros(2000, dtype=np.bool_)
    inside[:40] = True
    assert sets_apart(inside, noise) == ()
    planted = chance.integers(0, 3, 2000)
    planted[:36] = 2
    found = sets_apart(inside, noise | {"size": Codes(planted, ("small", "middle", "large"))})
    assert [(one.field, one.value) for one in found] == [("size", "large")]
    assert found[0].share_inside >= 0.9
    assert abs(found[0].share_outside - 1 / 3) < 0.05


def test_unknown_values_set_nothing_apart():
    inside = np.arange(100) < 20
    assert sets_apart(inside, {"comm": Codes(np.full(100, -1), ())}) == ()
    assert sets_apart(inside, {"comm": Codes(np.where(inside, -1, 0), ("a",))}) == ()


def test_a_queue_that_is_deep_sets_apart_however_deep_it_is():
    """No class of depths has most of the slow ones, but all of them are in one of the deeper classes."""
    depth = np.concatenate((np.tile([1, 2], 500), np.tile([5, 9, 20, 40], 25)))
    inside = np.arange(len(depth)) >= 1000
    assert [(r.value, r.share_inside, r.share_outside) for r in sets_apart(inside, {"d": depth_class(depth)})] == [
        ("4 or more", 1.0, 0.0)
    ]
    single = sets_apart(inside, {"d": depth_class(np.where(inside, 5, 1))})
    assert [r.value for r in single] == ["4-7"]


def test_a_null_request_and_a_number_beyond_63_bits(tmp_path):
    builder = TraceBuilder()
    add(builder, 0, 100, None, sector=2**63 + 8)
    found = read_blocks(builder.trace(tmp_path / "t"), NO_LOSS)
    assert (found.complete_ns - found.issue_ns).tolist() == [100]
