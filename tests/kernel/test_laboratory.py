"""The real laboratory: what its disk and its programs note themselves is what the kernel shows of them."""

import contextlib
import itertools
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from laboratory.real.disk import Served, SleepingDisk, modes, sleeping_disk
from laboratory.real.disks import client
from laboratory.real.processes import others, service
from laboratory.real.recorded import Laboratory
from loads import UnavailableError
from needs import cannot_run

from tracekit import open_trace

pytestmark = pytest.mark.kernel

COUNT = 300
PLAN = modes(np.random.default_rng(1), COUNT, {"fast": (2.0, 0.8), "slow": (15.0, 0.2)})
SECTOR_BYTES = 512
TRIES = 3


@contextlib.contextmanager
def skipped_where_unavailable() -> Iterator[None]:
    try:
        yield
    except UnavailableError as error:
        cannot_run(str(error))


def latencies(trace: Path) -> pd.DataFrame:
    """Disk, place, issue and completion of each I/O."""
    rows = open_trace(trace).pandas("block_issue", "block_complete", columns=["ts_ns", "event", "request", "sector"])
    waiting: dict[int, tuple[int, int]] = {}
    found = []
    for row in rows.sort_values("ts_ns", kind="stable").itertuples():
        if row.event == "block_issue":
            waiting[row.request] = (row.sector, row.ts_ns)
        elif row.request in waiting:
            found.append((*waiting.pop(row.request), row.ts_ns))
    return pd.DataFrame(found, columns=["sector", "issue_ns", "complete_ns"])


def recorded(
    folder: Path, command: Callable[[Laboratory, SleepingDisk], list[str]], count: int, one_at_a_time: bool = False
) -> tuple[pd.DataFrame, list[Served]]:
    """I/O of the disk as recorded and as it noted it; made again where the kernel did not show every completion.

    Some hardened kernels run no BPF program while certain protected tasks are on the CPU.
    """
    for number in range(TRIES):
        lab = Laboratory(folder / str(number), seed=1)
        lab.folder.mkdir()
        with skipped_where_unavailable(), sleeping_disk(lab.folder, PLAN, one_at_a_time=one_at_a_time) as disk:
            trace = lab.record(command(lab, disk), (*disk.recorded, "--events", "block"))
        found = latencies(trace)
        if len(found) == count:
            break
    return found, disk.served


def test_each_io_of_the_disk_takes_as_long_as_it_was_told(tmp_path: Path) -> None:
    found, served = recorded(tmp_path, lambda lab, disk: client(lab, disk, COUNT), COUNT)

    assert len(found) == len(served) == COUNT
    assert sorted((one.kind, one.told_ns) for one in served) == sorted(PLAN)
    assert all(one.size == 4096 and one.service_ns >= one.told_ns for one in served)
    by_place: dict[int, list[Served]] = defaultdict(list)
    for one in served:
        by_place[one.offset // SECTOR_BYTES].append(one)
    for io in found.itertuples():
        within = [
            one
            for one in by_place[io.sector]
            if io.issue_ns <= one.start_ns and one.start_ns + one.service_ns <= io.complete_ns
        ]
        assert len(within) == 1
        by_place[io.sector].remove(within[0])


def test_one_at_a_time_makes_a_queue(tmp_path: Path) -> None:
    rounds, depth = 6, 8
    found, served = recorded(
        tmp_path,
        lambda lab, disk: lab.program("database", "disk_bursts", disk.device, 1, rounds, depth, 0.01),
        2 * rounds * depth,
        one_at_a_time=True,
    )

    served.sort(key=lambda one: one.start_ns)
    assert all(one.start_ns + one.service_ns <= later.start_ns for one, later in itertools.pairwise(served))
    in_flight = [(found.issue_ns.le(at) & found.complete_ns.gt(at)).sum() for at in found.issue_ns]
    assert max(in_flight) == depth


def test_programs_note_what_they_start(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path, seed=1, seconds=3)
    trace = open_trace(lab.record(lab.together(service(lab), others(lab, 0.1)), ("--events", "process")))

    execs = trace.pandas("exec", columns=["ts_ns", "ppid", "comm", "pid"])
    for name in ("supervise", "people"):
        (pid,) = execs.pid[execs.comm == name]
        started = execs.ts_ns[execs.ppid == pid].tolist()
        noted = [at for note in lab.notes(name) for at in note["starts_ns"]]
        assert len(started) == len(noted)
        # Each starts after it was noted, and before the next one is.
        both = list(itertools.chain.from_iterable(zip(noted, started, strict=True)))
        assert both == sorted(both)


def test_nothing_is_left_of_the_disk_when_something_fails(tmp_path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), skipped_where_unavailable(), sleeping_disk(tmp_path, PLAN) as disk:
        subprocess.run(["dd", f"if={disk.device}", "of=/dev/null", "bs=4096", "count=1"], check=True)
        raise ZeroDivisionError

    assert not (tmp_path / "sleeper").exists()
    listed = ["losetup", "--list", "--noheadings", "--output", "BACK-FILE"]
    attached = subprocess.run(listed, check=True, capture_output=True, text=True)
    assert str(tmp_path) not in attached.stdout
