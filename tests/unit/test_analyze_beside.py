"""Large traces are analyzed by two processes: the report does not depend on it."""

import os
import signal
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
        for child in children():
            os.kill(child, signal.SIGKILL)
        assert pid() == os.getpid()


def test_who_stops_waiting_stops_the_other_process():
    with suppress(KeyboardInterrupt), beside(time.sleep, 3600):
        assert children()
        raise KeyboardInterrupt
    assert not children()


def test_a_process_does_not_outlive_the_one_that_started_it():
    code = """
import time
from tracekit.analyze.beside import beside
with beside(time.sleep, 3600):
    print(flush=True)
    time.sleep(3600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        parent.stdout.readline()
        (child,) = children(parent.pid)
        time.sleep(2)  # until it is at work
        assert Path(f"/proc/{child}").exists()
        parent.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and "State:\tZ" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < deadline, "it still works"
        time.sleep(0.05)


def test_what_it_prints_is_no_answer(capfd):
    with beside(print, "aside") as nothing:
        assert nothing() is None
    assert capfd.readouterr() == ("", "aside\n")


def test_a_script_without_a_guard_runs_once(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"""
import tracekit, tracekit.analyze.analysis, tracekit.analyze.families
print("once")
tracekit.analyze.analysis._LARGE = 0
tracekit.analyze.families.BlockStream = None  # here; the other process has it
print(len(tracekit.open_trace({str(SAMPLES / "disk-two-modes.parquet")!r}).report().findings))
""")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("once\n2\n", "")


def children(parent=None):
    """The processes that this one has started, or another one."""
    command = ["ps", "-o", "pid=,comm=", "--ppid", str(parent or os.getpid())]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(line.split()[0]) for line in found.stdout.splitlines() if line.split()[1] != "ps"]


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
    assert analyze(open_trace(SAMPLES / "several-at-once.parquet")) == report


@pytest.mark.usefixtures("_any_trace_is_large")
@pytest.mark.parametrize("python", ["/bin/false", "/nowhere"])
def test_the_report_is_the_same_where_no_second_process_can_be_started(report, python, monkeypatch):
    monkeypatch.setattr("sys.executable", python)
    assert analyze(open_trace(SAMPLES / "several-at-once.parquet")) == report


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
        analyze(open_trace(path))
