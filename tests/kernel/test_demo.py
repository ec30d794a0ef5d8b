"""The demonstration, recorded from the kernel: what the workload did is what the trace and the report say."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tracekit import Trace, open_trace
from tracekit.units import SECOND_NS

pytestmark = pytest.mark.kernel

WORKLOAD = Path(__file__).parents[2] / "demo" / "workload.py"


@dataclass(frozen=True)
class Recording:
    """A recording of the workload, and what the workload noted itself: start, end and exit code of each attempt."""

    trace: Trace
    attempts: list[tuple[int, int, int]]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("demo")
    workload = [WORKLOAD, "--seconds", "9", "--folder", folder, "--log", folder / "log"]
    record = [sys.executable, "-m", "tracekit", "record", "-o", folder / "trace.parquet", "--", sys.executable]
    subprocess.run([*record, *workload], check=True, timeout=60)
    lines = (folder / "log").read_text().splitlines()
    attempts = [(int(start), int(end), int(code)) for start, end, code in map(str.split, lines)]
    assert len(attempts) >= 6
    return Recording(open_trace(folder / "trace.parquet"), attempts)


def supervisor_pid(trace: Trace) -> int:
    forks = trace.pandas("fork", columns=["ppid", "comm"])
    return int(forks.loc[forks.comm == "supervise", "ppid"].iloc[0])


def test_each_attempt_is_thirty_processes(recording: Recording) -> None:
    supervisor = supervisor_pid(recording.trace)
    for start_ns, end_ns, _ in recording.attempts:
        rows = recording.trace.pandas("fork", "exec", "exit", start_ns=start_ns, end_ns=end_ns)
        services = rows.loc[(rows.event == "exec") & (rows.ppid == supervisor), "pid"]
        ours = rows[rows.pid.isin(services) | rows.ppid.isin(services)]
        assert ours.event.value_counts().to_dict() == {"fork": 30, "exec": 30, "exit": 30} | {
            name: 0 for name in ours.event.cat.categories if name not in ("fork", "exec", "exit")
        }


def test_the_worker_is_seen(recording: Recording) -> None:
    opens = recording.trace.pandas("open", columns=["comm", "path", "ret"])
    missing = opens[(opens.comm == "file-worker") & opens.path.str.endswith("/worker.conf")]
    assert len(missing) > 50
    assert set(missing.ret) == {-2}


def test_the_report_names_the_thirty_processes_the_pause_and_the_period(recording: Recording) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tracekit", "report", "--format", "json", recording.trace.path],
        check=True,
        capture_output=True,
        text=True,
    )
    pattern = restarts(json.loads(done.stdout))
    starts = [start_ns for start_ns, _, _ in recording.attempts]
    period_ns = (starts[-1] - starts[0]) / (len(starts) - 1)
    assert pattern["burst_size"] == 30
    assert pattern["period_ns"] == pytest.approx(period_ns, rel=0.05)
    assert pattern["pause_ns"] == pytest.approx(SECOND_NS, rel=0.05)
    assert "30" in pattern["sentence"]
    assert "supervise" in pattern["sentence"]


def restarts(report: dict[str, Any]) -> dict[str, Any]:
    """The pattern of process starts with the bursts of 30."""
    found = [item for item in report["patterns"] if item["kind"] == "bursts" and item["burst_size"] == 30]
    assert found, report["patterns"]
    return found[0]
