"""Giving up what root may do and a recording no longer needs."""

import ctypes
from collections.abc import Callable, Iterable

# include/uapi/linux/capability.h
_NUMBERS = {
    "chown": 0,
    "dac_override": 1,
    "dac_read_search": 2,
    "fowner": 3,
    "kill": 5,
    "sys_admin": 21,
    "perfmon": 38,
    "bpf": 39,
}
_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    """Two 32-bit words of each set: the low ones of all three, then the high ones."""

    _fields_ = [(f"{name}_{half}", ctypes.c_uint32) for half in (0, 1) for name in ("e", "p", "i")]


def holds(*names: str) -> bool:
    """Whether this thread has these capabilities, named without `CAP_`, and may use them."""
    sets = _sets()
    return sets is not None and not _mask(names) & ~(sets.e_0 | sets.e_1 << 32)


def give_up(keep: Iterable[str], still_works: Callable[[], bool]) -> bool:
    """Give up all capabilities but some, for this thread and those that it starts.

    A command that is started as root later has root's capabilities again: they come with the user.

    Args:
        keep: names of capabilities, without `CAP_`.
        still_works: whether the kernel's account of the programs can be read; before 5.19 (commit c8644cd0efe7) that
            may take `CAP_BPF`, which is then kept.

    Returns:
        Whether they are gone.
    """
    sets = _sets()
    if sets is None:
        return False
    permitted = sets.p_0 | sets.p_1 << 32
    kept = permitted & _mask(keep)
    if not _set(kept, permitted):
        return False
    if not still_works():
        kept |= permitted & _mask(["bpf"])
    return _set(kept, kept)


def _mask(names: Iterable[str]) -> int:
    return sum(1 << _NUMBERS[name] for name in names)


def _sets() -> _Sets | None:
    sets = _Sets()
    return sets if _libc.capget(ctypes.byref(_Header(_VERSION_3, 0)), ctypes.byref(sets)) == 0 else None


def _set(effective: int, permitted: int) -> bool:
    words = [word >> shift & 0xFFFFFFFF for shift in (0, 32) for word in (effective, permitted, 0)]
    return bool(_libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), ctypes.byref(_Sets(*words))) == 0)
