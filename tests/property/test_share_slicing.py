"""A slice tells of its part what the whole does, wherever the cut goes through I/O and processes."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tracebuilder import TraceBuilder

from tracekit.analyze import Selection, analyze
from tracekit.analyze.blocks import BlockStream, read_blocks
from tracekit.analyze.census import take_census
from tracekit.analyze.columns import ints
from tracekit.analyze.processes import read_processes
from tracekit.analyze.windows import Windows, read_windows
from tracekit.metadata import Anchor, Clock
from tracekit.schema import FAMILY_OF
from tracekit.share.slicing import Slice, slice_trace
from tracekit.trace import Trace, open_trace

MS = 1_000_000
END = 100
TIMES = st.integers(0, END - 1)
COMMS = ("sh", "cp", "db")


def an_io(draw, builder: TraceBuilder, at: int, slots: dict[int, list], pids: list[int], slotted: bool) -> None:
    """The next event of the request in some slot, or the first of a new one."""
    slot = draw(st.integers(0, 3))
    left = slots.get(slot)
    if not left:
        sector = draw(st.integers(0, 9)) if slotted else 1000 * at
        what = {"disk": "sda", "dev": 8 << 20, "op": "read", "sector": sector, "bytes": 4096}
        what |= {"pid": draw(st.sampled_from(pids)), "comm": draw(st.sampled_from(COMMS))}
        what |= {"request": slot} if slotted else {}
        chain = ["block_start", "block_issue", "block_complete"]
        if draw(st.booleans()):
            chain[2:2] = ["block_requeue", "block_issue"]
        left = [(event, what) for event in chain if draw(st.integers(0, 9))]
        # What is put back without ever having been seen is taken for a part of the request before, as in a report.
        left = left[left[:1] == [("block_requeue", what)] :]
    if left:
        event, columns = left.pop(0)
        builder.add(event, at, **columns)
    slots[slot] = left


@st.composite
def recordings(draw, slotted=True):
    """A recording of `END` ms: processes in trees, pids used again, requests with whatever is missing, and losses."""
    builder = TraceBuilder(duration_ns=END * MS)
    first = builder.start_ns
    anchors = (
        Anchor(first, 10**18),
        Anchor(first + 50 * MS, 10**18 + 50 * MS + 7),
        Anchor(first + END * MS, 2 * 10**18),
    )
    builder.metadata(clock=Clock(anchors=anchors))
    moments = iter(sorted(draw(st.lists(st.integers(0, END * MS - 1), min_size=30, max_size=60, unique=True))))
    running = {1: 0}
    slots: dict[int, list] = {}
    builder.add("process", next(moments), pid=1, tid=1, ppid=0, comm="init", start_ns=first - MS, argv=["init"])
    for at in moments:
        match draw(st.integers(0, 9)):
            case 0 | 1:
                parent = draw(st.sampled_from(sorted(running)))
                pid = draw(st.integers(2, 8))
                if pid not in running:
                    running[pid] = at
                    builder.add("fork", at, pid=pid, tid=pid, ppid=parent, comm="sh")
            case 2:
                pid = draw(st.sampled_from(sorted(running)))
                comm = draw(st.sampled_from(COMMS))
                builder.add("exec", at, pid=pid, tid=pid, comm=comm, path=f"/bin/{comm}", argv=[comm, str(at)])
            case 3:
                gone = [pid for pid in running if pid != 1]
                if gone:
                    pid = draw(st.sampled_from(gone))
                    known = {} if draw(st.booleans()) else {"start_ns": first + running[pid]}
                    del running[pid]
                    builder.add("exit", at, pid=pid, tid=pid, comm="sh", exit_code=0, exit_signal=0, **known)
            case 4:
                pid = draw(st.sampled_from(sorted(running)))
                builder.add("open", at, pid=pid, tid=pid, comm=draw(st.sampled_from(COMMS)), path="/x", duration_ns=at)
            case _:
                an_io(draw, builder, at, slots, sorted(running), slotted)
    if draw(st.integers(0, 3)) == 0:
        begin, length = draw(TIMES), draw(st.integers(1, 20))
        family = draw(st.sampled_from(("process", "block", "open")))
        builder.add("lost", (begin + length) * MS, start_ns=first + begin * MS, lost=3, lost_family=family)
    return builder


def requests(trace: Trace) -> set[tuple[int, ...]]:
    """The times of each request of a trace that was issued."""
    stream = BlockStream(take_census(trace, Selection(), "block"), Windows.of(read_windows(trace), "block"))
    names = ("start_ns", "first_issue_ns", "issue_ns", "complete_ns", "end_ns", "pid", "sector")
    found = set()
    for _, blocks in read_blocks(trace, Selection(), stream):
        found |= set(zip(*(getattr(blocks, name).tolist() for name in names), strict=True))
    return found


def rows_between(trace: Trace, start_ns: int, end_ns: int) -> list[dict]:
    events = [event for event, family in FAMILY_OF.items() if family != "lost"]
    table = trace.table(*events, start_ns=start_ns, end_ns=end_ns)
    return sorted(table.to_pylist(), key=lambda row: (row["ts_ns"], row["event"]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("slices")


def cut(builder: TraceBuilder, folder: Path, wanted: Slice) -> tuple[Trace, Trace]:
    whole = builder.trace(folder / "whole.parquet")
    slice_trace(whole, wanted, folder / "slice.parquet", force=True)
    return whole, open_trace(folder / "slice.parquet")


many = settings(max_examples=30)


@many
@given(st.booleans().flatmap(recordings), TIMES, st.integers(1, END))
def test_it_tells_what_the_whole_does(folder: Path, builder: TraceBuilder, begin: int, length: int) -> None:
    builder.add("open", begin * MS, pid=1, tid=1, comm="sh", path="/x", duration_ns=1)
    end = min(begin + length, END)
    whole, part = cut(builder, folder, Slice(begin * MS, end * MS))
    start_ns, end_ns = whole.start_ns + begin * MS, whole.start_ns + end * MS

    listed = [row for row in rows_between(part, start_ns, end_ns) if row not in rows_between(whole, start_ns, end_ns)]
    assert all(row["event"] == "process" and row["ts_ns"] == start_ns for row in listed)
    same = [row for row in rows_between(part, start_ns, end_ns) if row not in listed]
    assert same == rows_between(whole, start_ns, end_ns)

    in_whole = analyze(whole, Selection(begin * MS, end * MS))
    offset = part.start_ns - whole.start_ns
    in_part = analyze(part, Selection(begin * MS - offset, end * MS - offset))
    trusted = {"process.lifetime"} if any(window.family == "process" for window in read_windows(whole)) else set()
    assert [one for one in in_part.latency if one.metric not in trusted] == [
        one for one in in_whole.latency if one.metric not in trusted
    ]


@many
@given(st.booleans().flatmap(recordings), TIMES, st.integers(1, END))
def test_io_is_whole(folder: Path, builder: TraceBuilder, begin: int, length: int) -> None:
    builder.add("open", begin * MS, pid=1, tid=1, comm="sh", path="/x", duration_ns=1)
    whole, part = cut(builder, folder, Slice(begin * MS, (begin + length) * MS))
    start_ns, end_ns = whole.start_ns + begin * MS, whole.start_ns + min(begin + length, END) * MS
    every = requests(whole)
    touching = {one for one in every if min(t for t in one[:5] if t != -1) < end_ns and max(one[:5]) >= start_ns}
    # What never completed may go on in ways that no request tells: it was put back, and not issued again.
    assert touching <= requests(part) <= touching | {one for one in every if one[3] == -1}
    ts_ns = ints(part.table(columns=["ts_ns"]), "ts_ns")
    lost_ns = ints(part.table("lost", columns=["ts_ns"]), "ts_ns")
    assert part.start_ns <= ts_ns.min()
    assert np.setdiff1d(ts_ns[ts_ns > part.end_ns], lost_ns).size == 0
    ts_ns = ts_ns[ts_ns <= part.end_ns]
    assert (part.metadata.clock.realtime_ns(ts_ns) == whole.metadata.clock.realtime_ns(ts_ns)).all()
    for family, counts in part.metadata.counters.items():
        assert counts.seen == counts.filtered + counts.written + counts.lost
        assert counts.written == sum(n for event, n in part.counts.items() if FAMILY_OF[event] == family)


@many
@given(recordings(), TIMES)
def test_who_ran_and_who_started_whom(folder: Path, builder: TraceBuilder, begin: int) -> None:
    builder.add("exec", begin * MS, pid=1, tid=1, comm="init", path="/init")
    whole, part = cut(builder, folder, Slice(begin * MS))
    start_ns = whole.start_ns + begin * MS
    assume(not any(window.family == "process" for window in read_windows(whole)))
    before, after = (read_processes(one, Selection(), Windows.of((), "process")) for one in (whole, part))

    def told(lives, chosen):
        parents = np.where(lives.parent == -1, -1, lives.begin_ns[lives.parent])
        began = np.where(lives.pid == 1, 0, lives.begin_ns)
        names, above = lives.comm[chosen].strings().tolist(), lives.pid[lives.parent[chosen]].tolist()
        above = [pid if known != -1 else None for pid, known in zip(above, parents[chosen], strict=True)]
        times = zip(lives.pid[chosen], began[chosen], lives.exit_ns[chosen], names, above, strict=True)
        return sorted(tuple(str(field) for field in one) for one in times)

    mine = ((before.exit_ns == -1) | (before.exit_ns >= start_ns)) & (before.pid > 0)
    # A parent that had ended is unknown: another process may have its pid soon.
    above = before.parent[mine]
    gone = (before.exit_ns[above] != -1) & (before.exit_ns[above] < start_ns)
    expected = told(before, mine)
    found = told(after, after.pid > 0)
    assert [one[:4] for one in found] == [one[:4] for one in expected]
    assert sum(one[4] == "None" for one in found) >= int(gone.sum())
    wrong = [one for one, other in zip(found, expected, strict=True) if one[4] not in ("None", other[4])]
    assert not wrong


@many
@given(recordings(), st.sampled_from(COMMS), TIMES)
def test_io_of_a_command(folder: Path, builder: TraceBuilder, comm: str, begin: int) -> None:
    builder.add("open", begin * MS, pid=1, tid=1, comm=comm, path="/x", duration_ns=1)
    whole, part = cut(builder, folder, Slice(begin * MS, comms=(comm,)))
    offset = part.start_ns - whole.start_ns
    in_whole = analyze(whole, Selection(begin * MS, comm=comm))
    in_part = analyze(part, Selection(begin * MS - offset, comm=comm))
    chosen = [[one for one in report.latency if one.metric != "process.lifetime"] for report in (in_whole, in_part)]
    assert chosen[0] == chosen[1]
    opens = part.table("open", columns=["comm"]).column("comm")
    assert pc.all(pc.equal(opens.cast("string"), comm)).as_py()
