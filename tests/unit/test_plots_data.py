"""What pictures show is what happened: every event is counted once, where it belongs."""

from pathlib import Path

import numpy as np
import pytest
from scenarios import demonstration, everything
from tracebuilder import SECOND_NS, TraceBuilder

from tracekit import Trace, open_trace
from tracekit.analyze import Selection, analyze
from tracekit.analyze.plots import NothingToShowError, heatmap, io, latency, rates, subsecond, timeline
from tracekit.analyze.plots.bins import LOG_BINS, LogCounts, TimeBins, log_bin
from tracekit.analyze.results import Latency
from tracekit.errors import UsageError
from tracekit.schema import FAMILY_OF

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "sample_traces").glob("*.parquet"))
MS = 1_000_000
PARTS = (
    Selection(),
    Selection(start_ns=SECOND_NS, end_ns=3 * SECOND_NS),
    Selection(comm="file-worker"),
    Selection(comm="poller", start_ns=SECOND_NS // 2),
    Selection(disk="disk0"),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """The demonstration with lost opens and a stall."""
    return everything().trace(tmp_path_factory.mktemp("plots") / "trace.parquet")


# --- bins ------------------------------------------------------------------------------------------------------------


def test_a_value_lies_between_the_edges_of_its_bin() -> None:
    values = np.array([1, 2, 3, 7, 8, 1000, 1023, 1024, 10**6 + 1, 10**9, 3 * 10**12, 2**62])
    counts = np.bincount(log_bin(values), minlength=LOG_BINS)
    held = LogCounts.of(counts, LOG_BINS)
    assert held.counts.sum() == len(values)
    assert held.counts[0] == held.counts[-1] == 0
    for value in values:
        place = int(np.searchsorted(held.edges * (1 - 1e-12), value, side="right")) - 1
        assert held.counts[place] > 0, value


def test_zero_is_shown_with_one() -> None:
    assert log_bin(np.array([0])).tolist() == log_bin(np.array([1])).tolist() == [0]


@pytest.mark.parametrize("most", [1, 12, 50, 96])
def test_bins_are_no_more_than_asked_for_and_lose_nothing(most: int) -> None:
    values = np.geomspace(1000, 10**7, 500).astype(np.int64)
    held = LogCounts.of(np.bincount(log_bin(values), minlength=LOG_BINS), most)
    assert held.counts.sum() == 500
    # 15 octaves have a bin each at least, and there is an empty one on either side.
    assert len(held.counts) <= max(most, 15) + 2
    assert held.edges[0] < 1000
    assert held.edges[-1] > 10**7


def test_time_bins_cover_all_and_take_in_what_lies_beside() -> None:
    bins = TimeBins(0, 100, 1101, 10)
    assert bins.number(np.array([99, 100, 1100, 1101, 5000])).tolist() == [0, 0, 9, 9, 9]
    assert bins.start_ns + bins.width_ns * bins.count >= bins.end_ns


# --- latencies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("part", PARTS, ids=str)
def test_heat_maps_have_the_values_of_the_report(path: Path, part: Selection) -> None:
    trace = open_trace(path)
    try:
        told = analyze(trace, part).latency
    except UsageError:  # there is no such command or disk in this one
        with pytest.raises(NothingToShowError):
            heatmap.data(trace, part, metric="block.device")
        return
    for one in told:
        assert_holds(heatmap.data(trace, part, metric=one.metric, group=one.group).counts, one)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_histograms_have_the_values_of_the_report(path: Path) -> None:
    trace = open_trace(path)
    told = analyze(trace).latency
    for one in [*(one for one in told if not one.group), told[1]]:
        found = latency.data(trace, metric=one.metric, group=one.group)
        assert found.latency == one
        assert_holds(found.counts, one)


def assert_holds(held: LogCounts, one: Latency) -> None:
    """All values of a distribution are counted, in bins as low and as high as they are."""
    assert held.counts.sum() == one.count
    used = np.flatnonzero(held.counts.reshape(-1, held.counts.shape[-1]).any(axis=0))
    assert held.edges[used[0]] <= max(one.min_ns, 1) * (1 + 1e-9)
    assert held.edges[used[-1] + 1] > one.max_ns * (1 - 1e-9)


def test_a_heat_map_has_each_value_when_it_began(tmp_path: Path) -> None:
    builder = TraceBuilder()
    for turn in range(10):
        builder.add("open", turn * SECOND_NS, comm="a", path="/x", ret=3, duration_ns=1000 * 2**turn)
    found = heatmap.data(builder.trace(tmp_path / "t"), metric="open")
    when, how_long = np.nonzero(found.counts.counts)
    assert when.tolist() == [20 * turn for turn in range(10)]
    for turn, row in enumerate(how_long):
        assert found.counts.edges[row] <= 1000 * 2**turn * (1 + 1e-9) < found.counts.edges[row + 1]


def test_a_heat_map_of_a_field_the_report_has_no_group_of(whole: Trace) -> None:
    both = [heatmap.data(whole, metric="block.device", group={"op": op}) for op in ("read", "write")]
    all_of_them = heatmap.data(whole, metric="block.device")
    assert sum(one.counts.counts.sum() for one in both) == all_of_them.counts.counts.sum()


# --- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_rates_and_offsets_count_every_event_once(path: Path) -> None:
    trace = open_trace(path)
    for event, count in trace.counts.items():
        assert rates.data(trace, events=[event]).series[0].counts.sum() == count
        assert subsecond.data(trace, event=event).counts.sum() == count


def test_an_event_lies_in_its_second_at_its_offset(tmp_path: Path) -> None:
    builder = TraceBuilder()
    for second, offset_ms in ((0, 0), (2, 995), (2, 999), (3, 500), (9, 123)):
        builder.add("exec", second * SECOND_NS + offset_ms * MS, comm="a")
    found = subsecond.data(builder.trace(tmp_path / "t"), event="exec")
    cells = {(int(x), int(y)): int(found.counts[x, y]) for x, y in np.argwhere(found.counts)}
    assert cells == {(0, 0): 1, (2, 99): 2, (3, 50): 1, (9, 12): 1}


def test_what_happens_every_second_is_one_row_however_long_it_goes_on(tmp_path: Path) -> None:
    builder = TraceBuilder(duration_ns=1000 * SECOND_NS)
    for second in range(1000):
        builder.add("exec", second * SECOND_NS + 250 * MS, comm="cron")
    found = subsecond.data(builder.trace(tmp_path / "t"), event="exec")
    assert found.seconds == 3
    assert len(found.counts) == 334
    assert set(np.nonzero(found.counts)[1].tolist()) == {25}
    assert found.counts.sum() == 1000


@pytest.mark.parametrize(
    ("duration_s", "unit", "steps", "expected", "last"),
    [
        (10, "per 50 ms", 200, 5, 1),
        (9.99, "per 50 ms", 200, 5, 0.8),
        (300, "per second", 300, 100, 1),
        (305, "per second", 153, 100, 0.5),
    ],
)
def test_rates_are_what_the_axis_says(
    duration_s: float, unit: str, steps: int, expected: int, last: float, tmp_path: Path
) -> None:
    builder = TraceBuilder(duration_ns=int(duration_s * SECOND_NS))
    for turn in range(int(duration_s * 100)):
        builder.add("open", turn * 10 * MS, comm="a", path="/x", ret=3, duration_ns=1000)
    found = rates.data(builder.trace(tmp_path / "t"), events=["open"])
    shown = found.shown(found.series[0])
    assert (found.unit, len(shown), len(found.edges_s)) == (unit, steps, steps + 1)
    assert shown[:-1].tolist() == [expected] * (steps - 1)
    # The last step may be cut short by the end of the recording.
    assert shown[-1] == expected * last
    assert found.edges_s[-1] == duration_s
    assert found.series[0].counts.sum() == int(duration_s * 100)


def test_a_part_has_only_what_happened_in_it(whole: Trace) -> None:
    start_ns, end_ns = 2 * SECOND_NS, 4 * SECOND_NS
    ts_ns = whole.table("open", columns=["ts_ns"]).column("ts_ns").to_numpy() - whole.start_ns
    inside = int(((ts_ns >= start_ns) & (ts_ns < end_ns)).sum())
    found = rates.data(whole, Selection(start_ns, end_ns), events=["open"])
    assert found.series[0].counts.sum() == inside
    assert found.bins.edges_s[0] == 2
    assert found.bins.edges_s[-1] == pytest.approx(4, abs=1e-6)


def test_a_command_has_its_own_events_and_the_io_that_it_submitted(whole: Trace) -> None:
    table = whole.table("open", "block_issue", columns=["event", "comm"]).to_pylist()
    mine = sum(row["comm"] == "file-worker" and row["event"] == "open" for row in table)
    issued = sum(row["event"] == "block_issue" for row in table)
    found = rates.data(whole, Selection(comm="file-worker"), events=["open", "block_issue"])
    assert [int(one.counts.sum()) for one in found.series] == [mine, issued]


def test_what_was_lost_is_there(whole: Trace) -> None:
    found = rates.data(whole)
    lost = {one.event: one.about for one in found.series}
    assert {event: about.lost_count for event, about in lost.items()} == {"exec": 0, "block_issue": 0, "open": 12}
    assert lost["open"].lost == ((9.85, 9.9),)
    assert "12 events lost" in lost["open"].warning
    assert lost["exec"].warning == ""
    assert rates.data(whole, Selection(end_ns=9 * SECOND_NS), events=["open"]).series[0].about.lost == ()


def test_many_windows_of_loss_are_few_stretches(tmp_path: Path) -> None:
    builder = TraceBuilder(duration_ns=1000 * SECOND_NS).add("open", 0, comm="a", path="/x", ret=3, duration_ns=1)
    start_ns = builder.start_ns
    for turn in range(5000):
        at_ns = turn * 200 * MS
        builder.add("lost", at_ns + 150 * MS, start_ns=start_ns + at_ns, lost=1, lost_family="open")
    about = rates.data(builder.trace(tmp_path / "t"), events=["open"]).series[0].about
    assert about.lost == ((0.0, 999.95),)
    assert about.lost_count == 5000


# --- bursts ----------------------------------------------------------------------------------------------------------


def test_the_timeline_shows_one_whole_burst(tmp_path: Path) -> None:
    trace = demonstration(seed=1).trace(tmp_path / "t")
    found = timeline.data(trace)
    names = [bar.name for bar in found.bars]
    assert (len(names), names[0], names.count("mkdir"), found.omitted) == (30, "start-service", 5, 0)
    assert found.which == "burst 5 of 9, the middle one of those with the usual 30 processes"
    told = next(one for one in analyze(trace).patterns if one.event == "exec")
    assert found.what.startswith(f"{told.burst_size} processes of {told.scope['parent']}, ")
    assert {bar.depth for bar in found.bars[1:]} == {1}
    assert [(bar.name, bar.exit) for bar in found.bars if bar.outcome == "failed"] == [("start-service", "exit 1")]
    assert all(found.start_ns <= bar.start_ns < (bar.end_ns or 0) <= found.end_ns for bar in found.bars)


def test_without_a_rhythm_the_timeline_shows_the_busiest_stretch(tmp_path: Path) -> None:
    builder = TraceBuilder()
    for turn, at_ms in enumerate([100, 1700, 2900, *range(5000, 5300, 10), 7100, 9400]):
        who = {"pid": 100 + turn, "tid": 100 + turn, "ppid": 1, "comm": f"c{turn}"}
        builder.add("fork", at_ms * MS, **who).add("exec", at_ms * MS + 1000, **who)
        builder.add("exit", at_ms * MS + 5 * MS, exit_code=0, exit_signal=9 * (turn == 5), **who)
    found = timeline.data(builder.trace(tmp_path / "t"))
    assert [bar.name for bar in found.bars] == [f"c{turn}" for turn in range(3, 33)]
    assert [bar.exit for bar in found.bars if bar.exit] == ["signal 9"]


def test_one_that_lives_on_does_not_make_points_of_the_others(tmp_path: Path) -> None:
    builder = TraceBuilder(duration_ns=3600 * SECOND_NS)
    for turn in range(20):
        who = {"pid": 100 + turn, "tid": 100 + turn, "ppid": 1, "comm": "c"}
        life_ns = 3000 * SECOND_NS if turn == 3 else 5 * MS
        builder.add("fork", turn * MS, **who).add("exec", turn * MS + 1000, **who)
        builder.add("exit", turn * MS + life_ns, exit_code=0, exit_signal=0, **who)
    found = timeline.data(builder.trace(tmp_path / "t"))
    assert found.end_ns - found.start_ns < 100 * MS
    assert len(found.bars) == 20


# --- places ----------------------------------------------------------------------------------------------------------


def test_io_lies_at_its_place_and_time(tmp_path: Path) -> None:
    builder = TraceBuilder()
    for turn in range(10):
        columns = {"dev": 1, "disk": "sda", "request": 1, "sector": 1000 * turn, "bytes": 4096, "op": "read"}
        builder.add("block_issue", turn * SECOND_NS, **columns).add("block_complete", turn * SECOND_NS + MS, **columns)
    flush = {"dev": 1, "disk": "sda", "request": 2, "bytes": 0, "op": "flush"}
    builder.add("block_issue", 5 * MS, **flush).add("block_complete", 6 * MS, **flush)
    other = {"dev": 2, "disk": "sdb", "request": 1, "sector": 7, "bytes": 4096, "op": "write"}
    builder.add("block_issue", 5 * MS, **other).add("block_complete", 6 * MS, **other)
    trace = builder.trace(tmp_path / "t")
    found = io.data(trace)
    assert (found.disk, found.others, found.placeless, found.counted()) == ("sda", ("sdb",), 1, {"read": 10})
    (zone,) = found.zones
    assert (zone.low, zone.high) == (0, 5 << 20)
    when, where = np.nonzero(zone.counts["read"])
    row_bytes = zone.high / 300
    assert when.tolist() == pytest.approx([20 * turn for turn in range(10)], abs=1)
    assert np.abs((where + 0.5) * row_bytes - np.arange(10) * 1000 * 512).max() <= row_bytes
    assert io.data(trace, Selection(disk="sdb")).counted() == {"write": 1}


def test_a_disk_is_divided_where_nothing_is_for_long(tmp_path: Path) -> None:
    builder = TraceBuilder()
    gib = 1 << 21
    for turn, place in enumerate([0, 1, 50 * gib, 51 * gib, 52 * gib, 99 * gib, 99 * gib + 1]):
        columns = {"dev": 1, "disk": "sda", "request": 1, "sector": place, "bytes": 4096, "op": "write"}
        builder.add("block_issue", turn * SECOND_NS, **columns).add("block_complete", turn * SECOND_NS + MS, **columns)
    found = io.data(builder.trace(tmp_path / "t"))
    mib = 1 << 20
    assert [(zone.low // mib, zone.high // mib) for zone in found.zones] == [
        (0, 1),
        (50 << 10, (52 << 10) + 1),
        (99 << 10, (99 << 10) + 1),
    ]
    assert [int(zone.counts["write"].sum()) for zone in found.zones] == [2, 3, 2]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_all_io_that_was_issued_is_in_the_map(path: Path) -> None:
    trace = open_trace(path)
    if "block_issue" in trace.counts:
        found = io.data(trace)
        assert found.counted().total() == trace.counts["block_issue"]


# --- nothing to show -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [latency.data, heatmap.data, subsecond.data, rates.data, timeline.data, io.data])
def test_an_empty_trace_has_nothing_to_show(make: object, tmp_path: Path) -> None:
    with pytest.raises(NothingToShowError, match="nothing to draw: no "):
        make(TraceBuilder().trace(tmp_path / "t"))  # type: ignore[operator]


def test_wrong_choices_are_refused(whole: Trace) -> None:
    with pytest.raises(UsageError, match="did you mean 'open'"):
        latency.data(whole, metric="opem")
    with pytest.raises(UsageError, match="has no groups by 'path'"):
        heatmap.data(whole, metric="open", group={"path": "/x"})
    with pytest.raises(UsageError, match="no group comm=nobody in the report: there are comm="):
        latency.data(whole, metric="open", group={"comm": "nobody"})
    with pytest.raises(UsageError, match="did you mean 'exec'"):
        subsecond.data(whole, event="exce")
    with pytest.raises(UsageError, match="leave --comm out"):
        rates.data(whole, Selection(comm="file-worker"), events=["block_requeue"])
    with pytest.raises(UsageError, match="there is no rhythm 9"):
        timeline.data(whole, pattern=9)
    with pytest.raises(UsageError, match="has no length"):
        rates.data(whole, Selection(start_ns=5, end_ns=4))
    assert {FAMILY_OF[one.event] for one in rates.data(whole).series} == {"process", "block", "open"}
