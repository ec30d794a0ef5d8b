"""The ring buffer between the kernel's programs and the agent, read in bulk.

The map's first page holds the consumer's position; from the second on, read-only, come a page with the producer's
position and the data, mapped twice in a row so that no record wraps (kernel/bpf/ringbuf.c). A record is a header of two
words, its length with a busy and a discard bit, and the payload, padded to 8 bytes.
"""

import ctypes
import mmap
import platform
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracekit.errors import UnsupportedError

_BUSY_BIT, _DISCARD_BIT, _LENGTH = 1 << 31, 1 << 30, (1 << 30) - 1
_BUSY, _DISCARD = np.uint32(_BUSY_BIT), np.uint32(_DISCARD_BIT)
_HEADER_BYTES = 8
#: What is taken at once, at most: memory goes with it.
MOST_TAKEN_BYTES = 8 << 20

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Payloads:
    """Records of various sizes.

    Attributes:
        data: bytes in which they lie.
        starts: where each begins.
        lengths: how long each is.
    """

    data: Bytes
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]


def _load_fence() -> Callable[[], object]:
    """What keeps memory accesses in the order of the program: nothing on x86, where loads and stores stay in order."""
    if platform.machine() in ("x86_64", "i686"):
        return lambda: None
    try:
        fence = ctypes.CDLL("libatomic.so.1").atomic_thread_fence
    except OSError:
        raise UnsupportedError(
            "libatomic.so.1 is not installed: install it (Debian, Ubuntu: apt install libatomic1)"
        ) from None
    sequentially_consistent = 5
    return lambda: fence(sequentially_consistent)


class Ring:
    """A mapped ring buffer.

    Args:
        descriptor: the map's; stays the caller's.
        size: bytes of data, a power of two.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        page = mmap.PAGESIZE
        self.size = size
        self._consumer_page = mmap.mmap(descriptor, page)
        self._data_pages = mmap.mmap(descriptor, page + 2 * size, prot=mmap.PROT_READ, offset=page)
        self._consumer = np.frombuffer(self._consumer_page, np.uint64, 1)
        self._producer = np.frombuffer(self._data_pages, np.uint64, 1)
        self._data = np.frombuffer(self._data_pages, np.uint8, 2 * size, page)
        self._fence = _load_fence()

    def unread(self) -> int:
        """How many bytes there are to take."""
        return int(self._producer[0]) - int(self._consumer[0])

    def _unread(self) -> Bytes:
        """What lies between the consumer's position and the producer's."""
        unread = self.unread()
        self._fence()
        start = int(self._consumer[0]) % self.size
        return self._data[start : start + unread]

    def _consume(self, size: int) -> None:
        """Give room back; what was copied out must have been read by then."""
        self._fence()
        self._consumer[0] += np.uint64(size)

    def records(self, kind: np.dtype[np.void]) -> npt.NDArray[np.void]:
        """Take finished records, where each is of one kind; a copy, in the order of reserving."""
        stride = _HEADER_BYTES + kind.itemsize
        framed = np.dtype(
            {"names": ["length", "record"], "formats": ["<u4", kind], "offsets": [0, 8], "itemsize": stride}
        )
        if not self.unread():
            return np.zeros(0, kind)
        unread = self._unread()
        whole = unread[: min(unread.size, max(MOST_TAKEN_BYTES, stride)) // stride * stride]
        busy = np.flatnonzero(whole.view(framed)["length"] & _BUSY)
        if busy.size:
            whole = whole[: busy[0] * stride]
        self._fence()
        # Bytes: numpy copies records field by field, twenty times as slowly.
        taken = whole.copy().view(framed)
        self._consume(taken.nbytes)
        kept = taken["length"] & _DISCARD == 0
        return taken["record"] if kept.all() else taken["record"][kept]

    def payloads(self) -> Payloads:
        """Take finished records of whatever size; the walk from one header to the next is the one loop there is."""
        unread = self._unread()
        lengths = unread[: unread.size & ~3].view(np.uint32)
        at = 0
        found: list[tuple[int, int]] = []
        while at < min(unread.size, MOST_TAKEN_BYTES):
            header = int(lengths[at >> 2])
            if header & _BUSY_BIT:
                break
            length = header & _LENGTH
            if not header & _DISCARD_BIT:
                found.append((at + _HEADER_BYTES, length))
            at += _HEADER_BYTES + (length + 7 & ~7)
        self._fence()
        data = unread[:at].copy()
        self._consume(at)
        places = np.array(found, np.int64).reshape(-1, 2)
        return Payloads(data, places[:, 0], places[:, 1])
