"""What a report says of block I/O: how much of it could not be paired, of how much, and where its time went."""

from collections import Counter

from tracebuilder import SECOND_NS, TraceBuilder

from tracekit.analyze import Selection, analyze, raw_events
from tracekit.analyze.report.html import to_html
from tracekit.analyze.report.json import to_dict
from tracekit.analyze.report.markdown import to_markdown
from tracekit.analyze.report.text import to_text

US, MS = 1000, 1_000_000


def io(builder, at_ns, slot, *, requeued_ns=None, ends=True, **more):
    """A request that waits and is served; where it is requeued, that long after its first issue it is issued again."""
    columns = {"dev": 8, "disk": "sda", "op": "read", "request": slot, "sector": 8 * slot, "bytes": 4096} | more
    builder.add("block_start", at_ns, pid=7, comm="reader", **columns)
    issued_ns = at_ns + US
    builder.add("block_issue", issued_ns, **columns)
    if requeued_ns is not None:
        builder.add("block_requeue", issued_ns + US, **columns)
        issued_ns += requeued_ns
        builder.add("block_issue", issued_ns, **columns)
    if ends:
        builder.add("block_complete", issued_ns + MS, ret=0, **columns)


def lines(trace, selection):
    """A report without line breaks."""
    return " ".join(to_text(analyze(trace, selection), width=200).split())


def test_shares_are_of_the_io_that_is_asked_for(tmp_path):
    """All of sda completes, and was issued twice; nothing of sdb does."""
    builder = TraceBuilder()
    for turn in range(100):
        io(builder, turn * 10 * MS, 1, requeued_ns=10 * US)
    for turn in range(10):
        io(builder, builder.duration_ns - SECOND_NS // 2, turn, ends=False, dev=16, disk="sdb")
    trace = builder.trace(tmp_path / "t")
    assert "10 I/O (9.1 %) still under way at the end" in lines(trace, Selection())
    assert "10 I/O (100 %) still under way at the end" in lines(trace, Selection(disk="sdb"))
    assert "still under way" not in lines(trace, Selection(disk="sda"))


LITTLE = {
    "block.queue": "next to nothing beside the time at the device: no more is told of it",
    "block.total": "as at the device, but for the queue: no more is told of it",
}


def pages(trace):
    """A report in all ways that people read, without line breaks."""
    report = analyze(trace)
    told = to_text(report, width=200), to_markdown(report), to_html(report, trace, Selection())
    return [" ".join(one.split()) for one in told]


def test_a_total_that_is_device_and_queue_is_not_told_again(tmp_path):
    """A few requeues that take no time are no matter; every way to read a report says why it stops there."""
    builder = TraceBuilder()
    for turn in range(200):
        io(builder, turn * 10 * MS, 1, requeued_ns=10 * US if turn < 5 else None)
    trace = builder.trace(tmp_path / "t")
    for page in pages(trace):
        assert all(page.count(line) == 1 for line in LITTLE.values())
        assert "requeued by the driver" not in page


def test_a_total_with_time_that_is_neither_device_nor_queue_is_told_in_full(tmp_path):
    builder = TraceBuilder()
    for turn in range(200):
        io(builder, turn * 10 * MS, 1, requeued_ns=4 * MS if turn % 4 == 0 else None)
    trace = builder.trace(tmp_path / "t")
    total = next(one for one in to_dict(analyze(trace))["latency"] if one["metric"] == "block.total")
    assert (total["requeued"], total["requeued_ns"]) == (50, 200 * MS)
    for page in pages(trace):
        assert LITTLE["block.queue"] in page
        assert LITTLE["block.total"] not in page
        assert "50 (25 %) requeued by the driver: 50 % of the time went by between first and last issue" in page
    assert not any(
        "requeued" in one for one in to_dict(analyze(trace, Selection(start_ns=5 * MS, end_ns=35 * MS)))["latency"]
    )


def test_the_raw_events_of_a_finding_have_what_was_requeued(tmp_path):
    """Twice each of the slow ones; others at the same place are none of theirs."""
    builder = TraceBuilder()
    columns = {"dev": 8, "disk": "sda", "op": "read", "request": 3, "sector": 24, "bytes": 4096}
    for turn in range(400):
        io(builder, turn * 20 * MS, 1, requeued_ns=MS if turn % 4 == 0 else None)
        builder.rows[-1]["ts_ns"] += 8 * MS if turn % 4 == 0 else 0
    for at_ns in (2 * US, 3 * US):
        builder.add("block_issue", 80 * MS + at_ns, **columns)
    trace = builder.trace(tmp_path / "t")
    finding = next(one for one in analyze(trace).findings if one.kind == "modes")
    counts = Counter()
    for rows in raw_events(trace, Selection(), finding.where):
        counts.update(rows.column("event").to_pylist())
    assert counts == {"block_start": 100, "block_issue": 200, "block_requeue": 100, "block_complete": 100}
