"""Large traces are analyzed by two processes: the report does not depend on it."""

import multiprocessing
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tracekit import open_trace
from tracekit.analyze import analyze
from tracekit.analyze.beside import beside
from tracekit.errors import TraceError

SAMPLES = Path(__file__).parents[2] / "sample_traces"


def test_what_the_other_process_gives_or_raises_comes_here():
    with beside(os.getpid) as pid, beside(int, "x") as number:
        assert pid() != os.getpid()
        with pytest.raises(ValueError, match="invalid literal"):
            number()


def test_a_process_that_is_killed_is_not_missed():
    with beside(os.getpid) as pid:
        for child in multiprocessing.active_children():
            child.kill()
            child.join()
        assert pid() == os.getpid()


def test_who_stops_waiting_stops_the_other_process():
    with suppress(KeyboardInterrupt), beside(time.sleep, 3600):
        assert multiprocessing.active_children()
        raise KeyboardInterrupt
    assert not multiprocessing.active_children()


@pytest.fixture
def _any_trace_is_large(monkeypatch):
    monkeypatch.setattr("tracekit.analyze.analysis._LARGE", 0)


@pytest.mark.usefixtures("_any_trace_is_large")
def test_the_report_is_the_same():
    trace = open_trace(SAMPLES / "several-at-once.parquet")
    assert analyze(trace, processes=True) == analyze(trace)


@pytest.fixture
def _no_process_can_be_started():
    multiprocessing.set_executable("/bin/false")
    yield
    multiprocessing.set_executable(sys.executable)


@pytest.mark.usefixtures("_any_trace_is_large", "_no_process_can_be_started")
def test_the_report_is_the_same_where_no_second_process_can_be_started():
    trace = open_trace(SAMPLES / "several-at-once.parquet")
    assert analyze(trace, processes=True) == analyze(trace)


@pytest.mark.usefixtures("_any_trace_is_large")
def test_damage_that_the_other_process_finds_is_told(tmp_path):
    whole = bytearray((SAMPLES / "disk-two-modes.parquet").read_bytes())
    whole[4 : len(whole) // 2] = bytes(len(whole) // 2 - 4)
    path = tmp_path / "t.parquet"
    path.write_bytes(whole)
    with pytest.raises(TraceError, match="is damaged in row group"):
        analyze(open_trace(path), processes=True)
