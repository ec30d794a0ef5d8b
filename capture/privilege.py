"""Giving up what root may do and a recording no longer needs."""

import ctypes
from collections.abc import Callable, Iterable

# include/uapi/linux/capability.h
_NUMBERS = {"chown": 0, "dac_override": 1, "dac_read_search": 2, "fowner": 3, "kill": 5, "bpf": 39}
_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    """Two 32-bit words of each set: the low ones of all three, then the high ones."""

    _fields_ = [(f"{name}_{half}", ctypes.c_uint32) for half in (0, 1) for name in ("e", "p", "i")]


def give_up(keep: Iterable[str], still_works: Callable[[], bool]) -> None:
    """Give up all capabilities but some, for this thread and those that it starts.

    A command that is started as root later has root's capabilities again: they come with the user.

    Args:
        keep: names of capabilities, without `CAP_`.
        still_works: whether the kernel's account of the programs can be read; before 5.19 (commit c8644cd0efe7) that
            may take `CAP_BPF`, which is then kept.
    """
    header, sets = _Header(_VERSION_3, 0), _Sets()
    if _libc.capget(ctypes.byref(header), ctypes.byref(sets)) != 0:
        return
    permitted = sets.p_0 | sets.p_1 << 32
    kept = permitted & _mask(keep)
    _set(header, kept, permitted)
    if not still_works():
        kept |= permitted & _mask(["bpf"])
    _set(header, kept, kept)


def _mask(names: Iterable[str]) -> int:
    return sum(1 << _NUMBERS[name] for name in names)


def _set(header: _Header, effective: int, permitted: int) -> None:
    words = [word >> shift & 0xFFFFFFFF for shift in (0, 32) for word in (effective, permitted, 0)]
    _libc.capset(ctypes.byref(header), ctypes.byref(_Sets(*words)))
