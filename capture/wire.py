"""What the BPF programs write: the Python side of ``bpf/events.h``, which says what each field means."""

import numpy as np

COMM_BYTES = 16
PATH_BYTES = 4096
SHORT_PATH_BYTES = 56
MEDIUM_PATH_BYTES = 184

PROCESS_EVENTS = ("fork", "exec", "exec_failed", "exit")
BLOCK_EVENTS = ("block_start", "block_issue", "block_requeue", "block_merge", "block_complete")
OPEN_CALLS = ("open", "openat", "openat2", "creat")

PROCESS = np.dtype(
    [
        ("ts_ns", "<u8"),
        ("start_ns", "<u8"),
        ("cgroup", "<u8"),
        ("pid", "<i4"),
        ("tid", "<i4"),
        ("ppid", "<i4"),
        ("uid", "<u4"),
        ("status", "<i4"),
        ("argv_total_bytes", "<u4"),
        ("path_bytes", "<u4"),
        ("argv_bytes", "<u4"),
        ("cpu", "<u2"),
        ("event", "u1"),
        ("pad", "u1", 5),
        ("comm", "u1", COMM_BYTES),
    ]
)

BLOCK = np.dtype(
    [
        ("ts_ns", "<u8"),
        ("request", "<u8"),
        ("sector", "<u8"),
        ("cgroup", "<u8"),
        ("pid", "<i4"),
        ("tid", "<i4"),
        ("dev", "<u4"),
        ("flags", "<u4"),
        ("bytes", "<u4"),
        ("status", "<i4"),
        ("cpu", "<u2"),
        ("event", "u1"),
        ("pad", "u1", 5),
        ("comm", "u1", COMM_BYTES),
    ]
)

_OPEN_HEAD = [
    ("ts_ns", "<u8"),
    ("duration_ns", "<u8"),
    ("cgroup", "<u8"),
    ("pid", "<i4"),
    ("tid", "<i4"),
    ("uid", "<u4"),
    ("flags", "<u4"),
    ("ret", "<i4"),
    ("dirfd", "<i4"),
    ("mode", "<u2"),
    ("cpu", "<u2"),
    ("path_bytes", "<u2"),
    ("call", "u1"),
    ("pad", "u1"),
    ("comm", "u1", COMM_BYTES),
]
OPEN_SHORT = np.dtype([*_OPEN_HEAD, ("path", "u1", SHORT_PATH_BYTES)])
OPEN_MEDIUM = np.dtype([*_OPEN_HEAD, ("path", "u1", MEDIUM_PATH_BYTES)])
OPEN_LONG = np.dtype([*_OPEN_HEAD, ("path", "u1", PATH_BYTES)])

COUNTERS = np.dtype(
    [
        ("seen", "<u8"),
        ("filtered", "<u8"),
        ("lost_ring_full", "<u8"),
        ("lost_state_full", "<u8"),
        ("truncated", "<u8"),
        ("pad", "<u8", 3),
    ]
)
CONFIG = np.dtype(
    [
        ("self_pid", "<u4"),
        ("request_arg", "<u4"),
        ("exit_tells_last", "<u4"),
        ("block_decides", "<u4"),
        ("filters", "<u4"),
        ("cgroup_subsystem", "<u4"),
    ]
)
#: Bits of `filters`.
FILTERS = ("pid", "tree", "comm", "uid", "cgroup", "disk")
UNIFIED = 255

#: The sizes that bpf/events.h asserts.
_SIZES = (
    (PROCESS, 80),
    (BLOCK, 80),
    (OPEN_SHORT, 128),
    (OPEN_MEDIUM, 256),
    (OPEN_LONG, 4168),
    (COUNTERS, 64),
    (CONFIG, 24),
)
for _type, _size in _SIZES:
    if _type.itemsize != _size:
        raise TypeError(f"{_type} is not {_size} bytes long, as bpf/events.h has it")
