"""A trace of this machine goes through slice, redact and bundle; the report at the end finds what the first one did."""

import subprocess
import sys
from pathlib import Path

import pytest
from recording import TRACEKIT

from tracekit import open_trace
from tracekit.analyze import analyze
from tracekit.analyze.results import Pattern
from tracekit.cli.main import main
from tracekit.trace import Trace

pytestmark = pytest.mark.kernel

WORKLOAD = Path(__file__).parents[2] / "demo" / "workload.py"


def bursts(trace: Trace) -> list[Pattern]:
    return [one for one in analyze(trace).patterns if one.burst_size == 30 and one.event == "exec"]


def test_from_the_kernel_to_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = [*TRACEKIT, "record", "-o", "trace.parquet", "--", sys.executable, str(WORKLOAD)]
    workload = ["--seconds", "9", "--folder", str(tmp_path), "--log", str(tmp_path / "log")]
    subprocess.run([*record, *workload], cwd=tmp_path, check=True, timeout=60)
    whole = open_trace(tmp_path / "trace.parquet")
    part, redacted, bundle = (tmp_path / name for name in ("part.parquet", "redacted.parquet", "bundle.zip"))

    assert main(["slice", str(whole.path), "--tree", str(top(whole)), "--from", "1s", "-o", str(part)]) == 0
    assert main(["redact", str(part), "-o", str(redacted)]) == 0
    assert main(["redact", "--check", str(redacted)]) == 0
    assert main(["bundle", str(redacted), "-o", str(bundle)]) == 0
    assert main(["report", str(bundle)]) == 0

    assert "cut from a recording" in capsys.readouterr().out
    last = open_trace(bundle)
    before, after = bursts(whole)[0], bursts(last)[0]
    assert after.failing.keys() != before.failing.keys()
    assert after.failing["cat"] == before.failing["cat"] == "1"
    assert abs(after.period_ns - before.period_ns) < before.period_ns // 10
    assert b"supervise" not in (tmp_path / "redacted.parquet").read_bytes()
    assert last.metadata.hostname is None


def top(trace: Trace) -> int:
    """The process that runs the workload."""
    rows = trace.table("exec", columns=["pid", "argv"]).to_pylist()
    return next(row["pid"] for row in rows if any(word.endswith("workload.py") for word in row["argv"]))
