"""What the kernel tells of processes: processor time, memory, and whether others are at work on this machine."""

import os
import time
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PF_KTHREAD = 0x00200000
_LOOK_S = 0.3
_QUIET_PERCENT = 10

# Fields of /proc/PID/stat, counted from the one behind the name.
_GROUP, _FLAGS = 2, 6
_TIMES = (11, 12, 13, 14)  # user, kernel, and both of ended children


def _stat(pid: int) -> list[str]:
    """The fields behind the name of a process; OSError if it is gone."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used so far, user and kernel, with its ended children."""
    fields = _stat(pid)
    return sum(int(fields[at]) for at in _TIMES) / _TICKS_PER_SECOND


def memory_bytes(pid: int) -> int:
    """Resident memory of a process and its children, without the rings that it shares with the kernel.

    The mappings of a BPF map and of perf's buffers have no file behind them but an `anon_inode:`; they are left out.
    """
    total, counts = 0, True
    try:
        for line in Path(f"/proc/{pid}/smaps").read_text(errors="replace").splitlines():
            first, _, rest = line.partition(" ")
            if not first.endswith(":"):
                counts = "anon_inode:" not in rest
            elif first == "Rss:" and counts:
                total += int(rest.split()[0]) * 1024
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return total
    return total + sum(memory_bytes(int(child)) for child in children)


def _others() -> dict[int, int]:
    """Clock ticks used by each process that is neither of this process's group nor a thread of the kernel."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = _stat(int(entry.name))
        except OSError:
            continue
        if int(fields[_GROUP]) != os.getpgrp() and not int(fields[_FLAGS]) & _PF_KTHREAD:
            found[int(entry.name)] = sum(int(fields[at]) for at in _TIMES)
    return found


class Others:
    """How much processor time processes that have nothing to do with the benchmark use, from now on."""

    def __init__(self) -> None:
        self._before = _others()
        self._since = time.monotonic()

    def percent(self) -> float:
        """Percent of one CPU since the beginning."""
        ticks = sum(max(now - self._before.get(pid, 0), 0) for pid, now in _others().items())
        return 100 * ticks / _TICKS_PER_SECOND / (time.monotonic() - self._since)

    def trace(self) -> bool:
        """Whether one of them holds a perf event, as those do that have probes at tracepoints."""
        return any(_holds_perf_event(pid) for pid in _others())


def _holds_perf_event(pid: int) -> bool:
    try:
        return any(entry.readlink().name.endswith("[perf_event]") for entry in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


class Patience:
    """So many seconds that may be lost to others in all."""

    def __init__(self, seconds: float) -> None:
        self.left_s = seconds

    def spend(self, seconds: float) -> None:
        """So many are lost."""
        self.left_s -= seconds

    def wait_until_quiet(self) -> None:
        """Wait until no one else traces this machine or uses much of it, or patience is at its end."""
        while self.left_s > 0:
            others = Others()
            time.sleep(_LOOK_S)
            if others.percent() < _QUIET_PERCENT and not others.trace():
                return
            self.spend(_LOOK_S)
