"""Block I/O, recorded from the kernel: exact counts, exact places, every event of a request under one slot."""

from pathlib import Path

import pandas as pd
import pytest
from recording import WORKLOAD, Recorder, Recording

pytestmark = pytest.mark.kernel

ENDS = {"block_complete", "block_merge"}


def requests(trace_rows: pd.DataFrame, pids: set[int]) -> list[pd.DataFrame]:
    """The events of each request that the processes submitted: from its start to the next start in its slot."""
    found = []
    for _, slot in trace_rows.groupby("request"):
        life = (slot.event == "block_start").cumsum()
        found += [rows for _, rows in slot.groupby(life) if rows.pid.iloc[0] in pids]
    return found


def record_io(record: Recorder, device: Path, *workload: str | Path) -> tuple[Recording, pd.DataFrame]:
    """A recording, and the block events of the device.

    Some hardened kernels run no BPF program while certain protected tasks are on the CPU, and do not count it as a
    missed run: a completion whose interrupt falls on such a task is not seen. A request that the device must have
    completed, since the workload has ended, then never does; such a recording is made again, twice at most.
    """
    for _ in range(3):
        recording = record(*WORKLOAD, *workload, options=("--force",))
        rows = recording.trace.pandas("block_start", "block_issue", "block_requeue", "block_merge", "block_complete")
        ours = rows[rows.disk == device.name]
        last = ours.groupby("request").event.last()
        if (ours.event == "block_start").sum() <= (ours.event == "block_complete").sum() and set(last) <= ENDS:
            break
    return recording, ours


def test_direct_io_and_sync(record: Recorder, loop_disk: tuple[Path, Path]) -> None:
    device, _ = loop_disk
    recording, ours = record_io(record, device, "direct", device, "47")

    stat = device.stat()
    assert set(ours.dev) == {(stat.st_rdev >> 8 & 0xFFF) << 20 | stat.st_rdev & 0xFF}
    pids = set(recording.tree("exec").pid)
    lives = requests(ours, pids)

    for op, size, first in (("read", 4096, 0), ("write", 8192, 32)):
        of_op = sorted((life for life in lives if life.op.iloc[0] == op), key=lambda life: life.ts_ns.iloc[0])
        assert len(of_op) == 47
        for number, life in enumerate(of_op):
            assert list(life.event) == ["block_start", "block_issue", "block_complete"]
            assert list(life.sector) == [first + 128 * number] * 3
            assert list(life.bytes) == [size] * 3
            assert set(life.op) == {op}
            assert life.ts_ns.is_monotonic_increasing
            assert list(life.ret.isna()) == [True, True, False]
            assert life.ret.iloc[2] == 0
            assert life.cgroup.notna().iloc[0]
    flushes = [life for life in lives if life.op.iloc[0] == "flush"]
    assert len(flushes) == 1
    assert flushes[0].sector.isna().all()
    assert set(flushes[0].bytes) == {0}
    assert list(flushes[0].event) == [
        "block_start",
        "block_complete",
    ]  # what is issued is a request of the kernel's own
    assert (ours.op[ours.event == "block_issue"] == "flush").sum() >= 1
    assert len(lives) == 47 + 47 + 1
    assert recording.trace.metadata.disks


def test_eight_writers_to_the_same_sectors(record: Recorder, loop_disk: tuple[Path, Path]) -> None:
    device, _ = loop_disk
    recording, ours = record_io(record, device, "writers", device, "8", "60")

    lives = requests(ours, set(recording.tree("fork").pid))
    assert len(lives) == 8 * 60
    assert all(list(life.event) == ["block_start", "block_issue", "block_complete"] for life in lives)
    assert all(life.sector.nunique() == 1 and life.bytes.nunique() == 1 for life in lives)


def test_a_durable_write_is_no_flush(record: Recorder, loop_disk: tuple[Path, Path]) -> None:
    device, _ = loop_disk
    recording, ours = record_io(record, device, "durable", device, "11")

    lives = requests(ours, set(recording.tree("exec").pid))
    writes = [life for life in lives if life.op.iloc[0] == "write"]
    assert len(writes) == 11
    for life in writes:
        assert set(life.op) == {"write"}
        assert list(life.event[:3]) == ["block_start", "block_issue", "block_complete"]
        assert set(life.bytes[:3]) == {8192}


def test_the_recorders_own_io_is_left_out_and_counted(record: Recorder) -> None:
    recording = record(*WORKLOAD, "many_paths", "300000")  # enough to have the journal synced

    counters = recording.trace.metadata.counters["block"]
    assert counters.filtered > 0
    starts = recording.trace.pandas("block_start", columns=["pid"])
    assert recording.recorder not in set(starts.pid)
    assert recording.recorder not in set(recording.trace.pandas("exec", "open", columns=["pid"]).pid)
