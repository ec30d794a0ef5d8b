"""A trace as large as wanted, of a machine at work: written a piece at a time, in little memory."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from laboratory.recording import SECOND_NS, START_NS, Ints, footer
from tracekit.schema import family_schema
from tracekit.writer import TraceWriter

#: Of all events those of requests, of opens and of processes, three of which make one life.
_BLOCK, _OPEN, _PROCESS = 0.6, 0.37, 0.03
_PER_SECOND = 10_000
_PIECE = 250_000
_SLOTS, _SUBMITTERS, _PATHS = 512, 60, 5000
Columns = dict[str, Any]
Chance = np.random.Generator


def write_large(path: Path, events: int, seed: int = 1) -> int:
    """Write about so many events, 10,000 a second; how many they are.

    Two disks with two modes each, reads and writes by four commands; opens by five commands of 5,000 paths, most of a
    few of them, three in ten of which fail; processes that a shell starts. Nothing of it has a rhythm.
    """
    chance = np.random.default_rng(seed)
    span_ns = round(events / _PER_SECOND * SECOND_NS)
    writer, rows = TraceWriter(path), dict.fromkeys(("process", "block", "open"), 0)
    for family, share, each, make in (
        ("process", _PROCESS, 3, _processes),
        ("block", _BLOCK, 3, _requests),
        ("open", _OPEN, 1, _opens),
    ):
        for begin_ns, end_ns, count in _pieces(round(events * share / each), span_ns):
            at_ns = START_NS + np.sort(chance.integers(begin_ns, end_ns, count))
            table = pa.concat_tables([_table(family, columns, count) for columns in make(at_ns, chance)])
            table = table.unify_dictionaries().combine_chunks()
            writer.write(family, table.take(np.argsort(table["ts_ns"].to_numpy(), kind="stable")))
            rows[family] += len(table)
    writer.close(footer(rows, span_ns + SECOND_NS))
    return sum(rows.values())


def _pieces(count: int, span_ns: int) -> Iterator[tuple[int, int, int]]:
    """Stretches of time and how many things begin in each.

    The last fifth of a second of each is left to what is under way then, so that one piece ends before the next.
    """
    pieces = max(-(-count // _PIECE), 1)
    edges = np.linspace(0, span_ns, pieces + 1).astype(np.int64).tolist()
    counts = np.diff(np.arange(pieces + 1) * count // pieces).tolist()
    for begin, end, part in zip(edges[:-1], edges[1:], counts, strict=True):
        yield begin, max(end - SECOND_NS // 5, begin + 1), part


def _table(family: str, columns: Mapping[str, Any], count: int) -> pa.Table:
    arrays = []
    for item in family_schema(family):
        value = columns.get(item.name)
        if value is None or isinstance(value, str | int):
            plain = item.type.value_type if pa.types.is_dictionary(item.type) else item.type
            arrays.append(pa.repeat(pa.scalar(value, plain), count).cast(item.type))
        else:
            arrays.append((value if isinstance(value, pa.Array) else pa.array(value)).cast(item.type))
    return pa.table(arrays, schema=family_schema(family))


def _one_of(chance: Chance, count: int, *names: str) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(chance.integers(0, len(names), count), pa.int32()), pa.array(names))


def _requests(start_ns: Ints, chance: Chance) -> list[Columns]:
    count = len(start_ns)
    slow = chance.random(count) < 0.1
    issue_ns = start_ns + chance.gamma(2, 3000, count).astype(np.int64)
    device_ns = chance.lognormal(12, 0.5, count) * np.where(slow, 20, 1)
    second = np.arange(count) % 3 == 0
    pid = chance.integers(500, 500 + _SUBMITTERS, count)
    common: Columns = {
        "dev": np.where(second, 259 << 20, 8 << 20),
        "disk": pa.DictionaryArray.from_arrays(pa.array(second.astype(np.int32)), pa.array(["sda", "nvme0n1"])),
        "request": np.arange(count) % _SLOTS,
        "sector": chance.integers(0, 10**9, count) * 8,
        "bytes": np.where(slow, 131072, 4096),
        "op": _one_of(chance, count, "read", "read", "write"),
        "flags": 0,
        "cpu": 0,
        "pid": pid,
        "tid": pid,
    }
    who = _one_of(chance, count, "postgres", "mysqld", "backup", "kworker/u8:1")
    done = common | {"event": "block_complete", "comm": "swapper/0", "ret": 0}
    return [
        common | {"event": "block_start", "ts_ns": start_ns, "comm": who, "cgroup": "/system.slice"},
        common | {"event": "block_issue", "ts_ns": issue_ns, "comm": who},
        done | {"ts_ns": issue_ns + np.minimum(device_ns, SECOND_NS / 8).astype(np.int64)},
    ]


def _opens(at_ns: Ints, chance: Chance) -> list[Columns]:
    count = len(at_ns)
    number = (chance.pareto(1, count) * 3).astype(np.int64) % _PATHS
    paths = pa.array([f"/etc/app/conf.d/{index:05d}.conf" for index in range(_PATHS)])
    return [
        {
            "event": "open",
            "ts_ns": at_ns,
            "comm": _one_of(chance, count, "nginx", "bash", "php", "sshd", "cron"),
            "path": pa.DictionaryArray.from_arrays(pa.array(number.astype(np.int32)), paths),
            "ret": np.where(chance.random(count) < 0.3, -2, 5),
            "duration_ns": chance.lognormal(8, 0.6, count).astype(np.int64),
            "flags": 0,
            "mode": 0,
            "dirfd": -100,
            "pid": 77,
            "tid": 77,
            "uid": 0,
            "cpu": 1,
            "cgroup": "/system.slice",
        }
    ]


def _processes(at_ns: Ints, chance: Chance) -> list[Columns]:
    count = len(at_ns)
    pid = 1000 + np.arange(count) % 30_000
    who: Columns = {"pid": pid, "tid": pid, "ppid": 50, "uid": 0, "cgroup": "/build"}
    comm = _one_of(chance, count, "sh", "cc1", "as", "ld")
    life_ns = chance.gamma(3, 3_000_000, count).astype(np.int64) + 1_000_000
    end: Columns = {"event": "exit", "ts_ns": at_ns + life_ns, "start_ns": at_ns, "exit_code": 0, "exit_signal": 0}
    return [
        who | {"event": "fork", "ts_ns": at_ns, "comm": "make"},
        who | {"event": "exec", "ts_ns": at_ns + 200_000, "comm": comm, "path": "/usr/bin/cc"},
        who | end | {"comm": comm},
    ]
