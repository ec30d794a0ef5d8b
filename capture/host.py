"""What the host says of itself: names of disks and cgroups, the processes that already run, clocks."""

import os
import platform
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from tracekit.capture import cgroups
from tracekit.capture.btf import Btf
from tracekit.metadata import Anchor, Disk
from tracekit.schema import family_schema
from tracekit.text import decode

_SYS_BLOCK = Path("/sys/block")
# Containers come and go for days.
_MOST_CGROUPS = 20_000
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def anchor() -> Anchor:
    """The same moment on the boot clock and the wall clock; the tightest of a few tries."""
    tries = []
    for _ in range(5):
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        realtime = time.time_ns()
        after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        tries.append((after - before, Anchor((before + after) // 2, realtime)))
    return min(tries, key=lambda pair: pair[0])[1]


def boot_ns() -> int:
    """The clock that stamps events, now."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def clock_resolution_ns() -> int:
    """Resolution of the clock that stamps events."""
    return round(time.clock_getres(time.CLOCK_BOOTTIME) * 1_000_000_000)


class Names:
    """Names for the numbers that the kernel gives, looked up while recording and remembered.

    Args:
        operations: see `block_operations`.
    """

    def __init__(self, operations: dict[int, str]) -> None:
        self._disks: dict[int, str | None] = {0: None}
        self._cgroups: dict[int, str | None] = {0: None}
        self._operations = operations
        self._hierarchy = cgroups.Names()

    def disk(self, dev: int) -> str | None:
        """Name of the disk with this dev_t."""
        if dev not in self._disks:
            self._disks[dev] = _disk_name(dev)
        return self._disks[dev]

    def cgroup(self, identity: int) -> str | None:
        """Path of a cgroup of the unified hierarchy; None if it is gone or there is no such hierarchy."""
        if identity not in self._cgroups:
            if len(self._cgroups) > _MOST_CGROUPS:
                self._cgroups = {0: None}
            self._cgroups[identity] = self._hierarchy.path(identity)
        return self._cgroups[identity]

    def operation(self, code: int) -> str | None:
        """Name of a block operation."""
        return self._operations.get(code)

    def close(self) -> None:
        """Let go of the cgroup hierarchy."""
        self._hierarchy.close()


def block_operations(btf: Btf) -> dict[int, str]:
    """Names of the block operations of this kernel, by their codes."""
    # enum req_opf until 6.0, commit ff07a02e9e8e
    told = btf.enumeration("req_op") or btf.enumeration("req_opf")
    names = {value: label.removeprefix("REQ_OP_").lower() for label, value in told.items() if label != "REQ_OP_LAST"}
    return {value: name.replace("drv_", "driver_") for value, name in names.items()}


def _disk_name(dev: int) -> str | None:
    try:
        return Path(f"/sys/dev/block/{dev >> 20}:{dev & 0xFFFFF}").readlink().name
    except OSError:
        return None


def disks() -> tuple[Disk, ...]:
    """The disks of this machine that have a size."""
    return tuple(disk for path in sorted(_SYS_BLOCK.iterdir()) if (disk := _disk(path)).size_bytes)


def _disk(path: Path) -> Disk:
    major, minor = (int(part) for part in (_read(path / "dev") or "0:0").split(":"))
    scheduler = _read(path / "queue/scheduler")
    rotational = _read(path / "queue/rotational")
    return Disk(
        name=path.name,
        dev=major << 20 | minor,
        model=_read(path / "device/model"),
        scheduler=scheduler.split("[")[-1].split("]")[0] if scheduler else None,
        rotational=None if rotational is None else rotational == "1",
        size_bytes=int(_read(path / "size") or 0) * 512,
    )


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="backslashreplace").strip() or None
    except OSError:
        return None


def memory_bytes() -> int:
    """Memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def threads() -> int:
    """How many threads there are on this machine now."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])


def facts() -> dict[str, Any]:
    """The fields of the footer that describe the machine."""
    return {
        "kernel": platform.release(),
        "arch": platform.machine(),
        "cpus": os.cpu_count(),
        "hostname": platform.node() or None,
    }


def running_processes(before_ns: int) -> pa.RecordBatch:
    """A `process` row for each process that started before some time, so that later events find their parents.

    Their start is known to a tick of the clock (usually 10 ms), rounded down.
    """
    now_ns = boot_ns()
    rows = [row for entry in os.scandir("/proc") if entry.name.isdigit() and (row := _process(entry.name))]
    rows = [row | {"ts_ns": now_ns, "event": "process"} for row in rows if row["start_ns"] < before_ns]
    schema = family_schema("process")
    return pa.record_batch(
        [pa.array([row.get(item.name) for row in rows], item.type) for item in schema], schema=schema
    )


def _process(pid: str) -> dict[str, Any] | None:
    """One process of /proc; None if it is gone."""
    folder = Path("/proc") / pid
    try:
        stat = (folder / "stat").read_bytes()
        command_line = (folder / "cmdline").read_bytes()
        status = (folder / "status").read_bytes()
        cgroup = decode((folder / "cgroup").read_bytes())
    except OSError:
        return None
    opening, closing = stat.index(b"("), stat.rindex(b")")
    fields = stat[closing + 2 :].split()
    unified = [line.removeprefix("0::") for line in cgroup.split("\n") if line.startswith("0::")]
    arguments = command_line.removesuffix(b"\0").split(b"\0") if command_line else None
    return {
        "pid": int(pid),
        "tid": int(pid),
        "comm": decode(stat[opening + 1 : closing]),
        "ppid": int(fields[1]),
        "uid": int(status.split(b"\nUid:")[1].split()[0]),
        "cgroup": unified[0] if unified else None,
        "argv": arguments and [decode(argument) for argument in arguments],
        "argv_bytes": len(command_line) or None,
        "start_ns": int(fields[19]) * _TICK_NS,
    }
