"""The bpf(2) system call and the kernel's configuration, as far as neither loader's library gives them."""

import contextlib
import ctypes
import errno
import os
import platform
import resource
from collections.abc import Iterator
from pathlib import Path

from tracekit.errors import UnsupportedError

_BPF_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351, "loongarch64": 280}
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _GET_INFO = 0, 1, 2, 3, 15
MAP_TYPES = {
    "BPF_MAP_TYPE_HASH": 1,
    "BPF_MAP_TYPE_ARRAY": 2,
    "BPF_MAP_TYPE_PERCPU_ARRAY": 6,
    "BPF_MAP_TYPE_LRU_HASH": 9,
    "BPF_MAP_TYPE_RINGBUF": 27,
}
MAP_FLAGS = {"0": 0, "BPF_F_MMAPABLE": 1 << 10}

TRACEFS = Path("/sys/kernel/tracing")
_DEBUGFS_TRACEFS = Path("/sys/kernel/debug/tracing")

_libc = ctypes.CDLL(None, use_errno=True)


class _MapAttr(ctypes.Structure):
    _fields_ = [
        ("map_type", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("reserved", ctypes.c_uint8 * 108),
    ]


class _InfoAttr(ctypes.Structure):
    _fields_ = [("fd", ctypes.c_uint32), ("length", ctypes.c_uint32), ("info", ctypes.c_uint64)]


class _ElementAttr(ctypes.Structure):
    _fields_ = [
        ("map_fd", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
        ("key", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    ]


class _ProgramInfo(ctypes.Structure):
    """struct bpf_prog_info up to recursion_misses (since 5.12, commit 9ed9e9ba2337)."""

    _fields_ = [("before", ctypes.c_uint8 * 208), ("recursion_misses", ctypes.c_uint64)]


def _bpf(command: int, attributes: ctypes.Structure) -> int:
    number = _BPF_SYSCALL.get(platform.machine())
    if number is None:
        raise UnsupportedError(f"tracekit does not know the bpf(2) system call of {platform.machine()}")
    return int(_libc.syscall(number, command, ctypes.byref(attributes), ctypes.sizeof(attributes)))


@contextlib.contextmanager
def much_locked_memory() -> Iterator[None]:
    """Maps that are made in this block may be as large as they need, where that is allowed.

    Before 5.11 they count as locked memory.
    """
    limits = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, limits)


def create_map(kind: str, key_bytes: int, value_bytes: int, entries: int, flags: int) -> int:
    """Make a BPF map.

    Returns:
        Its descriptor, which the caller closes.

    Raises:
        OSError: as bpf(2); EINVAL where the kernel does not know the kind.
    """
    attributes = _MapAttr(MAP_TYPES[kind], key_bytes, value_bytes, entries, flags)
    descriptor = _bpf(_MAP_CREATE, attributes)
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), kind)
    return descriptor


def put(descriptor: int, key: bytes, value: bytes) -> None:
    """Put an entry into a BPF map.

    Raises:
        OSError: as bpf(2); E2BIG where the map is full.
    """
    _change(_MAP_UPDATE, descriptor, key, value)


def holds(descriptor: int, key: bytes, value_bytes: int) -> bool:
    """Whether a BPF map has an entry.

    Raises:
        PermissionError: this process may not ask.
    """
    try:
        _change(_MAP_LOOKUP, descriptor, key, bytes(value_bytes))
    except FileNotFoundError:
        return False
    return True


def take_out(descriptor: int, key: bytes) -> None:
    """Take an entry out of a BPF map; it may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        _change(_MAP_DELETE, descriptor, key, b"")


def _change(command: int, descriptor: int, key: bytes, value: bytes) -> None:
    kept = [ctypes.create_string_buffer(part, len(part)) for part in (key, value)]
    key_at, value_at = (ctypes.addressof(part) if len(part) else 0 for part in kept)
    if _bpf(command, _ElementAttr(descriptor, 0, key_at, value_at)) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def missed_runs(program: int) -> int:
    """How often the kernel passed a program by because it ran already on that CPU; 0 where the kernel does not say."""
    info = _info(program)
    return 0 if info is None else int(info.recursion_misses)


def can_be_asked(program: int) -> bool:
    """Whether this process may ask the kernel about a program of its own."""
    return _info(program) is not None


def _info(program: int) -> _ProgramInfo | None:
    info = _ProgramInfo()
    attributes = _InfoAttr(program, ctypes.sizeof(info), ctypes.addressof(info))
    return info if _bpf(_GET_INFO, attributes) == 0 else None


def check_privilege() -> None:
    """Whether this process may load BPF programs and make a ring buffer, found out by making one.

    Raises:
        UnsupportedError: it may not, or the kernel has no such thing.
    """
    try:
        os.close(create_map("BPF_MAP_TYPE_RINGBUF", 0, 0, os.sysconf("SC_PAGE_SIZE"), 0))
    except OSError as error:
        if error.errno == errno.EPERM:
            raise UnsupportedError("recording needs root: run it with sudo") from None
        if error.errno == errno.ENOSYS:
            raise UnsupportedError(
                "this kernel has no bpf(2) system call (CONFIG_BPF_SYSCALL): boot one that has"
            ) from None
        if error.errno == errno.EINVAL:
            raise UnsupportedError("this kernel has no BPF ring buffer: Linux 5.8 or later is needed") from None
        raise UnsupportedError(f"this kernel refuses a BPF ring buffer: {error.strerror}") from None


def check_pid_namespace() -> None:
    """The programs see processes by their ids on the host; the agent must see them by the same.

    Raises:
        UnsupportedError: this process runs in a container with process ids of its own.
    """
    first_namespace = 0xEFFFFFFC  # PROC_PID_INIT_INO of include/linux/proc_ns.h
    if Path("/proc/self/ns/pid").stat().st_ino != first_namespace:
        raise UnsupportedError(
            "tracekit runs in a pid namespace of its own, where process ids are not those of the host: "
            "record on the host, or start the container with its pid namespace (docker run --pid=host)"
        )


def tracefs() -> tuple[Path, bool]:
    """Where tracefs is mounted, mounting it if nobody has.

    Returns:
        The folder, and whether it was mounted just now.

    Raises:
        UnsupportedError: it is not there and cannot be mounted.
    """
    for folder in (TRACEFS, _DEBUGFS_TRACEFS):
        try:
            if (folder / "events").is_dir():
                return folder, False
        except PermissionError:
            raise UnsupportedError(
                f"{folder} cannot be read: record as root, with sudo, or what needs no tracefs, with --events block"
            ) from None
    if _libc.mount(b"tracefs", str(TRACEFS).encode(), b"tracefs", 0, None) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise UnsupportedError(
            f"tracefs is not mounted and cannot be ({reason}): run as root 'mount -t tracefs tracefs {TRACEFS}'"
        )
    return TRACEFS, True


def has_tracepoint(folder: Path, target: str) -> bool:
    """Whether the kernel has the tracepoint `group:name`."""
    return (folder / "events" / target.replace(":", "/") / "id").exists()


def possible_cpus() -> int:
    """One more than the highest CPU number that can ever appear."""
    text = Path("/sys/devices/system/cpu/possible").read_text()
    return int(text.strip().replace("-", ",").split(",")[-1]) + 1
