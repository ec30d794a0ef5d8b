"""What is known of each request besides its times, and what sets some of them apart."""

import warnings

import numpy as np
from tracebuilder import TraceBuilder

from tracekit.analyze import analyze
from tracekit.analyze.blocks import BlockStream, read_blocks
from tracekit.analyze.census import take_census
from tracekit.analyze.columns import Codes
from tracekit.analyze.contrast import Field, Shares, depth_class, sets_apart
from tracekit.analyze.selection import Selection
from tracekit.analyze.windows import Windows
from tracekit.units import SECOND_NS


def requests(trace):
    """The requests of a trace, in the order in which they were settled, as one piece each."""
    stream = BlockStream(take_census(trace, Selection(), "block"), Windows.of((), "block"))
    return [blocks for _, blocks in read_blocks(trace, Selection(), stream)]


def of_each(trace, *names):
    """Of each request that was issued some attributes, in order of its issue."""
    rows = [
        tuple(getattr(piece, name)[index].item() for name in ("issue_ns", *names))
        for piece in requests(trace)
        for index in np.flatnonzero(piece.issued)
    ]
    return [row[1:] for row in sorted(rows, key=lambda row: row[0])]


def reasons(inside, attributes):
    """What sets the events inside apart, of attributes of each event."""
    shares = {}
    for name, codes in attributes.items():
        counts = [np.bincount(codes.codes[(codes.codes >= 0) & part], minlength=len(codes.names))
                  for part in (inside, ~inside)]  # fmt: skip
        shares[name] = Shares(Field.of(codes), *counts)
    return sets_apart(int(inside.sum()), shares)


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
    found = requests(builder.trace(tmp_path / "t"))
    by_issue = {(one.disk.name(code), at - builder.start_ns): depth for one in found for code, at, depth in
                zip(one.disk.codes, one.issue_ns.tolist(), one.depth.tolist(), strict=True)}  # fmt: skip
    assert by_issue == {("sda", 100): 1, ("sda", 200): 2, ("sda", 250): 3, ("sdb", 250): 1, ("sda", 400): 3,
                        ("sda", 700): 2}  # fmt: skip


def test_a_missed_completion_counts_for_no_other_depth(tmp_path):
    """Of the first three requests nobody sees the end; the slot of one is used again, at the end the others are old."""
    builder = TraceBuilder()
    for slot in (1, 2, 3):
        add(builder, slot, None, slot)
    add(builder, 50, 60, 4)
    add(builder, 70, 80, 1)
    add(builder, 3 * SECOND_NS, 3 * SECOND_NS + 10, 4)
    add(builder, 10 * SECOND_NS - 10, None, 5)
    add(builder, 10 * SECOND_NS - 5, None, 6)
    trace = builder.trace(tmp_path / "t")
    assert of_each(trace, "depth", "in_flight") == [
        (1, False), (1, False), (1, False), (1, False), (1, False), (1, False), (1, True), (2, True),
    ]  # fmt: skip
    quality = analyze(trace).quality
    assert (quality.unmatched_issues, quality.in_flight_at_end) == (3, 2)


