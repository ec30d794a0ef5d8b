"""The sample traces are what their manifest says, tell nothing of the machine, and reports of them are true."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from laboratory.real.judging import is_stall, judged
from truth import of_all

from tracekit import Trace, open_trace
from tracekit.analyze import analyze
from tracekit.analyze.results import Report
from tracekit.cli.main import main

SAMPLES = Path(__file__).parents[2] / "sample_traces"
MANIFEST: dict[str, dict[str, Any]] = json.loads((SAMPLES / "MANIFEST.json").read_text())
RESTARTS = "service-restart.parquet"
SAME_PLACE, SAME_COUNT, SAME_TIME = 0.1, 0.1, 0.05
#: The kinds of findings that a sample is there to show: each is told once, and nothing else is.
FINDINGS = {
    "disk-two-modes.parquet": ["modes", "outliers"],
    "nothing-to-find.parquet": [],
    "several-at-once.parquet": ["failed_opens", "modes", "outliers", "process_bursts"],
}
PLAIN_FOLDERS = ("/bin/", "/dev/", "/etc/", "/lib/", "/lib64/", "/proc/", "/srv/tracekit/", "/usr/", "/var/tmp/")


def test_every_sample_is_described() -> None:
    assert {path.name for path in SAMPLES.glob("*.parquet")} == set(MANIFEST)


@pytest.fixture(params=MANIFEST)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def trace(name: str) -> Trace:
    return open_trace(SAMPLES / name)


def test_it_is_the_file_that_was_described(name: str, trace: Trace) -> None:
    raw = (SAMPLES / name).read_bytes()
    assert len(raw) < 2 * 1024 * 1024
    assert hashlib.sha256(raw).hexdigest() == MANIFEST[name]["sha256"]
    assert trace.counts == MANIFEST[name]["truth"]["rows"]


def test_it_tells_nothing_of_the_machine(trace: Trace) -> None:
    metadata = trace.metadata
    assert metadata.hostname is None
    assert re.fullmatch(r"[\d.]+", metadata.kernel or "")
    assert {(disk.model, disk.size_bytes) for disk in metadata.disks} <= {(None, None)}
    names = {disk.name for disk in metadata.disks}
    assert names <= {"disk0", "disk1"}
    assert set(metadata.filters.get("disk", ())) <= names
    frame = trace.pandas(columns=["path", "argv", "cgroup", "disk", "dev"])
    assert set(frame.cgroup.dropna()) == {"/"}
    assert set(frame.disk.dropna()) == names
    assert set(frame.dev.dropna()) == {disk.dev for disk in metadata.disks}
    words = {word for argv in frame.argv.dropna() for word in argv} | set(metadata.command or ())
    for text in {*frame.path.dropna(), *words}:
        for path in re.findall(r"(?:^|[\s\"=:])(/[^\s\",:]+)", text):
            assert f"{path}/".startswith(PLAIN_FOLDERS), text
            assert not re.match(r"/dev/(loop|sd|vd|nvme)|/var/tmp/tmp", path), text


def test_it_is_of_the_workload_only(trace: Trace) -> None:
    assert trace.counts.get("process", 0) == 0
    forks = trace.pandas("fork", columns=["pid", "ppid"])
    assert len(set(forks.ppid) - set(forks.pid)) == 1


def test_its_counters_add_up(trace: Trace) -> None:
    for counters in trace.metadata.counters.values():
        assert counters.seen == counters.filtered + counters.written + counters.lost


@pytest.fixture
def report(trace: Trace) -> Report:
    return analyze(trace)


def samples_with(key: str) -> pytest.MarkDecorator:
    """For each sample of whose truth this is a part."""
    return pytest.mark.parametrize("name", [name for name in MANIFEST if key in MANIFEST[name]["truth"]])


def test_nothing_of_it_is_unmatched(report: Report) -> None:
    quality = report.quality
    assert quality.lost == quality.unmatched_issues == quality.unmatched_completions == quality.in_flight_at_end == 0
    told = [note.partition(":")[0] for note in quality.notes]
    assert told in (["redacted"], ["only part of the machine was recorded", "redacted"])


@pytest.mark.parametrize("name", FINDINGS)
def test_each_thing_is_told_once_and_nothing_else(name: str, report: Report) -> None:
    assert sorted(one.kind for one in report.findings) == FINDINGS[name]
    outcome = judged(MANIFEST[name]["truth"], report)
    assert (outcome.found, outcome.invented) == (outcome.planted, 0)


def test_where_nothing_is_to_be_found_the_report_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(SAMPLES / "nothing-to-find.parquet")]) == 0
    assert "Nothing stands out" in capsys.readouterr().out


@samples_with("ios")
def test_the_report_has_every_io_of_the_disk(name: str, report: Report) -> None:
    assert of_all(report, "block.device").count == MANIFEST[name]["truth"]["ios"]


@samples_with("modes_ns")
def test_the_report_finds_the_modes_of_the_disk(name: str, report: Report) -> None:
    truth = MANIFEST[name]["truth"]
    modes = of_all(report, "block.device").modes
    assert [mode.peak_ns for mode in modes] == pytest.approx(truth["modes_ns"], rel=SAME_PLACE)
    assert [mode.count for mode in modes] == pytest.approx(truth["mode_counts"], rel=SAME_COUNT)


@samples_with("outliers")
def test_the_report_counts_the_outliers_of_the_disk(name: str, report: Report) -> None:
    truth = MANIFEST[name]["truth"]
    outliers = of_all(report, "block.device").outliers
    assert (0 if outliers is None else outliers.count) == truth["outliers"]
    episodes = () if outliers is None else outliers.episodes
    for stall in truth["stalls"]:
        assert [is_stall(episode, stall) for episode in episodes].count(True) == 1
    assert len(episodes) == truth["outliers"] - sum(stall["count"] - 1 for stall in truth["stalls"])


@samples_with("patterns")
def test_the_report_finds_the_rhythms_and_no_other(name: str, report: Report) -> None:
    truth = MANIFEST[name]["truth"]["patterns"]
    rhythms = [pattern for pattern in report.patterns if pattern.kind != "steady"]
    assert len(rhythms) == len(truth)
    for pattern, wanted in zip(rhythms, truth, strict=True):
        assert (pattern.event, pattern.cycles, pattern.burst_size, pattern.clock) == (
            wanted["event"],
            wanted["cycles"],
            wanted["burst_size"],
            wanted["clock"],
        )
        assert pattern.period_ns == pytest.approx(wanted["period_ns"], rel=SAME_TIME)
        assert pattern.pause_ns == pytest.approx(wanted["pause_ns"], rel=SAME_TIME)


@samples_with("failing_opens")
def test_the_report_counts_the_opens_that_fail(name: str, report: Report) -> None:
    by_path = {use.name: use for use in report.workload.open["by_path"]}
    for wanted in MANIFEST[name]["truth"]["failing_opens"]:
        assert sum(wanted["paths"].values()) == wanted["failed"]
        for path, count in wanted["paths"].items():
            assert (by_path[path].count, by_path[path].failed) == (count, {wanted["errno"]: count})


@pytest.mark.parametrize(
    ("name", "comm"),
    [
        ("failing-opens.parquet", "poller"),
        ("failing-opens.parquet", "searcher"),
        ("several-at-once.parquet", "poller"),
    ],
)
def test_the_report_tells_who_opens_in_vain(name: str, comm: str, report: Report) -> None:
    (wanted,) = (one for one in MANIFEST[name]["truth"]["failing_opens"] if one["comm"] == comm)
    (finding,) = (one for one in report.findings if one.kind == "failed_opens" and one.evidence["comm"] == comm)
    # What its interpreter looks for when it starts comes on top.
    assert wanted["failed"] <= int(finding.evidence["failed"] or 0) <= 1.02 * wanted["failed"]
    assert wanted["errno"] in finding.title
    if len(wanted["paths"]) == 1:
        assert next(iter(wanted["paths"])) in finding.detail


# --- the service that is restarted -------------------------------------------------------------------------------


def test_the_report_finds_the_restarts(capsys: pytest.CaptureFixture[str]) -> None:
    truth = MANIFEST[RESTARTS]["truth"]
    report = report_of(RESTARTS, capsys)
    assert report["quality"]["lost"] == truth["lost"]
    pattern = the_bursts(report, truth)
    assert pattern["period_ns"] == pytest.approx(truth["period_ns"], rel=0.05)
    assert pattern["pause_ns"] == pytest.approx(truth["pause_ns"], rel=0.05)
    assert pattern["cycles"] == truth["attempts"]
    assert pattern["chain"] == truth["runs"]
    assert re.fullmatch(rf"{truth['started_by']} \(pid \d+\)", pattern["scope"]["parent"])
    assert f"started by {pattern['scope']['parent']}" in pattern["sentence"]


def test_the_report_tells_how_its_processes_end(capsys: pytest.CaptureFixture[str]) -> None:
    truth = MANIFEST[RESTARTS]["truth"]
    report = report_of(RESTARTS, capsys)
    codes: Counter[str] = Counter()
    for exits in truth["exits"].values():
        codes.update(exits)
    assert the_bursts(report, truth)["exit_codes"] == codes
    failed = {program: sum(exits.values()) - exits.get("0", 0) for program, exits in truth["exits"].items()}
    by_path = {Path(item["name"]).name: item["failed"] for item in report["workload"]["process"]["by_path"]}
    assert {program: by_path.get(program, 0) for program in failed} == failed
    first = report["findings"][0]
    assert first["kind"] == "restarts"
    assert f"{truth['runs'][0]} fails and is started again, over and over." in first["detail"]


def test_the_report_tells_which_files_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    opens = report_of(RESTARTS, capsys)["workload"]["open"]["by_path"]
    missing = {Path(item["name"]).name for item in opens if "ENOENT" in item["failed"]}
    assert set(MANIFEST[RESTARTS]["truth"]["missing_files"]) <= missing


def test_the_report_tells_why_the_service_fails(capsys: pytest.CaptureFixture[str]) -> None:
    truth = MANIFEST[RESTARTS]["truth"]
    first = report_of(RESTARTS, capsys)["findings"][0]
    assert first["evidence"]["program"] == truth["runs"][0]
    assert Path(first["evidence"]["path"]).name == truth["fails_for_want_of"]
    assert f"{first['evidence']['path']} (ENOENT), {truth['attempts']} of {truth['attempts']} times." in first["detail"]


def report_of(name: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["report", "--format", "json", str(SAMPLES / name)]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def the_bursts(report: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    """The one pattern in process starts that has the size of an attempt."""
    (pattern,) = (
        item
        for item in report["patterns"]
        if (item["event"], item["kind"], item["burst_size"]) == ("exec", "bursts", truth["burst_size"])
    )
    return dict(pattern)
