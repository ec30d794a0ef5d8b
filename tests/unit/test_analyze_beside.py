"""Large traces are analyzed by two processes: the report does not depend on it."""

import multiprocessing
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
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


def test_a_process_does_not_outlive_the_one_that_started_it():
    code = """
import multiprocessing, time
from tracekit.analyze.beside import beside
if __name__ == "__main__":
    with beside(time.sleep, 3600):
        print(multiprocessing.active_children()[0].pid, flush=True)
        time.sleep(3600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        time.sleep(2)  # until it is at work
        assert Path(f"/proc/{child}").exists()
        parent.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and "State:\tZ" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < deadline, "it still works"
        time.sleep(0.05)


@pytest.fixture
def _any_trace_is_large(monkeypatch):
    monkeypatch.setattr("tracekit.analyze.analysis._LARGE", 0)


@pytest.fixture
def _not_here(monkeypatch):
    """Whoever looks at I/O in this process fails; a process that is started does not know."""
    monkeypatch.setattr("tracekit.analyze.families.BlockStream", None)


@pytest.fixture
def report():
    return analyze(open_trace(SAMPLES / "several-at-once.parquet"))


@pytest.mark.usefixtures("report", "_any_trace_is_large", "_not_here")
def test_the_report_is_the_same(report):
    assert analyze(open_trace(SAMPLES / "several-at-once.parquet"), processes=True) == report


@pytest.fixture
def _no_process_can_be_started():
    multiprocessing.set_executable("/bin/false")
    yield
    multiprocessing.set_executable(sys.executable)


@pytest.mark.usefixtures("_any_trace_is_large", "_no_process_can_be_started")
def test_the_report_is_the_same_where_no_second_process_can_be_started():
    trace = open_trace(SAMPLES / "several-at-once.parquet")
    assert analyze(trace, processes=True) == analyze(trace)


@pytest.mark.usefixtures("_any_trace_is_large", "_not_here")
def test_damage_that_the_other_process_finds_is_told(tmp_path):
    path = tmp_path / "t.parquet"
    file = pq.ParquetFile(SAMPLES / "disk-two-modes.parquet")
    groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
    number, blocks = next((n, g) for n, g in enumerate(groups) if g.column(1).statistics.min.startswith("block"))
    whole = bytearray((SAMPLES / "disk-two-modes.parquet").read_bytes())
    begin = blocks.column(0).dictionary_page_offset or blocks.column(0).data_page_offset
    whole[begin + 100 : begin + blocks.column(0).total_compressed_size] = bytes(
        blocks.column(0).total_compressed_size - 100
    )
    path.write_bytes(whole)
    with pytest.raises(TraceError, match=f"is damaged in row group {number}"):
        analyze(open_trace(path), processes=True)
