"""The ring buffer's reader, against memory laid out as the kernel does."""

import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracekit.capture.ring import Ring

PAGE = mmap.PAGESIZE
BUSY, DISCARD = 1 << 31, 1 << 30
KIND = np.dtype([("number", "<u8"), ("rest", "u1", 16)])


class Kernel:
    """The producer's side of a ring in a file."""

    def __init__(self, descriptor: int, start: int) -> None:
        os.ftruncate(descriptor, 2 * PAGE + 2 * PAGE)
        self._descriptor = descriptor
        self._position = start
        os.pwrite(descriptor, struct.pack("<Q", start), 0)
        os.pwrite(descriptor, struct.pack("<Q", start), PAGE)

    def produce(self, payload: bytes, flags: int = 0) -> None:
        record = struct.pack("<II", len(payload) | flags, 0) + payload
        record += bytes(-len(record) % 8)
        for offset, byte in enumerate(record):
            at = (self._position + offset) % PAGE
            for copy in (at, at + PAGE):
                os.pwrite(self._descriptor, bytes([byte]), 2 * PAGE + copy)
        self._position += len(record)
        os.pwrite(self._descriptor, struct.pack("<Q", self._position), PAGE)

    def consumed(self) -> int:
        return int(struct.unpack("<Q", os.pread(self._descriptor, 8, 0))[0])

    @property
    def produced(self) -> int:
        return self._position


@contextmanager
def ring(start: int = 0) -> Iterator[tuple[Kernel, Ring]]:
    descriptor = os.memfd_create("ring")
    try:
        kernel = Kernel(descriptor, start)
        yield kernel, Ring(descriptor, PAGE)
    finally:
        os.close(descriptor)


FLAGS = st.sampled_from([0, 0, 0, DISCARD, BUSY])


@given(st.lists(FLAGS, max_size=60), st.integers(0, 5 * PAGE // 32).map(lambda records: records * 32))
def test_records_of_one_size(flags: list[int], start: int) -> None:
    with ring(start) as (kernel, reader):
        for number, flag in enumerate(flags):
            kernel.produce(struct.pack("<Q", number) + b"payload_" * 2, flag)
        finished = flags[: flags.index(BUSY)] if BUSY in flags else flags
        expected = [number for number, flag in enumerate(finished) if flag != DISCARD]

        assert reader.records(KIND)["number"].tolist() == expected
        assert kernel.consumed() == start + 32 * len(finished)
        assert reader.records(KIND).size == 0


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=90), FLAGS), max_size=40), st.integers(0, 2 * PAGE // 8))
def test_records_of_any_size(records: list[tuple[bytes, int]], start: int) -> None:
    with ring(start * 8) as (kernel, reader):
        produced = []
        for payload, flag in records:
            if kernel.produced - start * 8 + len(payload) + 16 > PAGE:
                break
            kernel.produce(payload, flag)
            produced.append((payload, flag))
        flags = [flag for _, flag in produced]
        finished = produced[: flags.index(BUSY)] if BUSY in flags else produced

        taken = reader.payloads()
        found = [bytes(taken.data[at : at + size]) for at, size in zip(taken.starts, taken.lengths, strict=True)]
        assert found == [p for p, flag in finished if flag != DISCARD]
        assert reader.payloads().starts.size == 0
        if len(finished) == len(produced):
            assert kernel.consumed() == kernel.produced
