"""What changed between two recordings: what was changed, and nothing where nothing was."""

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
from halves import halves, opened
from laboratory import changes
from laboratory.recording import SECOND_NS, Recording
from tracebuilder import TraceBuilder

from tracekit import open_trace
from tracekit.analyze import Selection
from tracekit.analyze.diff import Change, Diff, Part, diff
from tracekit.analyze.diff.chance import quantile_ratio, rate_ratio, share_ratio, student
from tracekit.analyze.diff.stretches import STRETCHES, WIDE_BINS, edges
from tracekit.analyze.diff.telling import plain
from tracekit.analyze.report.diff import diff_json, diff_text
from tracekit.cli.main import main

SAMPLES = Path(__file__).parents[2] / "sample_traces"
NOTHING, SERVICE, SEVERAL, TWO_MODES = (
    SAMPLES / f"{name}.parquet" for name in ("nothing-to-find", "service-restart", "several-at-once", "disk-two-modes")
)


@pytest.fixture(scope="module")
def several() -> Diff:
    return diff(Part(open_trace(NOTHING)), Part(open_trace(SEVERAL)))


def counted(values: np.ndarray) -> np.ndarray:
    """Values that are spread evenly over the stretches, by stretch and bin."""
    counts = np.zeros((STRETCHES, WIDE_BINS), dtype=np.int64)
    place = np.searchsorted(edges(), values, side="right") - 1
    np.add.at(counts, (np.arange(len(values)) % STRETCHES, place), 1)
    return counts


@pytest.mark.parametrize(
    # Abramowitz and Stegun, table 26.10, with 30 degrees of freedom; the last of the National Bureau's tables.
    ("share", "freedom", "quantile"),
    [(0.975, 30, 2.042), (0.995, 30, 2.750), (0.9995, 30, 3.646), (0.975, 120, 1.980)],
)
def test_quantiles_of_student(share: float, freedom: int, quantile: float) -> None:
    assert student(share, freedom) == pytest.approx(quantile, abs=0.001)


def test_an_interval_holds_what_is_true_as_often_as_it_says() -> None:
    chance = np.random.default_rng(5)
    held = {0.5: 0, 0.9: 0, 0.99: 0}
    runs = 200
    for _ in range(runs):
        was = counted(chance.lognormal(10, 1, 8000).astype(np.int64))
        now = counted((chance.lognormal(10, 1, 8000) * 1.3).astype(np.int64))
        for share in held:
            ratio = quantile_ratio(was, now, share)
            held[share] += ratio.low <= 1.3 <= ratio.high
    assert all(0.91 * runs <= count <= 0.99 * runs for count in held.values()), held


def test_what_comes_in_one_stretch_is_one_thing() -> None:
    evenly = np.full(STRETCHES, 100)
    once = np.zeros(STRETCHES, dtype=np.int64)
    once[7] = 3200
    assert rate_ratio(evenly, 2 * evenly, 1.0).is_sure(1, 1.1)
    assert not rate_ratio(evenly, 2 * once, 1.0).is_sure(1, 1.1)
    half = rate_ratio(evenly, 2 * evenly, 2.0)
    assert (half.ratio, half.deviations) == (1.0, 0.0)


def test_a_few_that_come_evenly_are_still_few() -> None:
    """Nothing varies between the stretches, but events that come by themselves may be twice as many by chance."""
    one, whole = np.ones(STRETCHES, dtype=np.int64), np.full(STRETCHES, 100)
    assert not rate_ratio(one, 2 * one, 1.0).is_sure(1, 1.1)
    assert not share_ratio(one, whole, 2 * one, whole).matters(1.5)


def test_a_share_of_nothing_has_a_ratio() -> None:
    nothing, whole = np.zeros(STRETCHES, dtype=np.int64), np.full(STRETCHES, 100)
    ratio = share_ratio(nothing, whole, np.full(STRETCHES, 10), whole)
    assert ratio.ratio > 100
    assert math.isfinite(ratio.high)


