"""From ring bytes to rows: what the kernel may write, and arbitrary bytes."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.capture import decode, wire
from tracekit.capture.host import Names
from tracekit.schema import family_schema
from tracekit.text import decode as text


@pytest.fixture(scope="module")
def names() -> Iterator[Names]:
    found = Names(None)
    yield found
    found.close()


def records(kind: np.dtype[np.void]) -> st.SearchStrategy[np.ndarray]:
    sizes = st.integers(0, 20).map(lambda count: count * kind.itemsize)
    return sizes.flatmap(lambda size: st.binary(min_size=size, max_size=size)).map(lambda raw: np.frombuffer(raw, kind))


def check(batch: pa.RecordBatch, family: str, rows: int) -> None:
    assert batch.schema == family_schema(family)
    assert batch.num_rows == rows
    batch.validate(full=True)


@given(raw=records(wire.BLOCK))
def test_arbitrary_block_records(names: Names, raw: np.ndarray) -> None:
    check(decode.BlockDecoder(names).batch(raw), "block", raw.size)


@given(raw=records(wire.OPEN))
def test_arbitrary_open_records(names: Names, raw: np.ndarray) -> None:
    check(decode.open_batch(raw, names), "open", raw.size)


@given(seed=st.integers(0, 2**32), count=st.integers(0, 5))
def test_arbitrary_records_of_long_opens(names: Names, seed: int, count: int) -> None:
    raw = np.frombuffer(np.random.default_rng(seed).bytes(count * wire.OPEN_LONG.itemsize), wire.OPEN_LONG)
    check(decode.open_batch(raw, names), "open", count)


@given(payloads=st.lists(st.binary(max_size=200), max_size=20))
def test_arbitrary_process_records(names: Names, payloads: list[bytes]) -> None:
    check(decode.process_batch([memoryview(payload) for payload in payloads], names), "process", len(payloads))


@given(st.lists(st.binary(max_size=23).map(lambda raw: raw.replace(b"\0", b"")), min_size=1, max_size=50))
def test_strings_are_kept(values: list[bytes]) -> None:
    fields = np.frombuffer(b"".join(value.ljust(24, b"\0") for value in values), np.uint8).reshape(-1, 24)
    decoded = decode.strings(fields)
    assert decoded.to_pylist() == [text(value) for value in values]
    assert len(decoded.dictionary) == len(set(values))


@given(st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b"")), min_size=1, max_size=9))
def test_arguments_are_kept(values: list[bytes]) -> None:
    block = b"".join(value + b"\0" for value in values)
    assert decode.arguments(block) == ([text(value) for value in values])


def test_no_arguments_are_null() -> None:
    assert decode.arguments(b"") is None


@pytest.mark.parametrize(("status", "code"), [(0, 0), (-5, -5), (10, -5), (3, -28), (1, -95), (9, -12), (200, -5)])
def test_a_completion_has_an_errno(status: int, code: int) -> None:
    assert decode.errors(np.array([status], np.int32)).tolist() == [code]


def test_one_slot_stands_for_one_request(names: Names) -> None:
    decoder = decode.BlockDecoder(names)
    raw = np.zeros(5, wire.BLOCK)
    raw["request"] = [7, 9, 7, 7, 9]
    slots = decoder.batch(raw).column("request").to_pylist()
    assert slots[0] == slots[2] == slots[3] != slots[1] == slots[4]
    raw["request"] = [9, 9, 7, 11, 7]
    later = decoder.batch(raw).column("request").to_pylist()
    assert later[:3] == [slots[1], slots[1], slots[0]]
    assert later[3] not in slots


def test_a_flush_has_no_place(names: Names) -> None:
    raw = np.zeros(3, wire.BLOCK)
    raw["flags"] = [1 | 1 << 18, 2 | 1 << 18, 1]  # REQ_PREFLUSH
    raw["bytes"] = [0, 0, 4096]
    raw["sector"] = [0, 2**64 - 1, 0]
    batch = decode.BlockDecoder(names).batch(raw)
    assert batch.column("op").to_pylist() == ["flush", "flush", "write"]
    assert batch.column("sector").to_pylist() == [None, None, 0]
