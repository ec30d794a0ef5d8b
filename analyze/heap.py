"""How the C library deals with memory that was freed."""

import ctypes
import sys

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_MIB = 1 << 20


def keep_freed_memory() -> None:
    """Have this process keep what it frees for what it needs next; only glibc can.

    Arrays of a megabyte come and go by the thousand: to give each back to the kernel, and to have the next one filled
    with zeros by it, takes an eighth of the time of a large report.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, size in ((_MMAP_THRESHOLD, 32 * _MIB), (_TRIM_THRESHOLD, 1024 * _MIB), (_TOP_PAD, 16 * _MIB)):
            mallopt(option, size)
