"""From ring bytes to rows: what the kernel may write, and arbitrary bytes."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.capture import decode, wire
from tracekit.capture.host import Names
from tracekit.capture.ring import Payloads
from tracekit.schema import family_schema
from tracekit.text import decode as text


@pytest.fixture(scope="module")
def names() -> Iterator[Names]:
    found = Names({0: "read", 1: "write", 2: "flush", 3: "discard"})
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


@pytest.mark.parametrize("kind", [wire.OPEN_SHORT, wire.OPEN_MEDIUM])
@given(data=st.data())
def test_arbitrary_open_records(names: Names, kind: np.dtype[np.void], data: st.DataObject) -> None:
    raw = data.draw(records(kind))
    check(decode.open_batch(raw, names), "open", raw.size)


@given(seed=st.integers(0, 2**32), count=st.integers(0, 5))
def test_arbitrary_records_of_long_opens(names: Names, seed: int, count: int) -> None:
    raw = np.frombuffer(np.random.default_rng(seed).bytes(count * wire.OPEN_LONG.itemsize), wire.OPEN_LONG)
    check(decode.open_batch(raw, names), "open", count)


@given(payloads=st.lists(st.binary(max_size=200), max_size=20))
def test_arbitrary_process_records(names: Names, payloads: list[bytes]) -> None:
    check(decode.process_batch(lined_up(payloads), names), "process", len(payloads))


@given(st.lists(st.binary(max_size=23).map(lambda raw: raw.replace(b"\0", b"")), min_size=1, max_size=50))
def test_strings_are_kept(values: list[bytes]) -> None:
    fields = np.frombuffer(b"".join(value.ljust(24, b"\0") for value in values), np.uint8).reshape(-1, 24)
    decoded = decode.strings(fields)
    assert decoded.to_pylist() == [text(value) for value in values]
    assert len(decoded.dictionary) == len(set(values))


def lined_up(payloads: list[bytes]) -> Payloads:
    """Payloads as they lie in a ring, each padded to 8 bytes."""
    data = b"".join(payload + b"\0" * (-len(payload) % 8) for payload in payloads)
    lengths = np.array([len(payload) for payload in payloads], np.int64)
    padded = lengths + -lengths % 8
    return Payloads(np.frombuffer(data, np.uint8), np.cumsum(padded) - padded, lengths)


def split(block: bytes) -> list[str] | None:
    """Arguments of one block, the obvious way."""
    return [text(argument) for argument in block.removesuffix(b"\0").split(b"\0")] if block else None


@given(
    st.lists(st.lists(st.sampled_from([b"\0", b"a", b"\xff", "\xe9".encode()]), max_size=8).map(b"".join), max_size=9)
)
def test_arguments_are_kept(blocks: list[bytes]) -> None:
    raw = np.frombuffer(b"".join(blocks), np.uint8)
    sizes = np.array([len(block) for block in blocks], np.int64)
    assert decode.arguments(raw, sizes).to_pylist() == [split(block) for block in blocks]


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


def block(event: str, request: int, flags: int, size: int, sector: int = 0) -> np.ndarray:
    raw = np.zeros(1, wire.BLOCK)
    raw["event"] = wire.BLOCK_EVENTS.index(event)
    raw["request"], raw["flags"], raw["bytes"], raw["sector"] = request, flags, size, sector
    return raw


def test_a_flush_is_known_by_its_start(names: Names) -> None:
    write, preflush = 1, 1 << 18
    flush = [
        block("block_start", 7, write | preflush, 0),
        block("block_complete", 7, write, 0),
    ]
    durable_write = [
        block("block_start", 9, write | preflush, 8192, 16),
        block("block_issue", 9, write, 8192, 16),
        block("block_complete", 9, write, 8192, 16),
        block("block_complete", 9, write, 0, 32),
    ]
    again = [block("block_start", 7, write, 4096, 8), block("block_complete", 7, write, 4096, 8)]
    every = [flush[0], *durable_write[:2], flush[1], *durable_write[2:], *again]
    expected = ["flush", "write", "write", "flush", "write", "write", "write", "write"]
    sectors = [None, 16, 16, None, 16, 32, 8, 8]

    together = decode.BlockDecoder(names).batch(np.concatenate(every))
    assert together.column("op").to_pylist() == expected
    assert together.column("sector").to_pylist() == sectors
    decoder = decode.BlockDecoder(names)
    apart = [decoder.batch(raw) for raw in every]
    assert [batch.column("op")[0].as_py() for batch in apart] == expected


def test_what_an_open_was(names: Names) -> None:
    raw = np.zeros(3, wire.OPEN_SHORT)
    raw["ts_ns"], raw["duration_ns"] = [5, 6, 7], [10, 20, 30]
    raw["pid"], raw["tid"], raw["uid"], raw["cpu"] = 11, 12, 13, 1
    raw["ret"], raw["dirfd"], raw["mode"], raw["flags"] = [3, -2, -512], [0, -100, 4], 0o640, 0o101
    raw["call"] = [wire.OPEN_CALLS.index(call) for call in ("open", "openat", "openat2")]
    for row, (path, comm) in enumerate([(b"/a", b"cat"), (b"", b"\xff"), (b"/b", b"cat")]):
        raw["path"][row, : len(path)] = np.frombuffer(path, np.uint8)
        raw["comm"][row, : len(comm)] = np.frombuffer(comm, np.uint8)
    raw["path_bytes"] = [3, 0, 3]

    rows = decode.open_batch(raw, names).to_pydict()
    assert rows["ts_ns"] == [5, 6, 7]
    assert rows["duration_ns"] == [10, 20, 30]
    assert rows["path"] == ["/a", None, "/b"]
    assert rows["comm"] == ["cat", "\\xff", "cat"]
    assert rows["ret"] == [3, -2, -4]  # interrupted by a signal
    assert rows["dirfd"] == [None, -100, 4]
    assert (rows["pid"], rows["tid"], rows["uid"], rows["cpu"]) == ([11] * 3, [12] * 3, [13] * 3, [1] * 3)
    assert (rows["mode"], rows["flags"], rows["cgroup"]) == ([0o640] * 3, [0o101] * 3, [None] * 3)


def process(event: str, path: bytes = b"", arguments: bytes = b"", **fields: int) -> bytes:
    head = np.zeros(1, wire.PROCESS)
    head["event"] = wire.PROCESS_EVENTS.index(event)
    head["path_bytes"], head["argv_bytes"], head["argv_total_bytes"] = len(path), len(arguments), len(arguments)
    for name, value in fields.items():
        head[name] = value
    return head.tobytes() + path + arguments


def test_what_a_process_did(names: Names) -> None:
    payloads = [
        process("fork", pid=2, ppid=1),
        process("exec", b"/bin/x\0", b"x\0a b\0", pid=2),
        process("exec_failed", b"/bin/y\0", b"y\0", status=-2, argv_total_bytes=9),
        process("exit", status=3 << 8, start_ns=77),
        process("exit", status=9, start_ns=78),
    ]
    rows = decode.process_batch(lined_up(payloads), names).to_pydict()
    assert rows["event"] == ["fork", "exec", "exec_failed", "exit", "exit"]
    assert rows["pid"][:2] == [2, 2]
    assert rows["ppid"][0] == 1
    assert rows["path"] == [None, "/bin/x", "/bin/y", None, None]
    assert rows["argv"] == [None, ["x", "a b"], ["y"], None, None]
    assert rows["argv_bytes"] == [None, 6, 9, None, None]
    assert rows["ret"] == [None, None, -2, None, None]
    assert rows["start_ns"] == [None, None, None, 77, 78]
    assert rows["exit_code"] == [None, None, None, 3, 0]
    assert rows["exit_signal"] == [None, None, None, 0, 9]


def test_a_flush_has_no_place(names: Names) -> None:
    raw = np.zeros(3, wire.BLOCK)
    raw["flags"] = [1 | 1 << 18, 2 | 1 << 18, 1]  # REQ_PREFLUSH
    raw["bytes"] = [0, 0, 4096]
    raw["sector"] = [0, 2**64 - 1, 0]
    batch = decode.BlockDecoder(names).batch(raw)
    assert batch.column("op").to_pylist() == ["flush", "flush", "write"]
    assert batch.column("sector").to_pylist() == [None, None, 0]
