"""What changed between two recordings: what was changed, and nothing where nothing was."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from laboratory import changes
from laboratory.recording import Recording
from tracebuilder import TraceBuilder

from tracekit import open_trace
from tracekit.analyze import Selection
from tracekit.analyze.diff import Diff, Part, diff
from tracekit.analyze.diff.chance import quantile_ratio, rate_ratio, share_ratio, student
from tracekit.analyze.diff.stretches import STRETCHES, WIDE_BINS, edges
from tracekit.analyze.report.diff import diff_json, diff_text
from tracekit.cli.main import main

SAMPLES = Path(__file__).parents[2] / "sample_traces"
NOTHING, SERVICE, SEVERAL = (
    SAMPLES / f"{name}.parquet" for name in ("nothing-to-find", "service-restart", "several-at-once")
)


def halves(recording: Recording, path: Path) -> Diff:
    trace = open_trace(recording.write(path))
    half = trace.metadata.duration_ns // 2
    return diff(Part(trace, Selection(None, half)), Part(trace, Selection(half, None)))


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


def test_a_share_of_nothing_has_a_ratio() -> None:
    nothing, whole = np.zeros(STRETCHES, dtype=np.int64), np.full(STRETCHES, 100)
    ratio = share_ratio(nothing, whole, np.full(STRETCHES, 10), whole)
    assert ratio.ratio > 100
    assert math.isfinite(ratio.high)


@pytest.mark.parametrize("name", changes.changed(np.random.default_rng(0)))
def test_what_was_changed_is_told_and_nothing_else(name: str, tmp_path: Path) -> None:
    recording = changes.changed(np.random.default_rng(7))[name]()
    kinds = {change.kind for change in halves(recording, tmp_path / "changed.parquet").changes}
    assert kinds in ({recording.truth["change"]}, {"mode"} if recording.truth["change"] == "latency" else set())


@pytest.mark.parametrize("name", [*changes.steady(np.random.default_rng(0))][::9])
def test_two_halves_of_the_same_do_not_differ(name: str, tmp_path: Path) -> None:
    found = halves(changes.steady(np.random.default_rng(3))[name](), tmp_path / "steady.parquet")
    assert not found.changes
    assert "No change: " in diff_text(found) or not found.compared


def test_a_rhythm_that_is_told_explains_its_programs() -> None:
    found = diff(Part(open_trace(NOTHING)), Part(open_trace(SERVICE)))
    first, *others = found.changes
    assert first.kind == "rhythm"
    assert first.title.startswith("New: 30 processes start in a burst of ")
    assert not any("/usr/bin/mkdir" in change.title for change in others)
    assert any(one.group == {"path": "/usr/bin/mkdir"} and one.ratio is None for one in found.rates)
    back = diff(Part(open_trace(SERVICE)), Part(open_trace(NOTHING)))
    assert back.changes[0].title.startswith("It stopped that 30 processes start in a burst of ")
    ratios = {(one.metric, str(one.group), one.share): one.ratio for one in found.latency}
    for one in back.latency:
        assert one.ratio * ratios[one.metric, str(one.group), one.share] == pytest.approx(1)


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


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    sample = str(SERVICE)
    assert main(["diff", sample, "--at", "6s"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"before  {sample}")
    assert "No change: none of the " in out
    assert max(map(len, out.splitlines())) <= 80
    assert main(["diff", str(NOTHING), sample, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["diff_format"] == 1
    assert told["before"]["trace"]["path"] == str(NOTHING)
    assert told["changes"][0]["kind"] == "rhythm"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ([], "name two recordings, or one and with --at the time at which it is divided"),
        (["{sample}", "--at", "6s"], "name two recordings, or one"),
        (["--at", "1h"], "behind the end of the recording"),
        (["--at", "soon"], "soon"),
        (["{sample}", "--comm", "nobody"], "nobody"),
    ],
)
def test_wrong_usage(more: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    sample = str(SERVICE)
    assert main(["diff", sample, *(one.format(sample=sample) for one in more)]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_the_same_bytes_each_time() -> None:
    parts = [Part(open_trace(path)) for path in (NOTHING, SEVERAL)]
    assert diff_json(diff(*parts)) == diff_json(diff(*parts))
