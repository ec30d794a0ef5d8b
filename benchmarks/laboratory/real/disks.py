"""A disk whose latencies are known: modes, outliers, stalls, queueing; and fio as a witness."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from loads import UnavailableError

from laboratory.real.disk import SIZE_BYTES, Plan, SleepingDisk, modes, sleeping_disk, with_outliers
from laboratory.real.recorded import Command, Laboratory, Recorded, Scenario
from laboratory.real.workload import EDGE_BYTES

# By kind: milliseconds, and share of the requests.
_ONE_MODE = {"usual": (5.0, 1.0)}
_TWO_MODES = {"fast": (4.0, 0.85), "slow": (40.0, 0.15)}
_THREE_MODES = {"fast": (4.0, 0.6), "middle": (15.0, 0.25), "slow": (60.0, 0.15)}
_COUNT = 2400
_WORKERS = 4
#: Percentiles that a report tells.
WITNESSED = {"p50_ns": 50.0, "p90_ns": 90.0, "p99_ns": 99.0}


def two_modes(lab: Laboratory, count: int) -> Plan:
    """A fast mode and a slow one, three outliers, and a stall that every thread runs into."""
    stall = {count // 2 + number: 500.0 for number in range(_WORKERS)}
    scattered = {count // 7: 420.0, count // 3: 610.0, count * 6 // 7: 480.0}
    plan = with_outliers(modes(lab.chance, count, _TWO_MODES), scattered)
    return with_outliers(plan, stall, "stall")


def client(lab: Laboratory, disk: SleepingDisk, count: int, mean_pause_s: float = 0.0) -> Command:
    """Reads and writes by several threads."""
    return lab.program("database", "disk_io", disk.device, lab.seed, _WORKERS, count, mean_pause_s)


def truth_of_disk(disk: SleepingDisk, *kinds: str) -> dict[str, Any]:
    """What the disk noted itself, in the terms in which reports are judged; the kinds are those of its modes."""
    stalled = [one for one in disk.served if one.kind == "stall"]
    truth: dict[str, Any] = {
        "ios": len(disk.served),
        "modes_ns": [int(np.median(disk.times_ns(kind))) for kind in kinds],
        "mode_counts": [len(disk.times_ns(kind)) for kind in kinds],
        "outliers": len(disk.times_ns("outlier", "stall")),
        "stalls": [],
    }
    if stalled:
        ends_ns = [one.start_ns + one.service_ns for one in stalled]
        begin_ns = min(one.start_ns for one in stalled)
        truth["stalls"] = [{"start_ns": begin_ns, "end_ns": max(ends_ns), "count": len(stalled)}]
    return truth


def with_two_modes(lab: Laboratory) -> Recorded:
    return _used(lab, two_modes(lab, _COUNT), *_TWO_MODES)


def with_one_mode(lab: Laboratory) -> Recorded:
    return _used(lab, modes(lab.chance, _COUNT, _ONE_MODE, spread=0.25), "usual")


def with_three_modes(lab: Laboratory) -> Recorded:
    return _used(lab, modes(lab.chance, _COUNT, _THREE_MODES), *_THREE_MODES)


def stalling(lab: Laboratory) -> Recorded:
    stall = {_COUNT // 2 + number: 500.0 for number in range(_WORKERS)}
    return _used(lab, with_outliers(modes(lab.chance, _COUNT, _ONE_MODE, spread=0.25), stall, "stall"), "usual")


def _used(lab: Laboratory, plan: Plan, *kinds: str) -> Recorded:
    """Each request of the plan, and none twice."""
    with sleeping_disk(lab.folder, plan) as disk:
        trace = lab.record(client(lab, disk, len(plan)), disk.recorded)
    return Recorded(trace, truth_of_disk(disk, *kinds))


def queueing(lab: Laboratory) -> Recorded:
    """One request is served after another: what comes in a burst is slow for that alone."""
    plan = modes(lab.chance, 2000, {"usual": (3.0, 1.0)}, spread=0.3)
    with sleeping_disk(lab.folder, plan, one_at_a_time=True) as disk:
        trace = lab.record(lab.program("database", "disk_bursts", disk.device, lab.seed, 60, 16, 0.1), disk.recorded)
    cause = {"field": "queue_depth", "slow_ns": 6_000_000}
    return Recorded(trace, {"ios": len(disk.served), "outliers": 0, "cause": cause})


def witnessed_by_fio(lab: Laboratory) -> Recorded:
    """fio notes the latency of each of its I/Os itself."""
    if shutil.which("fio") is None:
        raise UnavailableError("fio is not installed")
    log, count = lab.folder / "fio", 1200
    with sleeping_disk(lab.folder, modes(lab.chance, count, _TWO_MODES)) as disk:
        command = ["fio", "--name=witness", f"--filename={disk.device}", "--direct=1", "--ioengine=libaio"]
        command += ["--rw=randrw", "--bs=4k", "--iodepth=8", f"--number_ios={count}", f"--randseed={lab.seed}"]
        command += [f"--offset={EDGE_BYTES}", f"--size={SIZE_BYTES - 2 * EDGE_BYTES}", f"--write_lat_log={log}"]
        trace = lab.record([*command, f"--output={log}.txt"], (*disk.recorded, "--events=block"))
    return Recorded(trace, truth_of_disk(disk, *_TWO_MODES) | {"witness": _told_by_fio(Path(f"{log}_lat.1.log"))})


def _told_by_fio(log: Path) -> dict[str, int]:
    """Lines of fio's log: milliseconds since it started, latency in nanoseconds, direction, size and more."""
    times_ns = np.array([int(line.split(",")[1]) for line in log.read_text().splitlines()])
    return {"count": len(times_ns)} | {
        name: int(np.percentile(times_ns, percent)) for name, percent in WITNESSED.items()
    }


#: By name: what runs, and what is recorded of it.
SCENARIOS: dict[str, Scenario] = {
    "a disk with one mode": with_one_mode,
    "three modes": with_three_modes,
    "two modes, outliers and a stall": with_two_modes,
    "a stall": stalling,
    "slow in deep queues": queueing,
    "fio's own log": witnessed_by_fio,
}
