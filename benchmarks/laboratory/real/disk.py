"""A disk whose latencies are known: a loop device on a file whose file system sleeps as it is told."""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from loads import UnavailableError, last_line

from laboratory.real.workload import EDGE_BYTES

SLEEPER = Path(__file__).with_name("sleeper.py")
SIZE_BYTES = 64 << 20
_WAIT_S = 20.0
#: Kind of request, and for how long it sleeps in nanoseconds; one for each request, in the order of arrival.
Plan = list[tuple[str, int]]


class Served(NamedTuple):
    """One request as the file system noted it, by CLOCK_BOOTTIME.

    `told_ns` is for how long it was to sleep, `service_ns` from its arrival to its answer.
    """

    kind: str
    told_ns: int
    start_ns: int
    service_ns: int
    op: str
    offset: int
    size: int


@dataclass
class SleepingDisk:
    """The disk.

    Attributes:
        device: the loop device.
        served: every request, in the order of answers; known once the disk is gone.
    """

    device: Path
    served: list[Served]

    @property
    def recorded(self) -> tuple[str, ...]:
        """Options with which a recording has the I/O of this disk, and of no other."""
        return ("--disk", self.device.name)

    def times_ns(self, *kinds: str) -> list[int]:
        """Service times of the requests of these kinds; of all, without one."""
        return [one.service_ns for one in self.served if not kinds or one.kind in kinds]


def modes(
    chance: np.random.Generator, count: int, places: Mapping[str, tuple[float, float]], spread: float = 0.06
) -> Plan:
    """A plan of so many requests in several modes.

    Args:
        places: by kind, milliseconds and share of the requests.
        spread: standard deviation of the logarithm of the time.
    """
    kinds = list(places)
    shares = np.array([share for _, share in places.values()])
    chosen = chance.choice(len(kinds), count, p=shares / shares.sum())
    times_ns = np.array([ms for ms, _ in places.values()])[chosen] * 1e6 * chance.lognormal(0, spread, count)
    return [(kinds[kind], int(time_ns)) for kind, time_ns in zip(chosen, times_ns, strict=True)]


def with_outliers(plan: Plan, at: Mapping[int, float], kind: str = "outlier") -> Plan:
    """The plan with these requests, by their number, as slow as told in milliseconds."""
    return [(kind, int(at[number] * 1e6)) if number in at else told for number, told in enumerate(plan)]


@contextmanager
def sleeping_disk(folder: Path, plan: Plan, *, one_at_a_time: bool = False) -> Iterator[SleepingDisk]:
    """The disk, until the context ends; nothing of it is left then, whatever happens.

    Args:
        one_at_a_time: serve one request after another, so that what comes meanwhile waits; else ten at once.

    Raises:
        UnavailableError: it cannot be made here.
    """
    mount_point, log = folder / "sleeper", folder / "sleeper.log"
    mount_point.mkdir()
    disk = SleepingDisk(Path(), [])
    try:
        with ExitStack() as stack:
            _mount(stack, mount_point, log, plan, one_at_a_time)
            disk.device = _loop_device(stack, mount_point / "disk")
            yield disk
    finally:
        if log.exists():
            disk.served += [Served(*note) for note in json.loads(log.read_text())]
            log.unlink()
        mount_point.rmdir()


def _mount(stack: ExitStack, mount_point: Path, log: Path, plan: Plan, one_at_a_time: bool) -> None:
    if importlib.util.find_spec("mfusepy") is None:
        raise UnavailableError("mfusepy is not installed: pip install mfusepy")
    told, said = mount_point.with_suffix(".plan"), mount_point.with_suffix(".said")
    told.write_text(json.dumps(plan))
    command: list[str | Path] = [sys.executable, "-I", SLEEPER, mount_point]
    command += [str(SIZE_BYTES), str(EDGE_BYTES), told, log]
    if one_at_a_time:
        command.append("one-at-a-time")
    with said.open("w") as output:
        # In a session of its own: Ctrl-C ends it in its turn, once nothing uses it.
        server = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    stack.callback(_end, server)
    stack.callback(_unmount, mount_point)
    deadline = time.monotonic() + _WAIT_S
    while not os.path.ismount(mount_point):
        if server.poll() is not None or time.monotonic() > deadline:
            raise UnavailableError(f"FUSE cannot be used here: {last_line(said.read_text())}")
        time.sleep(0.02)


def _unmount(mount_point: Path) -> None:
    """The loop device lets go of its file a moment after it was detached."""
    deadline = time.monotonic() + _WAIT_S
    while os.path.ismount(mount_point):
        late = ["--lazy"] if time.monotonic() > deadline else []
        if subprocess.run(["umount", *late, mount_point], capture_output=True, check=False).returncode:
            time.sleep(0.05)


def _end(server: "subprocess.Popen[bytes]") -> None:
    """It ends once it is unmounted, and writes its log before."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(_WAIT_S)
    server.kill()
    server.wait()


def _detach(device: Path) -> None:
    subprocess.run(["losetup", "--detach", device], check=False)


def _loop_device(stack: ExitStack, file: Path) -> Path:
    command = ["losetup", "--direct-io=on", "--find", "--show", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError(f"losetup failed: {last_line(done.stderr)}")
    device = Path(done.stdout.strip())
    stack.callback(_detach, device)
    if Path(f"/sys/block/{device.name}/loop/dio").read_text().strip() != "1":
        raise UnavailableError("the loop device does not pass I/O on directly")
    return device
