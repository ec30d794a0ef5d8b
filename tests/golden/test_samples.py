"""The sample traces are what their manifest says, and tell nothing of the machine they were made on."""

import hashlib
import json
import re
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
    assert main(["report", "--format", "json", str(SAMPLES / name)]) == 0
    report = json.loads(capsys.readouterr().out)

    assert report["quality"]["lost"] == truth["lost"]
    bursts = [item for item in report["patterns"] if item["kind"] == "bursts" and item["burst_size"] == 30]
    assert bursts
    pattern = bursts[0]
    assert pattern["period_ns"] == pytest.approx(truth["period_ns"], rel=0.05)
    assert pattern["pause_ns"] == pytest.approx(truth["pause_ns"], rel=0.05)
    assert pattern["cycles"] == pytest.approx(truth["attempts"], abs=1)
    assert pattern["chain"] == list(dict.fromkeys(truth["runs"])) or pattern["chain"] == truth["runs"]
    assert truth["started_by"] in pattern["sentence"]
