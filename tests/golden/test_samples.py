"""The sample traces are what their manifest says, and tell nothing of the machine they were made on."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tracekit import Trace, open_trace
from tracekit.cli.main import main

SAMPLES = Path(__file__).parents[2] / "sample_traces"
MANIFEST: dict[str, dict[str, Any]] = json.loads((SAMPLES / "MANIFEST.json").read_text())
PLAIN_FOLDERS = ("/dev/", "/etc/", "/lib/", "/lib64/", "/proc/", "/srv/tracekit/", "/usr/", "/var/tmp/")


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
    assert {disk.model for disk in metadata.disks} == {None}
    frame = trace.pandas(columns=["path", "cgroup", "disk"])
    assert set(frame.cgroup.dropna()) == {"/"}
    assert set(frame.disk.dropna()) <= {disk.name for disk in metadata.disks}
    for path in frame.path.dropna().unique():
        assert not path.startswith("/") or path.startswith(PLAIN_FOLDERS), path


def test_its_counters_add_up(trace: Trace) -> None:
    for counters in trace.metadata.counters.values():
        assert counters.seen == counters.filtered + counters.written + counters.lost


def test_the_report_finds_what_is_true(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    truth = MANIFEST[name]["truth"]
    report = report_of(name, capsys)
    assert report["quality"]["lost"] == truth["lost"]
    pattern = the_bursts(report, truth)
    assert pattern["period_ns"] == pytest.approx(truth["period_ns"], rel=0.05)
    assert pattern["pause_ns"] == pytest.approx(truth["pause_ns"], rel=0.05)
    assert pattern["cycles"] == truth["attempts"]
    assert pattern["chain"] == truth["runs"]
    assert re.fullmatch(rf"{truth['started_by']} \(pid \d+\)", pattern["scope"]["parent"])
    assert f"started by {pattern['scope']['parent']}" in pattern["sentence"]


def test_the_report_tells_how_its_processes_end(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    truth = MANIFEST[name]["truth"]
    report = report_of(name, capsys)
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


def test_the_report_tells_which_files_are_missing(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    opens = report_of(name, capsys)["workload"]["open"]["by_path"]
    missing = {Path(item["name"]).name for item in opens if "ENOENT" in item["failed"]}
    assert set(MANIFEST[name]["truth"]["missing_files"]) <= missing


def test_nothing_of_it_is_unmatched(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    quality = report_of(name, capsys)["quality"]
    assert quality["unmatched_issues"] == quality["unmatched_completions"] == 0
    assert len(quality["notes"]) == 1  # what was taken out


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
