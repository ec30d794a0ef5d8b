"""Block I/O of which a part is slow for a reason that was put there."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from laboratory.recording import MS_NS, SECOND_NS, Ints, Recording

Chance = np.random.Generator
Bools = npt.NDArray[np.bool_]

_SECONDS = 20.0
_FAST_NS, _SLOW_NS, _WIDTH = 150_000, 5 * MS_NS, 0.25
_DISKS, _OPS, _COMMS = ("sda", "sdb"), ("read", "write"), ("postgres", "backup", "nginx")
_SIZES = np.array([4096, 16384, 131072])
_SLOTS = 4096
#: Of what has the cause so much is slow, and of the rest so much.
_SLOW_SHARE, _SLOW_REST = 0.95, 0.01


def _recording(
    chance: Chance, at_ns: Ints, field: str, cause: Callable[[dict[str, Ints]], Bools], flushes_ns: Ints | None = None
) -> Recording:
    """Requests at these times, slow where the cause says so."""
    count = len(at_ns)
    own = {
        "disk": chance.integers(0, 2, count),
        "op": chance.integers(0, 2, count),
        "comm": chance.integers(0, 3, count),
        "size": chance.integers(0, 3, count),
        "at_ns": at_ns,
    }
    slow = chance.uniform(size=count) < np.where(cause(own), _SLOW_SHARE, _SLOW_REST)
    latency = (np.where(slow, _SLOW_NS, _FAST_NS) * chance.lognormal(0, _WIDTH, count)).astype(np.int64)
    recording = Recording(round(_SECONDS * SECOND_NS), truth={"field": field, "slow": int(slow.sum())})
    shared = {
        "disk": pa.array(np.array(_DISKS)[own["disk"]]),
        "dev": (8 << 20) + 16 * own["disk"],
        "op": pa.array(np.array(_OPS)[own["op"]]),
        "bytes": _SIZES[own["size"]],
        "sector": chance.integers(0, 1 << 24, count) * 8,
        "request": np.arange(count) % _SLOTS,
        "flags": 0,
    }
    _write(recording, at_ns, latency, shared, pa.array(np.array(_COMMS)[own["comm"]]))
    if flushes_ns is not None:
        flush = {"disk": "sda", "dev": 8 << 20, "op": "flush", "bytes": 0, "flags": 0}
        flush["request"] = _SLOTS + np.arange(len(flushes_ns)) % 8
        _write(recording, flushes_ns, np.full(len(flushes_ns), 30 * MS_NS), flush, "postgres")
    return recording


def _write(recording: Recording, at_ns: Ints, latency_ns: Ints, shared: dict[str, object], comm: object) -> None:
    who = {"pid": 900, "tid": 900}
    recording.add("block", "block_start", at_ns, comm=comm, **who, **shared)
    recording.add("block", "block_issue", at_ns + 5_000, comm=comm, **who, **shared)
    idle = {"pid": 0, "tid": 0, "comm": "swapper/0"}
    recording.add("block", "block_complete", at_ns + 5_000 + latency_ns, ret=0, **idle, **shared)


def with_cause(chance: Chance) -> dict[str, Callable[[], Recording]]:
    """A second mode with one cause each, by its name."""
    count = int(np.exp(chance.uniform(np.log(1000), np.log(10_000))))
    at = np.sort(chance.uniform(0, _SECONDS * SECOND_NS, count)).astype(np.int64)

    def by(field: str, value: int) -> Callable[[], Recording]:
        return lambda: _recording(chance, at, field, lambda own: own[field] == value)

    def at_one_time() -> Recording:
        begin = chance.uniform(0, 0.85) * _SECONDS * SECOND_NS
        span = chance.uniform(0.03, 0.12) * _SECONDS * SECOND_NS
        return _recording(chance, at, "time", lambda own: (own["at_ns"] >= begin) & (own["at_ns"] < begin + span))

    def in_deep_queues() -> Recording:
        begins = np.sort(chance.uniform(0, _SECONDS * SECOND_NS, max(count // 100, 5)))
        bursts = (begins[:, None] + np.arange(24) * 1_000).ravel()
        everything = np.sort(np.concatenate((at, bursts.astype(np.int64))))
        together = np.isin(everything, bursts.astype(np.int64))
        return _recording(chance, everything, "queue_depth", lambda own: together)

    def behind_flushes() -> Recording:
        flushes = np.arange(40) * 500 * MS_NS + 13 * MS_NS
        since = at - flushes[np.maximum(np.searchsorted(flushes, at, side="right") - 1, 0)]
        return _recording(
            chance,
            at,
            "flush_in_flight",
            lambda own: (since >= 0) & (since < 30 * MS_NS) & (own["disk"] == 0),
            flushes.astype(np.int64),
        )

    return {
        "one disk is slow": by("disk", 1),
        "writes are slow": by("op", 1),
        "one program's are slow": by("comm", 1),
        "large ones are slow": by("size", 2),
        "slow for some time": at_one_time,
        "slow in deep queues": in_deep_queues,
        "slow behind flushes": behind_flushes,
    }
