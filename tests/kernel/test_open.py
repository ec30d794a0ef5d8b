"""Opens, recorded from the kernel: exact counts and exact fields."""

import os
import sys
from pathlib import Path

import pytest
from recording import WORKLOAD, Recorder, check_accounts
from workload import NOBODY, X86

from tracekit import open_trace
from tracekit.capture import agent
from tracekit.capture.options import RecordOptions

pytestmark = pytest.mark.kernel

ENOENT, EACCES = 2, 13
CALLS = ("open", "openat", "openat2", "creat") if X86 else ("openat", "openat2")
FLAGS = {
    "open": os.O_RDWR,
    "openat": os.O_RDWR | os.O_CREAT,
    "openat2": os.O_RDONLY | os.O_CLOEXEC,
    "creat": os.O_CREAT | os.O_WRONLY | os.O_TRUNC,
}
MODES = {"open": 0, "openat": 0o640, "openat2": 0, "creat": 0o604}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For each call a folder with a file that anybody may open, and one that only root may."""
    for parent in [tmp_path, *tmp_path.parents[:3]]:
        parent.chmod(parent.stat().st_mode | 0o111)
    for call in CALLS:
        (tmp_path / call).mkdir(mode=0o755)
        for name, mode in {"there": 0o666, "forbidden": 0o600}.items():
            (tmp_path / call / name).touch()
            (tmp_path / call / name).chmod(mode)
    return tmp_path


def test_each_call(record: Recorder, folder: Path) -> None:
    recording = record(*WORKLOAD, "opens", folder, "101")

    every = recording.tree("open")
    for call in CALLS:
        opens = every[every.path.str.startswith(f"{folder}/{call}/")]
        assert len(opens) == 101, call
        assert opens.path.str.removeprefix(f"{folder}/{call}/").value_counts().to_dict() == {
            "there": 77,
            "forbidden": 13,
            "missing/x": 11,
        }
        assert set(opens.ret[opens.path.str.endswith("missing/x")]) == {-ENOENT}
        assert set(opens.ret[opens.path.str.endswith("forbidden")]) == {-EACCES}
        assert (opens.ret[opens.path.str.endswith("there")] >= 3).all()
        assert set(opens["flags"]) == {FLAGS[call]}
        assert set(opens["mode"]) == {MODES[call]}
        assert set(opens.dirfd.fillna(0)) == ({-100} if call in ("openat", "openat2") else {0})
        assert set(opens.uid) == {NOBODY}
        assert (opens.duration_ns > 0).all()
        assert opens.ts_ns.is_monotonic_increasing
        assert opens.cgroup.notna().all()


def test_a_path_is_kept_whole(record: Recorder, tmp_path: Path) -> None:
    around_each_record_size = ["/" + "y" * length for length in (53, 54, 55, 181, 182, 183)]
    paths = [*around_each_record_size, "/" + "\xe9" * 100, f"{tmp_path}/" + "z" * 3900, "/tab\tnew\nline"]
    code = "import sys\nfor path in sys.argv[1:]:\n  try: open(path)\n  except OSError: pass"
    recording = record(sys.executable, "-I", "-c", code, *paths)

    opened = list(recording.tree("open").path)
    assert [path for path in opened if path in paths] == paths
    assert recording.trace.metadata.counters["open"].truncated == 0


def test_the_recorder_is_left_out_and_counted(record: Recorder) -> None:
    recording = record("true")

    counters = recording.trace.metadata.counters["open"]
    assert counters.filtered > 0
    opens = recording.trace.pandas("open", columns=["path"])
    assert not opens.path.str.contains("recorded.parquet").any()


def test_lost_events_are_counted_and_written(tmp_path: Path, backend: str) -> None:
    output = tmp_path / "storm.parquet"
    command = (*WORKLOAD, "many_opens", "/dev/null", "200000")
    options = RecordOptions(output, ("open",), backend=backend, command=command, ring_bytes=os.sysconf("SC_PAGE_SIZE"))
    metadata, _ = agent.record(options)

    counters = metadata.counters["open"]
    assert counters.lost_ring_full > 0
    assert counters.seen >= 200_000
    trace = open_trace(output)
    check_accounts(trace)
    lost = trace.pandas("lost")
    assert lost.lost.sum() == counters.lost
    assert set(lost.lost_family) == {"open"}
    assert (lost.start_ns < lost.ts_ns).all()
    assert (lost.start_ns.iloc[1:].to_numpy() >= lost.ts_ns.iloc[:-1].to_numpy()).all()
    assert (lost.ts_ns - lost.start_ns).max() < 1_000_000_000
