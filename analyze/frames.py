"""Tables of a trace for people's own questions, with wall-clock time: the rows of an event, requests, processes."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracekit.analyze.blocks import BlockIO, BlockStream, measured, read_blocks, spans
from tracekit.analyze.census import take_census
from tracekit.analyze.columns import (
    NULL,
    OTHERS,
    Codes,
    Ints,
    arrow_bools,
    arrow_ints,
    arrow_strings,
    encoded,
    ints,
    number_of,
)
from tracekit.analyze.processes import COLUMNS as LIFE_COLUMNS
from tracekit.analyze.processes import Lives, from_table
from tracekit.analyze.selection import Selection
from tracekit.analyze.windows import Windows, read_windows
from tracekit.errors import UsageError
from tracekit.schema import COLUMNS, EVENTS, FAMILIES, FAMILY_OF, Column
from tracekit.trace import Trace

REQUESTS, PROCESSES = "block", "processes"
#: The events of each table of raw rows.
EVENT_TABLES: dict[str, tuple[str, ...]] = {
    "running": ("process",),
    "forks": ("fork",),
    "execs": ("exec",),
    "failed_execs": ("exec_failed",),
    "exits": ("exit",),
    "block_events": EVENTS["block"],
    "opens": ("open",),
    "lost": ("lost",),
}
TABLES = (REQUESTS, PROCESSES, *EVENT_TABLES)

_STRING = pa.dictionary(pa.int64(), pa.string())
_TIME = Column("time", pa.timestamp("ns", "UTC"), FAMILIES, "wall clock; null where the trace has no anchors", "UTC")
#: One row is one request; null is unknown, or not to be trusted: events were lost meanwhile, or the pair is in doubt.
_REQUEST_COLUMNS = (
    _TIME,
    *(
        Column(name, kind, (REQUESTS,), meaning, unit)
        for name, kind, meaning, unit in (
            ("ts_ns", pa.int64(), "CLOCK_BOOTTIME of its first event", "ns"),
            ("disk", _STRING, "name of the disk", ""),
            ("op", _STRING, "read, write, flush, discard, ...", ""),
            ("comm", _STRING, "command name of the submitter", ""),
            ("pid", pa.int64(), "thread-group id of the submitter", ""),
            ("sector", pa.int64(), "first 512-byte sector; null for a flush", "512 bytes"),
            ("bytes", pa.int64(), "length", "bytes"),
            ("flags", pa.int64(), "the request's cmd_flags, as the kernel has them", ""),
            ("start_ns", pa.int64(), "CLOCK_BOOTTIME of its submission", "ns"),
            ("issue_ns", pa.int64(), "CLOCK_BOOTTIME at which it was handed to the device, for the last time", "ns"),
            ("complete_ns", pa.int64(), "CLOCK_BOOTTIME of its completion", "ns"),
            ("queue_ns", pa.int64(), "submission to (first) issue", "ns"),
            ("device_ns", pa.int64(), "issue to completion", "ns"),
            ("total_ns", pa.int64(), "submission to the end", "ns"),
            ("depth", pa.int64(), "requests at the device when it was issued, itself included", "requests"),
            ("sequential", pa.bool_(), "begins where the last one of its disk, op and process ended", ""),
            ("failed", pa.bool_(), "completed with an error", ""),
            ("merged", pa.bool_(), "became part of another request, and never completes by itself", ""),
            ("in_flight", pa.bool_(), "still under way when the recording ended", ""),
        )
    ),
)
#: One row is one process, however many programs it ran; null is unknown, or not to be trusted.
_PROCESS_COLUMNS = (
    Column("time", _TIME.type, (PROCESSES,), "wall clock of its start; null where the trace has no anchors", "UTC"),
    *(
        Column(name, kind, (PROCESSES,), meaning, unit)
        for name, kind, meaning, unit in (
            ("start_ns", pa.int64(), "CLOCK_BOOTTIME of its start", "ns"),
            ("exec_ns", pa.int64(), "CLOCK_BOOTTIME of the first program that it ran while recorded", "ns"),
            ("exit_ns", pa.int64(), "CLOCK_BOOTTIME of the end of its last thread", "ns"),
            ("lifetime_ns", pa.int64(), "start to exit; null where events were lost meanwhile", "ns"),
            ("pid", pa.int64(), "thread-group id, in the host's pid namespace; may be used again", ""),
            ("ppid", pa.int64(), "thread-group id of the parent", ""),
            ("parent", _STRING, "command name of the parent", ""),
            ("comm", _STRING, "command name that its last program gave it", ""),
            ("path", _STRING, "the file that it ran last, or tried to run", ""),
            ("argv", pa.list_(pa.string()), "arguments of that", ""),
            ("cgroup", _STRING, "cgroup path", ""),
            ("exit_code", pa.int64(), "as wait(2) would tell", ""),
            ("exit_signal", pa.int64(), "as wait(2) would tell; 0: none", ""),
        )
    ),
)


def columns_of(table: str) -> tuple[Column, ...]:
    """The columns of one of `TABLES`: of raw rows those that its events fill.

    Raises:
        UsageError: there is no such table.
    """
    made = {REQUESTS: _REQUEST_COLUMNS, PROCESSES: _PROCESS_COLUMNS}
    if table in made:
        return made[table]
    if table not in EVENT_TABLES:
        raise UsageError(f"there is no table {table!r}: there are {', '.join(TABLES)}")
    events = EVENT_TABLES[table]
    filled = [column for column in COLUMNS if any(column.of_event(event) for event in events)]
    return (_TIME, *(column for column in filled if column.name != "event" or len(events) > 1))


def type_name(kind: pa.DataType) -> str:
    """A type in words, as a reader of any kind has it: `string` however it is encoded, `list of string`, `int64`."""
    if pa.types.is_dictionary(kind):
        return type_name(kind.value_type)
    return f"list of {type_name(kind.value_type)}" if pa.types.is_list(kind) else str(kind)


def read_table(trace: Trace, selection: Selection, table: str, columns: Sequence[str] | None = None) -> pa.Table:
    """One of `TABLES`, in time order.

    Args:
        columns: names of those wanted; all that it has by default. Of raw rows, no others are read.

    Raises:
        UsageError: there is no such table, column or part of the trace; or it cannot be said whose events these are.
        TraceError: the file is damaged.
    """
    selection.check(trace)
    schema = pa.schema([(column.name, column.type) for column in _wanted(table, columns)])
    if table == REQUESTS:
        return _requests(trace, selection).select(schema.names)
    if table == PROCESSES:
        return _processes(trace, selection, schema)
    batches = list(_events(trace, selection, table, schema.names))
    return pa.Table.from_batches(batches).unify_dictionaries() if batches else schema.empty_table()


def _wanted(table: str, names: Sequence[str] | None) -> list[Column]:
    known = {column.name: column for column in columns_of(table)}
    for name in names or ():
        if name not in known:
            raise UsageError(f"{table} has no column {name!r}: it has {', '.join(known)}")
    return [known[name] for name in (known if names is None else names)]


def _wall_clock(trace: Trace, ts_ns: Ints) -> pa.Array:
    clock = trace.metadata.clock
    return arrow_ints(clock.realtime_ns(ts_ns)).view(_TIME.type) if clock.anchors else pa.nulls(len(ts_ns), _TIME.type)


# --- raw rows ---


def _events(trace: Trace, selection: Selection, table: str, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    events = EVENT_TABLES[table]
    conditions = _conditions(selection, table)
    read = dict.fromkeys([*(name for name in names if name != "time"), *conditions])
    for rows in selection.rows(trace, events, list(read | ({"ts_ns": None} if "time" in names else {}))):
        for name, value in conditions.items():
            strings, codes = encoded(rows, name)
            number = number_of(strings, value)
            rows = rows.filter(arrow_bools((codes == number) & (number != NULL)))
        arrays = [_wall_clock(trace, ints(rows, "ts_ns")) if name == "time" else rows.column(name) for name in names]
        yield pa.RecordBatch.from_arrays(arrays, list(names))


def _conditions(selection: Selection, table: str) -> dict[str, str]:
    """The columns that decide which rows were selected, and their values."""
    family = FAMILY_OF[EVENT_TABLES[table][0]]
    if family == "block" and selection.comm is not None:
        raise UsageError("raw block events do not say who submitted the I/O: block() does")
    chosen = {
        "comm": selection.comm if family != "lost" else None,
        "disk": selection.disk if family == "block" else None,
    }
    return {name: value for name, value in chosen.items() if value is not None}


# --- block I/O ---


def _requests(trace: Trace, selection: Selection) -> pa.Table:
    """One row a request, as the report has them."""
    windows = Windows.of(read_windows(trace), "block")
    stream = BlockStream(take_census(trace, selection, "block"), windows)
    pieces = [_piece(trace, blocks, windows) for _, blocks in read_blocks(trace, selection, stream)]
    if not pieces:
        return pa.schema([(column.name, column.type) for column in _REQUEST_COLUMNS]).empty_table()
    table = pa.Table.from_batches(pieces).unify_dictionaries()
    # What was never settled comes last.
    return table.take(arrow_ints(np.argsort(ints(table, "ts_ns"), kind="stable")))


def _piece(trace: Trace, blocks: BlockIO, windows: Windows) -> pa.RecordBatch:
    first_ns = np.where(blocks.start_ns == NULL, blocks.first_issue_ns, blocks.start_ns)
    made = {"time": _wall_clock(trace, first_ns), "ts_ns": arrow_ints(first_ns)}
    for metric, begin, end, rival in spans(blocks):
        trusted = measured(begin, end, rival, windows)
        made[f"{metric.split('.')[1]}_ns"] = arrow_ints(np.where(trusted, np.maximum(end - begin, 0), NULL), NULL)
    arrays = [made[column.name] if column.name in made else _array(blocks, column) for column in _REQUEST_COLUMNS]
    return pa.RecordBatch.from_arrays(arrays, [column.name for column in _REQUEST_COLUMNS])


def _array(blocks: BlockIO, column: Column) -> pa.Array:
    values = getattr(blocks, column.name)
    if isinstance(values, Codes):
        return _strings(values)
    return arrow_bools(values) if column.type == pa.bool_() else arrow_ints(values, NULL)


def _strings(codes: Codes) -> pa.Array:
    names = codes.names[:-1] if codes.names[-1:] == (OTHERS,) else codes.names
    return pa.DictionaryArray.from_arrays(arrow_ints(codes.named(), NULL), arrow_strings(names))


# --- processes ---


def _processes(trace: Trace, selection: Selection, schema: pa.Schema) -> pa.Table:
    """One row a process that lived while this part was recorded, those first of which the start is not known."""
    # What was before and after the part is read, too: it tells who began and ended when.
    read = (*LIFE_COLUMNS, *(["argv"] if "argv" in schema.names else []))
    table = trace.table(*EVENTS["process"], columns=read)
    lives = from_table(table, Windows.of(read_windows(trace), "process"))
    chosen = lives.seen | (lives.told_by != NULL)
    if selection.start_ns is not None or selection.end_ns is not None:
        start_ns, end_ns = selection.span(trace)
        chosen &= (lives.begin_ns < end_ns) & ((lives.exit_ns == NULL) | (lives.exit_ns >= start_ns))
    if selection.comm is not None:
        chosen &= lives.comm.is_in(selection.comm)
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(lives.started_ns[rows], kind="stable")]
    return pa.table([_of_lives(trace, lives, rows, name, table) for name in schema.names], schema=schema)


def _of_lives(trace: Trace, lives: Lives, rows: Ints, name: str, table: pa.Table) -> pa.Array:
    """A column of the table of processes."""
    if name == "argv":
        return table.column("argv").take(arrow_ints(lives.told_by[rows], NULL))
    if name == "time":
        began_ns = lives.started_ns[rows]
        return pc.if_else(arrow_bools(began_ns != NULL), _wall_clock(trace, began_ns), None)
    if name == "parent":
        parent = lives.parent[rows]
        return _strings(Codes(np.where(parent == NULL, NULL, lives.comm.codes[parent]), lives.comm.names))
    values = lives.started_ns if name == "start_ns" else getattr(lives, name)
    return _strings(values[rows]) if isinstance(values, Codes) else arrow_ints(values[rows], NULL)