def test_what_takes_no_longer_than_its_disk_does_may_be_under_way(tmp_path):
    """A second and a half is long for sda, and for sdb, of which nothing is known, and not for sdc."""
    builder = TraceBuilder()
    for dev, disk, longest_ns in ((1, "sda", 100), (2, "sdb", None), (3, "sdc", SECOND_NS // 5)):
        add(builder, 0, longest_ns, 1, dev=dev, disk=disk)
        add(builder, SECOND_NS, None, 2, dev=dev, disk=disk)
        add(builder, 2 * SECOND_NS, None, 3, dev=dev, disk=disk)
    trace = builder.metadata(duration_ns=2_500_000_000).trace(tmp_path / "t")
    left = [one[one.in_flight] for one in requests(trace)]
    told = [(one.disk.name(code), at - trace.start_ns) for one in left
            for code, at in zip(one.disk.codes, one.issue_ns.tolist(), strict=True)]  # fmt: skip
    late = [(disk, 2 * SECOND_NS) for disk in ("sda", "sdb", "sdc")]
    assert sorted(told) == [*late[:2], ("sdc", SECOND_NS), late[2]]


def test_sequential_is_by_disk_op_and_process(tmp_path):
    builder = TraceBuilder()
    asked = [("read", 7, 0), ("read", 7, 8), ("read", 8, 16), ("write", 7, 16), ("read", 7, 16), ("read", 8, 24)]
    for turn, (op, pid, sector) in enumerate([*asked, ("read", 7, 0)]):
        add(builder, turn * 1000, turn * 1000 + 500, turn, op=op, pid=pid, sector=sector)
    found = of_each(builder.trace(tmp_path / "t"), "sequential")
    assert found == [(told,) for told in (False, True, False, False, True, True, False)]


def test_behind_a_flush_of_the_same_disk(tmp_path):
    builder = TraceBuilder()
    add(builder, 50, 60, 1)
    add(builder, 100, 500, 2, op="flush", sector=None, bytes=0)
    add(builder, 200, 300, 3)
    add(builder, 200, 300, 3, dev=2, disk="sdb")
    add(builder, 600, 700, 4)
    behind = {(one.disk.name(code), at - builder.start_ns) for one in requests(builder.trace(tmp_path / "t"))
              for code, at in zip(one.disk.codes[one.behind_flush], one.issue_ns[one.behind_flush].tolist(),
                                  strict=True)}  # fmt: skip
    assert behind == {("sda", 200)}


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
    assert reasons(inside, noise) == ()
    planted = chance.integers(0, 3, 2000)
    planted[:36] = 2
    found = reasons(inside, noise | {"size": Codes(planted, ("small", "middle", "large"))})
    assert [(one.field, one.value) for one in found] == [("size", "large")]
    assert found[0].share_inside >= 0.9
    assert abs(found[0].share_outside - 1 / 3) < 0.05


def test_unknown_values_set_nothing_apart():
    inside = np.arange(100) < 20
    assert reasons(inside, {"comm": Codes(np.full(100, -1), ())}) == ()
    assert reasons(inside, {"comm": Codes(np.where(inside, -1, 0), ("a",))}) == ()


def test_a_queue_that_is_deep_sets_apart_however_deep_it_is():
    """No class of depths has most of the slow ones, but all of them are in one of the deeper classes."""
    depth = np.concatenate((np.tile([1, 2], 500), np.tile([5, 9, 20, 40], 25)))
    inside = np.arange(len(depth)) >= 1000
    assert [(r.value, r.share_inside, r.share_outside) for r in reasons(inside, {"d": depth_class(depth)})] == [
        ("4 or more", 1.0, 0.0)
    ]
    single = reasons(inside, {"d": depth_class(np.where(inside, 5, 1))})
    assert [r.value for r in single] == ["4-7"]


def test_a_null_request_and_a_number_beyond_63_bits(tmp_path):
    builder = TraceBuilder()
    add(builder, 0, 100, None, sector=2**63 + 8)
    (found,) = of_each(builder.trace(tmp_path / "t"), "issue_ns", "complete_ns")
    assert found[1] - found[0] == 100


def test_a_command_that_is_rare_among_hundreds_is_named_and_sets_apart(tmp_path):
    builder, at_ns = TraceBuilder(), 0

    def io(comm, took_ns):
        nonlocal at_ns
        at_ns += 100_000
        place = {"dev": 1, "disk": "sda", "op": "read", "sector": at_ns, "bytes": 4096, "request": 1}
        builder.add("block_start", at_ns, comm=comm, pid=7, **place)
        builder.add("block_issue", at_ns, **place)
        builder.add("block_complete", at_ns + took_ns, ret=0, **place)
        at_ns += took_ns

    for number in range(2400):
        io(f"worker-{number % 300}", 50_000 + number * 7919 % 10_000)
        if number % 400 == 0:
            io("scrub", 80_000_000)
    found = next(one for one in analyze(builder.trace(tmp_path / "t")).latency if one.metric == "block.total")
    assert found.outliers is not None
    assert [event["comm"] for event in found.outliers.events] == ["scrub"] * 6
    assert [(reason.field, reason.value) for reason in found.outliers.sets_apart][:1] == [("comm", "scrub")]


def test_what_a_rare_command_does_on_another_disk_does_not_count_against_it(tmp_path):
    builder, at_ns = TraceBuilder(), 0

    def io(comm, took_ns, disk="sda", dev=1):
        nonlocal at_ns
        at_ns += 100_000
        place = {"dev": dev, "disk": disk, "op": "read", "sector": at_ns, "bytes": 4096, "request": 1}
        builder.add("block_start", at_ns, comm=comm, pid=7, **place)
        builder.add("block_issue", at_ns, **place)
        builder.add("block_complete", at_ns + took_ns, ret=0, **place)
        at_ns += took_ns

    for number in range(300 * 60):
        io(f"worker-{number % 300}", 50_000 + number * 7919 % 10_000, "sdb", 2)
    for number in range(600):
        io(f"worker-{number % 10}", 50_000 + number * 7919 % 10_000)
        if number % 100 == 0:
            io("scrub", 80_000_000)
    for _ in range(52):
        io("scrub", 50_000, "sdb", 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = analyze(builder.trace(tmp_path / "t")).latency
    on_sda = next(one for one in found if one.metric == "block.device" and one.group.get("disk") == "sda")
    assert [(reason.value, reason.share_outside) for reason in on_sda.outliers.sets_apart][:1] == [("scrub", 0.0)]
