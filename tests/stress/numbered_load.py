"""A load that numbers what it does: `python numbered_load.py opens|execs LOG WORKER`, until it is killed.

The time of each number, before it is done, stands in the log: 64-bit nanoseconds of the boot clock, one after another.
Each path holds its worker, its number, and that time once more.
"""

import ctypes
import mmap
import os
import signal
import sys
import time
from collections.abc import Iterator

#: A log has room for so many.
MOST = 1 << 22
PROGRAM = "/bin/true"
# After so many numbers a worker sleeps for a moment, or it would fill two CPUs by itself.
_AT_ONCE, _PAUSE_S = 64, 0.001
#: Short enough for the ring of short paths.
PATH = "/none/{}/{}/{}"

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _numbers(log: str) -> Iterator[tuple[int, int]]:
    """Each number and its time, once that is in the log."""
    with open(log, "w+b") as file:  # noqa: PTH123 - imports of the load are kept few
        file.truncate(8 * MOST)
        times = memoryview(mmap.mmap(file.fileno(), 8 * MOST)).cast("Q")
    for number in range(MOST):
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        times[number] = now_ns
        yield number, now_ns
        if number % _AT_ONCE == 0:
            time.sleep(_PAUSE_S)


def opens(log: str, worker: str) -> None:
    """Fail to open ever new paths."""
    for number, now_ns in _numbers(log):
        _LIBC.open(PATH.format(worker, number, now_ns).encode(), os.O_RDONLY)


def execs(log: str, worker: str) -> None:
    """Start a program again and again, with the path that an open would have as its argument."""
    for number, now_ns in _numbers(log):
        os.waitpid(os.posix_spawn(PROGRAM, [PROGRAM, PATH.format(worker, number, now_ns)], {}), 0)


if __name__ == "__main__":
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    {"opens": opens, "execs": execs}[sys.argv[1]](*sys.argv[2:])
