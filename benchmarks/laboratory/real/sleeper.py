"""A file system with one file, `disk`, that takes as long over each request as it is told, and notes how long it took.

Usage: sleeper.py MOUNT_POINT SIZE_BYTES EDGE_BYTES PLAN LOG [one-at-a-time]. PLAN is JSON: a list of [kind, sleep_ns],
one for each request in the order of arrival, and then from the beginning again. So much at either edge of the file is
served at once and not counted. LOG is JSON, written when it is unmounted: a list of [kind, sleep_ns, start_ns,
service_ns, op, offset, bytes], by CLOCK_BOOTTIME.
"""

import errno
import json
import mmap
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Any

import mfusepy  # type: ignore[import-untyped]


class Sleeper(mfusepy.Operations):  # type: ignore[misc]  # the library has no types
    """The file system: its file is in memory."""

    use_ns = True

    def __init__(self, size_bytes: int, edge_bytes: int, plan: list[tuple[str, int]], log: Path) -> None:
        self._data = mmap.mmap(-1, size_bytes)
        self._size, self._counted = size_bytes, range(edge_bytes, size_bytes - edge_bytes)
        self._plan, self._log = plan, log
        self._arrived = 0
        self._lock = threading.Lock()
        self._notes: list[tuple[str, int, int, int, str, int, int]] = []

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        if path != "/disk":
            raise mfusepy.FuseOSError(errno.ENOENT)
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self._size}

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        start_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        told = self._sleep(offset)
        data = self._data[offset : offset + size]
        self._note(told, start_ns, "read", offset, len(data))
        return data

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        start_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        told = self._sleep(offset)
        self._data[offset : offset + len(data)] = data
        self._note(told, start_ns, "write", offset, len(data))
        return len(data)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        return 0

    def destroy(self, path: str) -> None:
        self._log.write_text(json.dumps(self._notes))

    def _sleep(self, offset: int) -> tuple[str, int] | None:
        """Take as long as told; what was told, None at the edges."""
        if offset not in self._counted:
            return None
        with self._lock:
            kind, sleep_ns = self._plan[self._arrived % len(self._plan)]
            self._arrived += 1
        time.sleep(sleep_ns / 1e9)
        return kind, sleep_ns

    def _note(self, told: tuple[str, int] | None, start_ns: int, op: str, offset: int, size: int) -> None:
        if told is not None:
            service_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - start_ns
            self._notes.append((*told, start_ns, service_ns, op, offset, size))


def main(mount_point: str, size_bytes: str, edge_bytes: str, plan: str, log: str, *one_at_a_time: str) -> None:
    """Serve until unmounted."""
    told = [(str(kind), int(sleep_ns)) for kind, sleep_ns in json.loads(Path(plan).read_text())]
    sleeper = Sleeper(int(size_bytes), int(edge_bytes), told, Path(log))
    # Past the page cache: each request of the disk is one of the file.
    mfusepy.FUSE(sleeper, mount_point, foreground=True, nothreads=bool(one_at_a_time), direct_io=True, fsname="sleeper")


if __name__ == "__main__":
    main(*sys.argv[1:])
