"""From ring bytes to Arrow record batches, in bulk: no Python code runs per event for block and open events."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.capture import wire
from tracekit.capture.host import Names
from tracekit.capture.ring import Payloads
from tracekit.schema import family_schema
from tracekit.text import decode

Records = npt.NDArray[np.void]
Codes = npt.NDArray[np.int32]

_OPENAT, _OPENAT2 = wire.OPEN_CALLS.index("openat"), wire.OPEN_CALLS.index("openat2")
_OP_MASK = np.uint32(0xFF)  # REQ_OP_MASK of include/linux/blk_types.h
_WRITE, _FLUSH = np.uint32(1), np.uint32(2)
_PASSTHROUGH = np.uint32(34)  # REQ_OP_DRV_IN and above: commands to the driver, which have no place

# errno of each blk_status_t, by its number in include/linux/blk_types.h. From 14 on the numbers differ between
# kernels; those are EIO here, which is also what the kernel makes of a status that it does not know.
_EINTR, _EIO = 4, 5
_ERRNO_OF_STATUS = np.array([0, 95, 110, 28, 67, 121, 52, 61, 84, 12, 5, 78, 11, 16], dtype=np.int32)


def distinct(values: npt.NDArray[Any]) -> tuple[Codes, npt.NDArray[np.int64]]:
    """Number the distinct values of an integer array.

    Returns:
        For each value its number, and for each number the position of one value that has it.
    """
    encoded = _array(values).dictionary_encode()
    codes = encoded.indices.to_numpy()
    where = np.empty(len(encoded.dictionary), dtype=np.int64)
    where[codes] = np.arange(codes.size)
    return codes, where


def strings(fields: npt.NDArray[np.uint8]) -> pa.DictionaryArray:
    """Zero-padded byte strings, a row each, as dictionary-encoded text; each distinct one is decoded once."""
    rows, width = fields.shape
    raw = pa.py_buffer(np.ascontiguousarray(fields))
    encoded = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), rows, [None, raw]).dictionary_encode()
    distinct_fields = np.frombuffer(encoded.dictionary.buffers()[1], np.uint8, len(encoded.dictionary) * width)
    return pa.DictionaryArray.from_arrays(encoded.indices, _texts(distinct_fields.reshape(-1, width)))


def _texts(fields: npt.NDArray[np.uint8]) -> pa.Array:
    """Zero-terminated byte strings in rows of one width, as text."""
    terminated = np.concatenate([fields, np.zeros((len(fields), 1), np.uint8)], axis=1) == 0
    lengths = terminated.argmax(axis=1)
    return _text(fields[np.arange(fields.shape[1]) < lengths[:, None]], lengths)


def _text(raw: npt.NDArray[np.uint8], lengths: npt.NDArray[Any]) -> pa.Array:
    """Byte strings that lie one behind another, as text; what is not UTF-8 shows its bytes as escapes."""
    binary = pa.Array.from_buffers(pa.binary(), lengths.size, [None, _offsets(lengths), pa.py_buffer(raw.tobytes())])
    try:
        return binary.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([decode(value) for value in binary.to_pylist()], type=pa.string())


def _offsets(lengths: npt.NDArray[Any]) -> pa.Buffer:
    return pa.py_buffer(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _looked_up(values: npt.NDArray[Any], name: Callable[[int], str | None]) -> pa.DictionaryArray:
    """Numbers as dictionary-encoded names, each distinct one looked up once; null where there is no name."""
    codes, where = distinct(values)
    names = [name(int(value)) for value in values[where]]
    unknown = np.array([item is None for item in names], dtype=bool)[codes] if names else None
    mask = unknown if unknown is not None and unknown.any() else None
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, mask=mask), pa.array([item or "" for item in names], pa.string())
    )


def _coded(codes: npt.NDArray[np.uint8], names: Sequence[str]) -> pa.DictionaryArray:
    """Positions in a list of names; null where there is no such position."""
    return pa.DictionaryArray.from_arrays(_nulls_where(codes.astype(np.int32), codes >= len(names)), pa.array(names))


def _nulls_where(values: npt.NDArray[Any], unknown: npt.NDArray[np.bool_]) -> pa.Array:
    return pa.array(np.ascontiguousarray(values), mask=unknown)


def _array(values: npt.NDArray[Any]) -> pa.Array:
    # Arrow takes the fields of a record, which lie apart, one by one.
    return pa.array(np.ascontiguousarray(values))


def _batch(family: str, columns: dict[str, Any], rows: int) -> pa.RecordBatch:
    schema = family_schema(family)
    arrays = []
    for item in schema:
        given = columns.get(item.name)
        if given is None:
            arrays.append(pa.nulls(rows, item.type))
        else:
            arrays.append((given if isinstance(given, pa.Array) else _array(given)).cast(item.type))
    return pa.record_batch(arrays, schema=schema)


def _common(records: Records) -> dict[str, Any]:
    fields = ("cpu", "pid", "tid")
    return {name: np.ascontiguousarray(records[name]) for name in fields} | {
        "ts_ns": records["ts_ns"].astype(np.int64),
        "comm": strings(records["comm"]),
    }


def open_batch(records: Records, names: Names) -> pa.RecordBatch:
    """Opens, from records of one path size."""
    call = records["call"]
    columns = _common(records) | {
        "event": _coded(np.zeros(len(records), np.uint8), ["open"]),
        "uid": records["uid"],
        "cgroup": _looked_up(records["cgroup"], names.cgroup),
        "path": _paths(records),
        "ret": _returned(records["ret"]),
        "duration_ns": records["duration_ns"].astype(np.int64),
        "flags": records["flags"],
        "mode": records["mode"],
        "dirfd": _nulls_where(records["dirfd"], (call != _OPENAT) & (call != _OPENAT2)),
    }
    return _batch("open", columns, len(records))


def _returned(ret: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """What a call returned. A signal ends a call with a code of the kernel's own (ERESTARTSYS and its like), and the
    call is then begun again or returns EINTR: to whoever waits, it was interrupted."""
    return np.where((ret <= -512) & (ret >= -516), np.int32(-_EINTR), ret)


def _paths(records: Records) -> pa.DictionaryArray:
    longest = min(max(int(records["path_bytes"].max(initial=0)), 1), records["path"].shape[1])
    path = records["path"][:, :longest]
    if records.dtype == wire.OPEN_LONG:  # what is behind the terminator is not zero there
        path = np.where(np.arange(longest) < records["path_bytes"][:, None], path, np.uint8(0))
    texts = strings(path)
    unread = records["path_bytes"] == 0  # a path that is not there; an empty one has its terminator
    if not unread.any():
        return texts
    return pa.DictionaryArray.from_arrays(pa.array(texts.indices.to_numpy(), mask=unread), texts.dictionary)


class BlockDecoder:
    """Block events; remembers which slot stands for which request.

    Args:
        names: of disks, cgroups and operations.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._slots: dict[int, int] = {}
        self._flushing = np.zeros(0, dtype=np.bool_)  # of each slot, whether its request began as a flush

    def batch(self, records: Records) -> pa.RecordBatch:
        """Records of the ring, as rows."""
        start = records["event"] == wire.BLOCK_EVENTS.index("block_start")
        complete = records["event"] == wire.BLOCK_EVENTS.index("block_complete")
        slots = self._slot(records["request"])
        operation = self._operation(records, slots)
        columns = _common(records) | {
            "event": _coded(records["event"], wire.BLOCK_EVENTS),
            "cgroup": _looked_up(np.where(start, records["cgroup"], 0), self._names.cgroup),
            "ret": _nulls_where(errors(records["status"]), ~complete),
            "flags": records["flags"],
            "dev": records["dev"],
            "disk": _looked_up(records["dev"], self._names.disk),
            "request": slots,
            "sector": _nulls_where(records["sector"], (operation == _FLUSH) | (operation >= _PASSTHROUGH)),
            "bytes": records["bytes"],
            "op": _looked_up(operation, self._names.operation),
        }
        return _batch("block", columns, len(records))

    def _slot(self, addresses: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
        codes, where = distinct(addresses)
        slots = [self._slots.setdefault(int(address), len(self._slots)) for address in addresses[where]]
        return np.array(slots, dtype=np.uint32)[codes]

    def _operation(self, records: Records, slots: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """The request's operation. A flush enters the block layer as a write of nothing (blkdev_issue_flush).

        Later events of that request do not tell it from a write any more, so it is remembered for the slot.
        """
        operation = records["flags"] & _OP_MASK
        start = records["event"] == wire.BLOCK_EVENTS.index("block_start")
        self._flushing = np.append(self._flushing, np.zeros(len(self._slots) - self._flushing.size, np.bool_))
        if not self._flushing[slots].any() and not (start & (operation == _WRITE) & (records["bytes"] == 0)).any():
            return operation
        order = np.argsort(slots, kind="stable")
        slot, began = slots[order], start[order]
        # Of each event the position of the start before it, if that is in this batch and in the same slot.
        latest = np.maximum.accumulate(np.where(began, np.arange(slot.size), -1))
        known = (latest >= 0) & (slot[latest] == slot)
        nothing = ((operation == _WRITE) & (records["bytes"] == 0))[order]
        flushing = np.where(known, nothing[latest], self._flushing[slot])
        self._flushing[slot] = flushing  # the last of a slot stays
        back = np.empty_like(flushing)
        back[order] = flushing
        return np.where(back & (operation == _WRITE), _FLUSH, operation)


def errors(status: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """0 or -errno of a completion: older kernels pass that, newer ones a blk_status_t."""
    if not status.any():
        return status
    known = _ERRNO_OF_STATUS[np.clip(status, 0, _ERRNO_OF_STATUS.size - 1)]
    return np.where(status <= 0, status, np.where(status < _ERRNO_OF_STATUS.size, -known, -_EIO)).astype(np.int32)


def process_batch(payloads: Payloads, names: Names) -> pa.RecordBatch:
    """Process events."""
    heads = _pieces(payloads, 0, wire.PROCESS.itemsize).view(wire.PROCESS)[:, 0]
    is_exit = heads["event"] == wire.PROCESS_EVENTS.index("exit")
    is_failed = heads["event"] == wire.PROCESS_EVENTS.index("exec_failed")
    is_exec = is_failed | (heads["event"] == wire.PROCESS_EVENTS.index("exec"))
    status = heads["status"]
    path_bytes = heads["path_bytes"].astype(np.int64)
    columns = _common(heads) | {
        "event": _coded(heads["event"], wire.PROCESS_EVENTS),
        "ppid": heads["ppid"],
        "uid": heads["uid"],
        "cgroup": _looked_up(heads["cgroup"], names.cgroup),
        "path": _path_of_each(payloads, path_bytes),
        "argv": _arguments_of_each(payloads, path_bytes, heads["argv_bytes"].astype(np.int64)),
        "argv_bytes": _nulls_where(heads["argv_total_bytes"], ~is_exec),
        "ret": _nulls_where(_returned(status), ~is_failed),
        "start_ns": _nulls_where(heads["start_ns"].astype(np.int64), ~is_exit),
        "exit_code": _nulls_where(status >> 8 & 0xFF, ~is_exit),
        "exit_signal": _nulls_where(status & 0x7F, ~is_exit),
    }
    return _batch("process", columns, payloads.starts.size)


def _pieces(payloads: Payloads, at: int, size: int) -> npt.NDArray[np.uint8]:
    """So many bytes of each payload; zeros where one is shorter."""
    within = np.arange(at, at + size)
    places = np.minimum(payloads.starts[:, None] + within, max(payloads.data.size - 1, 0))
    if not payloads.data.size:
        return np.zeros(places.shape, np.uint8)
    return np.where(within < payloads.lengths[:, None], payloads.data[places], np.uint8(0))


def _gathered(
    payloads: Payloads, at: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Of each payload the bytes from a place on, as many as there are of those wanted, one behind another; how many."""
    sizes = np.clip(np.minimum(sizes, payloads.lengths - at), 0, None)
    before = np.cumsum(sizes) - sizes
    places = np.arange(sizes.sum()) + np.repeat(payloads.starts + at - before, sizes)
    return payloads.data[places], sizes


def _path_of_each(payloads: Payloads, path_bytes: npt.NDArray[np.int64]) -> pa.DictionaryArray:
    """The path behind the head of each payload, without its terminator; null where there is none."""
    raw, sizes = _gathered(payloads, np.full(path_bytes.size, wire.PROCESS.itemsize), path_bytes - 1)
    texts = _text(raw, sizes).dictionary_encode()
    none = path_bytes == 0
    if not none.any():
        return texts
    return pa.DictionaryArray.from_arrays(pa.array(texts.indices.to_numpy(), mask=none), texts.dictionary)


def _arguments_of_each(
    payloads: Payloads, path_bytes: npt.NDArray[np.int64], argv_bytes: npt.NDArray[np.int64]
) -> pa.ListArray:
    """The arguments behind the path of each payload; null where there are none."""
    raw, sizes = _gathered(payloads, wire.PROCESS.itemsize + path_bytes, argv_bytes)
    return arguments(raw, sizes)


def arguments(raw: npt.NDArray[np.uint8], sizes: npt.NDArray[np.int64]) -> pa.ListArray:
    """Blocks of zero-terminated strings that lie one behind another, the last string of each perhaps cut, as lists.

    Args:
        raw: the blocks.
        sizes: of each block; one of no bytes becomes null.
    """
    ends = np.cumsum(sizes)
    cut = (sizes > 0) & (raw[np.maximum(ends - 1, 0)] != 0) if raw.size else np.zeros(sizes.size, np.bool_)
    terminated = np.insert(raw, ends[cut], 0)
    at_ends = np.flatnonzero(terminated == 0)
    texts = _text(terminated[terminated != 0], np.diff(at_ends, prepend=-1) - 1)
    until = np.searchsorted(at_ends, ends + np.cumsum(cut))  # strings before the end of each block
    offsets = np.concatenate([[0], until]).astype(np.int32)
    none = np.append(sizes == 0, False)
    return pa.ListArray.from_arrays(pa.array(offsets, mask=none) if none.any() else pa.array(offsets), texts)
