"""The trace file, format 1: families, events and columns.

This module is the one home of the format in code. A recording is one Parquet file; a row is one raw kernel event.
Rows belong to a family; the file holds the families one after another, each in time order.
"""

from dataclasses import dataclass

import pyarrow as pa

FORMAT = 1
METADATA_KEY = b"tracekit"
MAX_ROW_GROUP_ROWS = 262_144

#: The events of each family, families in file order.
EVENTS: dict[str, tuple[str, ...]] = {
    "process": ("process", "fork", "exec", "exec_failed", "exit"),
    "block": ("block_start", "block_issue", "block_requeue", "block_merge", "block_complete"),
    "open": ("open",),
    "lost": ("lost",),
}
FAMILIES = tuple(EVENTS)
#: The families that a recording can be asked for; ``lost`` always comes along.
RECORDED_FAMILIES = ("process", "block", "open")
FAMILY_OF = {event: family for family, events in EVENTS.items() for event in events}
ALL_EVENTS = tuple(FAMILY_OF)

_STRING = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True)
class Column:
    """One column: its Arrow type, the events or families that fill it, what it means, and its unit if it has one."""

    name: str
    type: pa.DataType
    filled_by: tuple[str, ...]
    meaning: str
    unit: str = ""

    def of_family(self, family: str) -> bool:
        """Whether any event of the family fills this column."""
        return family in self.filled_by or any(FAMILY_OF.get(name) == family for name in self.filled_by)

    def of_event(self, event: str) -> bool:
        """Whether the event fills this column, by itself or as one of its family."""
        family = FAMILY_OF[event]
        named = [name for name in self.filled_by if FAMILY_OF.get(name) == family]
        # A family may have the name of one of its events: beside others of its events, the name stands for the event.
        whole = family in self.filled_by and len(named) <= 1
        return whole or event in named


COLUMNS = (
    Column("ts_ns", pa.int64(), FAMILIES, "CLOCK_BOOTTIME; of an open: its entry", "ns"),
    Column("event", _STRING, FAMILIES, "what happened"),
    Column("cpu", pa.uint16(), FAMILIES[:3], "CPU the probe ran on; null on `process`"),
    Column("pid", pa.int32(), FAMILIES[:3], "thread-group id, in the host's pid namespace"),
    Column("tid", pa.int32(), FAMILIES[:3], "thread id, in the host's pid namespace"),
    Column("comm", _STRING, FAMILIES[:3], "command name of that task"),
    Column("ppid", pa.int32(), ("process",), "thread-group id of the parent"),
    Column("uid", pa.uint32(), ("process", "open"), "real user id"),
    Column("cgroup", _STRING, ("process", "open", "block_start"), "cgroup path"),
    Column("path", _STRING, ("exec", "exec_failed", "open"), "the file, as the caller named it"),
    Column("argv", pa.list_(pa.string()), ("exec", "exec_failed", "process"), "arguments"),
    Column("argv_bytes", pa.uint32(), ("exec", "exec_failed", "process"), "size of the whole argument block", "bytes"),
    Column(
        "ret", pa.int32(), ("exec_failed", "open", "block_complete"), "open: descriptor or -errno; else 0 or -errno"
    ),
    Column("duration_ns", pa.int64(), ("open",), "entry to return", "ns"),
    Column("flags", pa.uint32(), ("open", "block"), "open flags, or the request's cmd_flags"),
    Column("mode", pa.uint16(), ("open",), "as passed"),
    Column("dirfd", pa.int32(), ("open",), "as passed"),
    Column("start_ns", pa.int64(), ("process", "exit", "lost"), "start of the process, or of the lost window", "ns"),
    Column("exit_code", pa.uint8(), ("exit",), "as wait(2) would tell"),
    Column("exit_signal", pa.uint8(), ("exit",), "as wait(2) would tell; 0: none"),
    Column("dev", pa.uint32(), ("block",), "dev_t of the whole disk: major << 20 | minor"),
    Column("disk", _STRING, ("block",), "name of the disk"),
    Column("request", pa.uint32(), ("block",), "slot of the request; used again, so pair in time order"),
    Column("sector", pa.uint64(), ("block",), "first 512-byte sector; null for a flush", "512 bytes"),
    Column(
        "bytes", pa.uint32(), ("block",), "length; on block_complete: the bytes that this completion completed", "bytes"
    ),
    Column("op", _STRING, ("block",), "read, write, flush, discard, ..."),
    Column("lost", pa.uint64(), ("lost",), "how many events could not be recorded", "events"),
    Column("lost_family", _STRING, ("lost",), "the family they belonged to"),
)

#: No event is further from the beginning of its recording: what lies between two of them has a number, too.
MOST_NS = (1 << 62) - 1

SCHEMA = pa.schema([(column.name, column.type) for column in COLUMNS])


def family_schema(family: str) -> pa.Schema:
    """The columns that events of this family can fill, in file order."""
    return pa.schema([(column.name, column.type) for column in COLUMNS if column.of_family(family)])
