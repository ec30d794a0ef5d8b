"""What changed between two recordings: rhythms, and the programs that are started."""

from pathlib import Path

import numpy as np
import pytest
from halves import halves, opened, started
from laboratory.recording import SECOND_NS, Recording

from tracekit import open_trace
from tracekit.analyze import Selection
from tracekit.analyze.diff import Part, diff

SAMPLES = Path(__file__).parents[2] / "sample_traces"
NOTHING, SERVICE, SEVERAL, TWO_MODES = (
    SAMPLES / f"{name}.parquet" for name in ("nothing-to-find", "service-restart", "several-at-once", "disk-two-modes")
)


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


def test_a_rhythm_that_is_told_explains_what_its_programs_open() -> None:
    found = diff(Part(open_trace(SEVERAL)), Part(open_trace(SERVICE)))
    assert [change.kind for change in found.changes[:2]] == ["rhythm", "rhythm"]
    opens = [change.title for change in found.changes if change.title.startswith("Opens ")]
    assert opens == ["Opens file-worker: from 0 to 185 a second", "Opens supervise: from 0 to 7.67 a second"]
    assert any(one.event == "open" and one.group == {"comm": "cp"} and one.sure for one in found.rates)


def test_a_rhythm_that_is_told_is_not_told_again_as_not_sure(tmp_path: Path) -> None:
    recording = Recording(60 * SECOND_NS)
    recording.running(1, 0, "init")
    opened(0, 60, 6000, recording, 3)
    started(np.arange(32, 60, 3), "backup", recording)
    for second in np.arange(32, 60, 3):
        opened(second, second + 0.1, 20, recording, 3, "backup")
    found = halves(recording, tmp_path / "t.parquet")
    assert {(change.kind, change.title[:5]) for change in found.changes} == {("rhythm", "New: ")}
    assert not [one for one in found.unsure if "backup" in one.title]


def test_a_rhythm_that_is_not_seen_any_more_has_not_stopped(tmp_path: Path) -> None:
    """As many starts as before, at chance times."""
    recording = Recording(60 * SECOND_NS)
    recording.running(1, 0, "init")
    started(np.arange(0.2, 30, 0.5), "poll", recording)
    started(30 + np.random.default_rng(1).uniform(0, 30, 60), "poll", recording)
    found = halves(recording, tmp_path / "t.parquet")
    assert found.before.patterns
    assert not found.after.patterns
    assert not found.changes


@pytest.mark.parametrize("first", [True, False])
def test_a_rhythm_of_which_too_little_is_there_to_be_seen_is_not_new(first: bool) -> None:
    """Of its starts, most are children of children."""
    trace = open_trace(SERVICE)
    cut = 3 * SECOND_NS if first else trace.metadata.duration_ns - 3 * SECOND_NS
    found = diff(Part(trace, Selection(None, cut)), Part(trace, Selection(cut, None)))
    seen = [any(one.event == "exec" for one in side.patterns) for side in (found.before, found.after)]
    assert seen == [not first, first]
    assert not [one.title for one in found.changes]


def test_a_rhythm_of_one_branch_is_compared_with_that_branch(tmp_path: Path) -> None:
    """Somebody starts a job and what the job starts; meanwhile others run the same programs."""
    for there in (True, False):
        recording = Recording(60 * SECOND_NS)
        recording.running(1, 0, "init")
        recording.running(2, 1, "cron")
        chance = np.random.default_rng(1)
        evenly, by_chance = np.arange(30.2, 60, 0.5), np.sort(chance.uniform(0, 30, 60))
        times = [*by_chance, *evenly] if there else evenly
        jobs = recording.processes(
            (np.array(times) * SECOND_NS).astype(np.int64), np.full(len(times), 40_000_000), "job", 2
        )
        for after_ns in (5_000_000, 10_000_000, 15_000_000):
            at = (np.array(times) * SECOND_NS).astype(np.int64) + after_ns
            recording.processes(at, np.full(len(times), 3_000_000), "step", jobs)
        started(chance.uniform(0, 30, 300), "step", recording)
        found = halves(recording, tmp_path / f"{there}.parquet")
        assert [one.kind for one in found.changes if one.kind == "rhythm"] == ([] if there else ["rhythm"])


def test_a_job_that_ran_once_for_a_while_is_no_new_program(tmp_path: Path) -> None:
    recording = Recording(60 * SECOND_NS)
    recording.running(1, 0, "init")
    chance = np.random.default_rng(2)
    started(chance.uniform(0, 60, 600), "usual", recording)
    started(chance.uniform(32, 44, 200), "job", recording)  # in 13 of the 32 stretches
    found = halves(recording, tmp_path / "t.parquet")
    assert not [change for change in found.changes if change.kind == "program"]
    assert any(one.title.startswith("Started only after, too rarely to be sure: /usr/bin/job") for one in found.unsure)
    started(chance.uniform(44, 60, 200), "job", recording)
    [change] = [one for one in halves(recording, tmp_path / "t.parquet").changes if one.kind == "program"]
    assert change.title.startswith("/usr/bin/job is new: it was started 400 times")


@pytest.mark.parametrize(("sample", "second"), [(TWO_MODES, 3), (SERVICE, 6), (SEVERAL, 1)])
def test_what_runs_on_was_not_only_before(sample: Path, second: int) -> None:
    trace, cut = open_trace(sample), second * SECOND_NS
    found = diff(Part(trace, Selection(None, cut)), Part(trace, Selection(cut, None)))
    assert not any("only before" in one.title for one in found.unsure)


def test_what_ran_and_what_did_something_on_the_other_side_was_there(tmp_path: Path) -> None:
    """A program that is started once: what ran already has no path, and what opens may not be known to run."""
    recording = Recording(60 * SECOND_NS)
    recording.running(1, 0, "init")
    started(np.array([2.0]), "ended", recording)
    found = halves(recording, tmp_path / "ended.parquet")
    assert [one.title for one in found.unsure] == ["Started only before, too rarely to be sure: /usr/bin/ended (1)"]
    recording.running(2, 1, "ended")
    assert not halves(recording, tmp_path / "running.parquet").unsure
    recording = Recording(60 * SECOND_NS)
    started(np.array([2.0]), "reader", recording)
    opened(0, 60, 600, recording, 3)
    assert not halves(recording, tmp_path / "opens.parquet").unsure