def test_what_is_new_from_nothing_is_sure() -> None:
    nothing, whole = np.zeros(STRETCHES, dtype=np.int64), np.full(STRETCHES, 30)
    evenly, once = np.full(STRETCHES, 3), nothing.copy()
    once[7] = 30
    assert share_ratio(nothing, whole, evenly, whole).is_sure(50, 1.5)
    assert share_ratio(evenly, whole, nothing, whole).is_sure(50, 1.5)
    assert not share_ratio(nothing, whole, once, whole).is_sure(50, 1.5)
    assert not share_ratio(nothing, whole, evenly // 3 * (np.arange(STRETCHES) < 9), whole).is_sure(50, 1.5)
    assert share_ratio(evenly, whole, evenly, whole).deviations == 0


@pytest.mark.parametrize("name", changes.changed(np.random.default_rng(0)))
def test_what_was_changed_is_told_and_nothing_else(name: str, tmp_path: Path) -> None:
    recording = changes.changed(np.random.default_rng(7))[name]()
    kinds = {change.kind for change in halves(recording, tmp_path / "changed.parquet").changes}
    assert kinds == {recording.truth["change"]}


@pytest.mark.parametrize("name", [*changes.steady(np.random.default_rng(0))][::9])
def test_two_halves_of_the_same_do_not_differ(name: str, tmp_path: Path) -> None:
    found = halves(changes.steady(np.random.default_rng(3))[name](), tmp_path / "steady.parquet")
    assert not found.changes
    assert "No change: " in diff_text(found) or not found.compared


@pytest.mark.parametrize(("after", "share"), [(SEVERAL, "34.0 ms to 48.1 ms"), (TWO_MODES, "34.1 ms to 48.2 ms")])
def test_a_mode_that_was_not_there_is_told_before_its_percentiles(after: Path, share: str) -> None:
    found = diff(Part(open_trace(NOTHING)), Part(open_trace(after)))
    [change] = [one for one in found.changes if one.title.startswith("Block I/O at the device")]
    assert change.kind == "mode"
    assert change.title.endswith(f": a new mode from {share}, 15 % of the values (none before)")
    assert change.detail.startswith("Also p90 from 6.07 ms to 39.")
    [back] = [one for one in diff(Part(open_trace(after)), Part(open_trace(NOTHING))).changes if one.kind == "mode"][:1]
    assert back.title.endswith(f": the mode from {share} is gone, 15 % of the values (none after)")


def test_a_mode_of_which_much_is_left_is_not_gone(tmp_path: Path) -> None:
    recording = Recording(60 * SECOND_NS)
    chance = np.random.default_rng(3)
    for begin, slow in ((0, 0.6), (30, 0.2)):
        at = np.sort(chance.uniform(begin, begin + 30, 6000) * SECOND_NS).astype(np.int64)
        usual = np.where(chance.uniform(0, 1, len(at)) < slow, 5_000_000, 20_000)
        recording.opens(at, (usual * chance.lognormal(0, 0.2, len(at))).astype(np.int64), "reader", "/srv/data")
    [change] = [one for one in halves(recording, tmp_path / "t.parquet").changes if one.kind == "mode"]
    told = f"{change.title}. {change.detail}"
    assert re.search(r"the mode from 3\.\d+ ms to 7\.\d+ ms fell from 60 % to 20 % of the values", told)
    assert "gone" not in told
    assert "new" not in told


def test_one_mode_that_moved_is_neither_gone_nor_new() -> None:
    found = diff(Part(open_trace(NOTHING)), Part(open_trace(TWO_MODES)))
    [change] = [one for one in found.changes if one.title.startswith("Block I/O in the queue")]
    assert change.kind == "latency"
    assert "; the mode moved from 5.74 us (100 %) to 3.37 us (100 %)" in change.detail
    assert "gone" not in change.detail


def test_a_few_outliers_on_one_side_are_told_but_not_as_a_change(several: Diff) -> None:
    first = several.unsure[0]
    assert first.kind == "outliers"
    assert first.title == (
        "Block I/O at the device: after, 7 of 2,400 took 420 ms to 610 ms; "
        "before, none took more than 9.27 ms: too few to be sure"
    )
    assert not any(one.kind == "outliers" for one in several.changes)


def test_an_outlier_little_beyond_those_of_the_other_side_is_not_told(tmp_path: Path) -> None:
    recording = Recording(60 * SECOND_NS)
    opened(0, 60, 6000, recording, 3)
    for second, slow_ns in ((10, 50_000_000), (40, 70_000_000)):
        recording.opens(np.array([second * SECOND_NS]), np.array([slow_ns]), "reader", "/srv/data")
    found = halves(recording, tmp_path / "t.parquet")
    assert all(one.outliers for side in (found.before, found.after) for one in side.latency if not one.group)
    assert not found.changes
    assert not found.unsure


def test_who_lives_longer_than_a_part_of_a_recording_is_no_outlier_of_the_other() -> None:
    trace = open_trace(SERVICE)
    cut = 6 * SECOND_NS
    found = diff(Part(trace, Selection(None, cut)), Part(trace, Selection(cut, None)))
    assert any(one.metric == "process.lifetime" and one.outliers for one in found.after.latency)
    assert not any("Process lifetimes" in one.title for one in (*found.changes, *found.unsure))


def test_many_outliers_in_one_stall_are_not_sure(tmp_path: Path) -> None:
    chance = np.random.default_rng(4)
    for stall in (True, False):
        recording = Recording(60 * SECOND_NS)
        at = np.sort(chance.uniform(0, 60, 30_000) * SECOND_NS).astype(np.int64)
        recording.opens(at, (20_000 * chance.lognormal(0, 0.5, len(at))).astype(np.int64), "reader", "/srv/data")
        slow = (chance.uniform(40, 41 if stall else 60, 40) * SECOND_NS).astype(np.int64)
        recording.opens(slow, np.full(40, 50_000_000), "reader", "/srv/data")
        found = halves(recording, tmp_path / "t.parquet")
        told, other = (found.unsure, found.changes) if stall else (found.changes, found.unsure)
        [line] = [one.title for one in told if one.kind == "outliers"]
        assert "after, 40 of " in line
        assert line.endswith(", perhaps one event" if stall else " us")
        assert not any(one.kind == "outliers" for one in other)


def test_failing_opens_are_told_by_command_and_error(several: Diff) -> None:
    [change] = [one for one in several.changes if one.kind == "failures"]
    assert change.title.startswith("Failing opens: from 14 to 150 a second (x 10.7, ")
    assert change.detail == (
        "176 of 2,139 before, 1,937 of 2,589 after. Most of it: poller ENOENT from 0 to 140 (0 before, 1,807 after)"
    )


@pytest.mark.parametrize("sometimes", [0, 30])
def test_who_is_named_with_a_sure_change_is_not_told_as_not_sure(sometimes: int, tmp_path: Path) -> None:
    """Failing opens of one command only for a while, or nearly so, and of all for longer."""
    recording = Recording(60 * SECOND_NS)
    opened(0, 60, 6000, recording, 3)
    opened(0, 60, 400, recording, -2)
    for at, comm in enumerate(("a", "b", "c")):
        opened(30 + 10 * at, 40 + 10 * at, 900, recording, -13, comm)
        opened(5, 5.5, sometimes, recording, -13, comm)
        opened(0, 30, 10 * sometimes, recording, 3, comm)
    found = halves(recording, tmp_path / "t.parquet")
    [change] = [one for one in found.changes if one.kind == "failures"]
    assert change.title.startswith("Failing opens: from ")
    assert all(f" {comm} EACCES from " in change.detail for comm in "abc")
    assert not [one for one in found.unsure if one.kind == "failures"]


def test_a_change_and_what_is_not_sure_do_not_contradict_each_other() -> None:
    trace = open_trace(SEVERAL)
    found = diff(Part(trace, Selection(None, 8 * SECOND_NS)), Part(trace, Selection(8 * SECOND_NS, None)))
    assert "Most of it: poller ENOENT from 226 to 0 " in found.changes[0].detail
    assert not any("poller ENOENT" in one.title for one in found.unsure)


def test_more_opens_of_which_as_many_fail_are_only_more(tmp_path: Path) -> None:
    recording = Recording(60 * SECOND_NS)
    for begin, factor in ((0, 1), (30, 2)):
        opened(begin, begin + 30, 3000 * factor, recording, 3)
        opened(begin, begin + 30, 500 * factor, recording, -2)
    found = halves(recording, tmp_path / "t.parquet")
    assert [one.kind for one in found.changes] == ["rate"]
    assert any(one.event == "open_failed" and one.sure for one in found.rates)


def test_a_command_that_only_fails_for_a_while_is_not_sure(tmp_path: Path) -> None:
    recording = Recording(60 * SECOND_NS)
    opened(0, 60, 6000, recording, 3)
    opened(0, 60, 1800, recording, -2)
    opened(40, 45, 200, recording, -13, "searcher")
    found = halves(recording, tmp_path / "t.parquet")
    assert not found.changes
    [one] = [one for one in found.unsure if one.kind == "failures"]
    assert one.title.startswith("Failing opens searcher EACCES: from 0 to 6.67 a second; all within ")
    assert one.detail == "No opens before, 200 of 200 after"


def test_failing_opens_without_durations_are_told(tmp_path: Path) -> None:
    """As opensnoop writes them."""
    recording = Recording(60 * SECOND_NS)
    at = (np.arange(0, 60, 0.01) * SECOND_NS).astype(np.int64)
    ret = np.where((np.arange(len(at)) % 3 == 0) & (at > 30 * SECOND_NS), -2, 3)
    recording.add("open", "open", at, comm="reader", path="/srv/data", ret=ret, pid=900, tid=900, uid=0, flags=0)
    found = halves(recording, tmp_path / "t.parquet")
    assert not found.after.latency
    [change] = found.changes
    assert change.title == "Failing opens reader ENOENT: from 0 to 33.3 a second"
    assert change.detail == "0 of 3,000 before, 999 of 3,000 after"


def test_a_large_change_that_is_not_sure_says_why(several: Diff) -> None:
    told = [one.title for one in several.unsure]
    assert any(
        one.startswith("Starts of /usr/bin/id: ") and one.endswith("; too few to be sure, 31 before and 5 after")
        for one in told
    )
    assert any(
        one.startswith("Opens: p50 ") and one.endswith("; varies too much within the recordings to be sure")
        for one in told
    )
    text = diff_text(several)
    assert "x 0.157 ?  " in text
    assert f"some of {several.compared} figures differ as much by chance." in text


def test_a_latency_of_other_commands_says_which_came_and_went(several: Diff) -> None:
    [change] = [one for one in several.changes if one.title.startswith("Opens: ")]
    assert change.detail.endswith("Of these values poller none before, 72 % after; reader 59 % before, none after")
    assert "sleep" not in change.detail


def test_a_second_process_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> str:
        return diff_json(diff(Part(open_trace(SEVERAL), Selection()), Part(open_trace(SERVICE), Selection())))

    alone = found()
    monkeypatch.setattr("tracekit.analyze.diff.comparison._LARGE", 0)
    assert found() == alone


def test_what_makes_them_hard_to_compare_is_told(tmp_path: Path) -> None:
    whole = TraceBuilder().add("open", 5, comm="a", path="/a", ret=3, duration_ns=1000)
    before = whole.trace(tmp_path / "before.parquet")
    after = whole.metadata(kernel="6.9.0", hostname="other", complete=False).trace(tmp_path / "after.parquet")
    found = diff(Part(before), Part(after))
    told = " ".join(found.notes)
    assert "the kernels differ: " in told
    assert "6.9.0 after" in told
    assert "the recording after is not whole" in told
    assert not found.compared
    assert "Nothing could be compared" in diff_text(found)


@pytest.mark.parametrize("recorded", ["process,block", "block,open", "process,open"])
def test_what_one_side_did_not_record_is_no_change(recorded: str, tmp_path: Path) -> None:
    for sample in (SEVERAL, SERVICE):
        path = tmp_path / sample.name
        assert main(["slice", str(sample), "-o", str(path), "--events", recorded]) == 0
        sides = Part(open_trace(sample)), Part(open_trace(path))
        for found in (diff(*sides), diff(*sides[::-1])):
            assert not found.changes
            assert not found.unsure
            assert "the families of events differ: " in " ".join(found.notes)


def test_a_file_that_does_not_tell_what_was_recorded_is_compared_whole(tmp_path: Path) -> None:
    sides, chance = [], np.random.default_rng(1)
    for name, count in (("before", 3000), ("after", 9000)):
        builder = TraceBuilder().metadata(events=())
        for at in chance.integers(0, 10 * SECOND_NS, count):
            builder.add("open", int(at), comm="x", path="/a", ret=3)
        sides.append(Part(builder.trace(tmp_path / name)))
    [change] = diff(*sides).changes
    assert change.title.startswith("Opens: from 300 to 900 a second")


def test_hostile_names_are_shown_harmlessly(tmp_path: Path) -> None:
    def recorded(name: str, file: str) -> Part:
        builder = TraceBuilder()
        for at in range(200):
            builder.add("exec", at * 50_000_000, pid=at + 10, tid=at + 10, ppid=1, comm="x", path=name, argv=[name])
        return Part(builder.trace(tmp_path / file))

    found = diff(recorded("/a\x1b[31m", "before.parquet"), recorded("/b\u202e", "after.parquet"))
    text = diff_text(found)
    assert "/b\\u202e is new" in text
    assert "\x1b" not in text


def test_numbers_are_written_without_powers_of_ten() -> None:
    found = diff(Part(open_trace(TWO_MODES)), Part(open_trace(SAMPLES / "failing-opens.parquet")))
    text = diff_text(found)
    assert re.search(r"x 1,135 \*  145 to 8,8\d\d\n", text)
    for each in (text, diff_text(diff(Part(open_trace(SEVERAL)), Part(open_trace(SERVICE))))):
        assert not re.search(r"\de[+-]\d", each)
    assert [plain(one) for one in (0, 0.0000234, 1.5, 99.96, 999.7, 8863.2)] == (
        ["0", "0.0000234", "1.5", "100", "1,000", "8,863"]
    )


def test_more_than_nine_changes_have_whole_numbers() -> None:
    few = diff(Part(open_trace(NOTHING)), Part(open_trace(SEVERAL)))
    found = dataclasses.replace(few, changes=tuple(Change(rank, "rate", "Told") for rank in range(1, 101)))
    lines = diff_text(found).splitlines()
    assert [line for line in lines if line.endswith(" Told.")] == [f"{rank:>3}. Told." for rank in range(1, 101)]


def test_the_same_bytes_each_time() -> None:
    parts = [Part(open_trace(path)) for path in (NOTHING, SEVERAL)]
    assert diff_json(diff(*parts)) == diff_json(diff(*parts))
