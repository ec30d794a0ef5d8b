"""Files as blktrace writes them, after `struct blk_io_trace` of include/uapi/linux/blktrace_api.h."""

import struct

MAGIC = 0x65617400 | 7
READ, WRITE, FLUSH, SYNC, PASSTHROUGH, NOTIFY, DISCARD = (1 << bit + 16 for bit in (0, 1, 2, 3, 9, 10, 13))
QUEUE, BACK_MERGE, GET_REQUEST, REQUEUE, ISSUE, COMPLETE, REMAP = 1, 2, 4, 6, 7, 8, 15
DEV = 8 << 20 | 16


def record(  # noqa: PLR0913 - a field each
    sequence: int,
    time: int,
    action: int,
    *,
    sector: int = 0,
    size: int = 0,
    pid: int = 0,
    cpu: int = 0,
    error: int = 0,
    dev: int = DEV,
    payload: bytes = b"",
    order: str = "<",
) -> bytes:
    """One record and what belongs to it."""
    fields = (MAGIC, sequence, time, sector, size, action, pid, dev, cpu, error & 0xFFFF, len(payload))
    return struct.pack(f"{order}IIQQIIIIIHH", *fields) + payload


def process(pid: int, comm: bytes, cpu: int = 0, order: str = "<") -> bytes:
    """The note who a process is."""
    return record(0, 0, NOTIFY | 0, pid=pid, cpu=cpu, payload=comm.ljust(16, b"\0"), dev=0, order=order)


def wall_clock(time: int, seconds: int, nanoseconds: int, order: str = "<") -> bytes:
    """The note what time it was."""
    return record(0, time, NOTIFY | 1, payload=struct.pack(f"{order}II", seconds, nanoseconds), order=order)
