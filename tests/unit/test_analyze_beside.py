"""Large traces are analyzed by two processes: the report does not depend on it."""

import multiprocessing
import sys
from pathlib import Path

import pytest

from tracekit import open_trace
from tracekit.analyze import analyze
from tracekit.errors import TraceError

SAMPLES = Path(__file__).parents[2] / "sample_traces"


@pytest.fixture(autouse=True)
def _any_trace_is_large(monkeypatch):
    monkeypatch.setattr("tracekit.analyze.analysis._LARGE", 0)


def test_the_report_is_the_same():
    trace = open_trace(SAMPLES / "several-at-once.parquet")
    assert analyze(trace, processes=True) == analyze(trace)


@pytest.fixture
def _no_process_can_be_started():
    multiprocessing.set_executable("/bin/false")
    yield
    multiprocessing.set_executable(sys.executable)


@pytest.mark.usefixtures("_no_process_can_be_started")
def test_the_report_is_the_same_where_no_second_process_can_be_started():
    trace = open_trace(SAMPLES / "several-at-once.parquet")
    assert analyze(trace, processes=True) == analyze(trace)


def test_damage_that_the_other_process_finds_is_told(tmp_path):
    whole = bytearray((SAMPLES / "disk-two-modes.parquet").read_bytes())
    whole[4 : len(whole) // 2] = bytes(len(whole) // 2 - 4)
    path = tmp_path / "t.parquet"
    path.write_bytes(whole)
    with pytest.raises(TraceError, match="is damaged in row group"):
        analyze(open_trace(path), processes=True)
