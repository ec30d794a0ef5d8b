"""A trace from whole columns of events, written through the project's own writer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.metadata import Anchor, Clock, Counters, Metadata
from tracekit.schema import RECORDED_FAMILIES, family_schema
from tracekit.writer import TraceWriter

Ints = npt.NDArray[np.int64]

MS_NS = 1_000_000
SECOND_NS = 1_000_000_000
START_NS = 1_000 * SECOND_NS
#: 2026-01-02T03:04:05Z
REALTIME_NS = 1_767_323_045 * SECOND_NS
_MANY_PIDS = 4_000_000


def footer(rows: Mapping[str, int], duration_ns: int, start_ns: int = START_NS, resolution_ns: int = 1) -> Metadata:
    """The footer of a made-up recording with so many rows of each family, none lost."""
    end_ns = start_ns + duration_ns
    return Metadata(
        tool_version="0.1.0",
        created="2026-01-02T03:04:05+00:00",
        duration_ns=duration_ns,
        kernel="6.1.0",
        arch="x86_64",
        cpus=2,
        hostname="db1",
        backend="core",
        events=RECORDED_FAMILIES,
        clock=Clock(
            resolution_ns=resolution_ns,
            anchors=(Anchor(start_ns, REALTIME_NS), Anchor(end_ns, REALTIME_NS + duration_ns)),
        ),
        counters={
            family: Counters(seen=rows.get(family, 0), written=rows.get(family, 0)) for family in RECORDED_FAMILIES
        },
    )


@dataclass
class Recording:
    """Events to be written, and the truth about them.

    Attributes:
        duration_ns: of the recording; events outside of it are not written.
        resolution_ns: step of the clock.
        truth: what a report should find; written beside the trace.
    """

    duration_ns: int
    resolution_ns: int = 1
    truth: dict[str, Any] = field(default_factory=dict)
    _tables: dict[str, list[pa.Table]] = field(default_factory=dict)
    _next_pid: int = 1000

    def add(self, family: str, event: str, at_ns: Ints, **columns: Any) -> None:
        """Events of one kind.

        Args:
            at_ns: when, from the start of the recording; any order.
            columns: a value for all, or one for each.
        """
        within = (at_ns >= 0) & (at_ns < self.duration_ns)
        count = int(within.sum())
        if not count:
            return
        given = columns | {"event": event, "ts_ns": START_NS + at_ns}
        arrays = []
        for item in family_schema(family):
            value = given.get(item.name)
            if value is None or isinstance(value, str | int | list):
                arrays.append(pa.repeat(pa.scalar(value, _plain(item.type)), count).cast(item.type))
            elif isinstance(value, pa.Array):
                arrays.append(value.filter(pa.array(within)).cast(item.type))
            else:
                arrays.append(pa.array(np.asarray(value)[within]).cast(item.type))
        self._tables.setdefault(family, []).append(pa.table(arrays, schema=family_schema(family)))

    def pids(self, count: int) -> Ints:
        """Process ids that nobody has."""
        first, self._next_pid = self._next_pid, self._next_pid + count
        return 1000 + (np.arange(first, first + count) - 1000) % _MANY_PIDS

    def running(self, pid: int, ppid: int, comm: str) -> int:
        """A process that ran already; its pid."""
        nothing = np.zeros(1, dtype=np.int64)
        began = START_NS - 60 * SECOND_NS
        self.add("process", "process", nothing, pid=pid, tid=pid, ppid=ppid, comm=comm, start_ns=began, argv=[comm])
        return pid

    def processes(self, at_ns: Ints, life_ns: Ints, comm: str, ppid: int | Ints, exit_code: int | Ints = 0) -> Ints:
        """Processes that are started, run a program, and end; their pids."""
        pid = self.pids(len(at_ns))
        who = {"pid": pid, "tid": pid, "ppid": ppid}
        path = f"/usr/bin/{comm}"
        self.add("process", "fork", at_ns, comm="sh", **who)
        self.add("process", "exec", at_ns + 150_000, comm=comm, path=path, argv=[comm], **who)
        end = {"start_ns": START_NS + at_ns, "exit_code": exit_code, "exit_signal": 0}
        self.add("process", "exit", at_ns + np.maximum(life_ns, 200_000), comm=comm, **end, **who)
        return pid

    def opens(self, at_ns: Ints, duration_ns: Ints, comm: str, path: str | pa.Array, ret: int | Ints = 3) -> None:
        """Files that are opened."""
        who = {"pid": 900, "tid": 900, "uid": 0}
        self.add("open", "open", at_ns, comm=comm, path=path, ret=ret, duration_ns=duration_ns, flags=0, mode=0, **who)

    def write(self, path: Path) -> Path:
        """The trace, and its truth beside it in a file of JSON."""
        writer = TraceWriter(path)
        for family in RECORDED_FAMILIES:
            if family in self._tables:
                whole = pa.concat_tables(self._tables[family]).unify_dictionaries().combine_chunks()
                order = np.argsort(whole["ts_ns"].to_numpy(), kind="stable")
                writer.write(family, whole.take(order))
        rows = {family: sum(table.num_rows for table in tables) for family, tables in self._tables.items()}
        writer.close(footer(rows, self.duration_ns, resolution_ns=self.resolution_ns))
        path.with_suffix(".truth.json").write_text(json.dumps(self.truth, indent=1, sort_keys=True))
        return path


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
