"""Lives of processes: what they ran, who started them, when they began and how they ended."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from tracekit.analyze.columns import NULL, Bools, Codes, Ints, codes, ints
from tracekit.analyze.selection import Selection
from tracekit.analyze.windows import Windows
from tracekit.schema import EVENTS, SCHEMA
from tracekit.trace import Trace

COLUMNS = ("ts_ns", "event", "pid", "ppid", "comm", "cgroup", "path", "ret", "start_ns", "exit_code", "exit_signal")
_PROCESS, _FORK, _EXEC, _FAILED, _EXIT = range(5)
#: A life of which only children are known began at some time before everything.
_EVER = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Lives:
    """One element per process, by pid and then by time; -1 is unknown.

    Attributes:
        parent: position of the parent's life.
        begin_ns: when it began, to find who lived at a time: long ago where unknown.
        started_ns: when it began, as far as known.
        exec_ns: its first successful exec while recording, -1 if none.
        failed_exec_ns: its last failed exec, if none succeeded.
        exit_ns: when its last thread ended.
        lifetime_ns: -1 where beginning or end are unknown or not to be trusted.
        told_by: the row of the table that tells what it ran: its last exec, else what ran already.
    """

    pid: Ints
    ppid: Ints
    parent: Ints
    comm: Codes
    path: Codes
    cgroup: Codes
    begin_ns: Ints
    started_ns: Ints
    exec_ns: Ints
    failed_exec_ns: Ints
    exec_error: Ints
    forked: Bools
    exit_ns: Ints
    exit_code: Ints
    exit_signal: Ints
    lifetime_ns: Ints
    told_by: Ints
    untrusted: int

    def __len__(self) -> int:
        return len(self.pid)

    @property
    def start_ns(self) -> Ints:
        """When it started to run a program of its own: its first exec, or the exec that failed; -1 if neither."""
        return np.where(self.exec_ns != NULL, self.exec_ns, self.failed_exec_ns)

    @property
    def seen(self) -> Bools:
        """Which did something while recording, and not only ran already."""
        return np.asarray(self.forked | (self.start_ns != NULL) | (self.exit_ns != NULL))

    @property
    def exited_badly(self) -> Bools:
        """Which ended with an exit code other than 0, or by a signal."""
        return np.asarray((self.exit_ns != NULL) & ((self.exit_code > 0) | (self.exit_signal > 0)))

    def only(self, started: Bools, lived: Bools) -> "Lives":
        """The same, with the program starts and the lifetimes of these; the others show who started whom."""
        unknown: dict[str, Any] = {
            "exec_ns": np.where(started, self.exec_ns, NULL),
            "failed_exec_ns": np.where(started, self.failed_exec_ns, NULL),
            "lifetime_ns": np.where(lived, self.lifetime_ns, NULL),
        }
        return replace(self, **unknown)

    def name(self, life: int) -> str | None:
        """What a process is called: its command, else the file it ran."""
        return self.comm.name(int(self.comm.codes[life])) or self.path.name(int(self.path.codes[life]))


@dataclass(frozen=True)
class _Rows:
    """Rows of the process family sorted by pid, then time; `life` numbers the processes."""

    ts_ns: Ints
    kind: Ints
    pid: Ints
    columns: dict[str, Ints]
    life: Ints

    def first(self, rows: Bools, values: Ints, size: int) -> Ints:
        """Of each life the value in the first of these rows; -1 if there is none."""
        found = np.full(size, NULL, dtype=np.int64)
        where = np.flatnonzero(rows)[::-1]
        found[self.life[where]] = values[where]
        return found

    def last(self, rows: Bools, values: Ints, size: int) -> Ints:
        """Of each life the value in the last of these rows; -1 if there is none."""
        found = np.full(size, NULL, dtype=np.int64)
        where = np.flatnonzero(rows)
        found[self.life[where]] = values[where]
        return found


def read_processes(trace: Trace, selection: Selection, windows: Windows) -> Lives:
    """The processes of a trace up to the end of what was selected; `windows` is when process events were lost.

    What was before it is read, too: it tells who is who.
    """
    batches = list(replace(selection, start_ns=None).batches(trace, "process", COLUMNS))
    none = pa.schema([SCHEMA.field(name) for name in COLUMNS])
    table = pa.Table.from_batches(batches, batches[0].schema if batches else none)
    return from_table(table.unify_dictionaries(), windows)


def from_table(table: pa.Table, windows: Windows) -> Lives:
    """The same for rows already at hand, in any order."""
    names = {name: codes(table, name) for name in ("comm", "cgroup", "path")}
    rows = _sorted_rows(table, names)
    size = int(rows.life[-1]) + 1 if len(rows.life) else 0
    return _lives(rows, size, names, windows)


def _sorted_rows(table: pa.Table, names: dict[str, Codes]) -> _Rows:
    event = codes(table, "event")
    kinds = np.array([EVENTS["process"].index(name) for name in event.names] or [0], dtype=np.int64)
    columns = {name: ints(table, name) for name in COLUMNS if name not in ("event", *names)}
    columns |= {name: column.codes for name, column in names.items()} | {"row": np.arange(len(event))}
    kind = kinds[event.codes]
    strangers = np.setdiff1d(columns["ppid"], np.append(columns["pid"], NULL))
    filler = {name: np.full(len(strangers), NULL, dtype=np.int64) for name in columns}
    filler |= {"pid": strangers, "ts_ns": np.full(len(strangers), _EVER)}
    columns = {name: np.concatenate((filler[name], values)) for name, values in columns.items()}
    kind = np.concatenate((np.full(len(strangers), _PROCESS, dtype=np.int64), kind))
    order = np.lexsort((columns["ts_ns"], columns["pid"]))
    columns = {name: values[order] for name, values in columns.items()}
    kind = kind[order]
    new_pid = np.diff(columns["pid"], prepend=_EVER) != 0
    after_exit = np.append(False, kind[:-1] == _EXIT)[: len(kind)]
    nobody = columns["pid"] == NULL  # an imported trace may not know: each row is then a process of its own
    life = np.cumsum(new_pid | after_exit | (kind == _FORK) | nobody) - 1
    return _Rows(columns["ts_ns"], kind, columns["pid"], columns, life)


def _lives(rows: _Rows, size: int, names: dict[str, Codes], windows: Windows) -> Lives:
    column, kind, every = rows.columns, rows.kind, np.ones(len(rows.kind), dtype=np.bool_)
    fork_ns = rows.first(kind == _FORK, rows.ts_ns, size)
    told_ns = rows.last((column["start_ns"] != NULL), column["start_ns"], size)
    started_ns = np.where(told_ns != NULL, told_ns, fork_ns)
    exit_ns = rows.last(kind == _EXIT, rows.ts_ns, size)
    exec_ns = rows.first(kind == _EXEC, rows.ts_ns, size)
    failed_ns = rows.last(kind == _FAILED, rows.ts_ns, size)
    pid, ppid = rows.first(every, rows.pid, size), rows.first(column["ppid"] != NULL, column["ppid"], size)
    begin_ns = np.where(fork_ns != NULL, fork_ns, np.where(started_ns != NULL, started_ns, _EVER))
    known = (started_ns != NULL) & (exit_ns != NULL)
    doubtful = known & (told_ns == NULL) & windows.spanned_by(started_ns, exit_ns)
    # The last exec names a process; the exit has the name of its last thread, so that is asked last.
    comm = rows.last(kind == _EXIT, column["comm"], size)
    for named in ((kind != _EXIT) & (column["comm"] != NULL), kind == _EXEC):
        better = rows.last(named, column["comm"], size)
        comm = np.where(better != NULL, better, comm)
    path = rows.last((kind == _EXEC) | (kind == _FAILED), column["path"], size)
    seen_ns = rows.first(every, rows.ts_ns, size)
    return Lives(
        pid=pid,
        ppid=ppid,
        parent=who_lived(pid, begin_ns, ppid, seen_ns),
        comm=Codes(comm, names["comm"].names),
        path=Codes(path, names["path"].names),
        cgroup=Codes(rows.last(column["cgroup"] != NULL, column["cgroup"], size), names["cgroup"].names),
        begin_ns=begin_ns,
        started_ns=started_ns,
        exec_ns=exec_ns,
        failed_exec_ns=np.where(exec_ns == NULL, failed_ns, NULL),
        exec_error=rows.last(kind == _FAILED, column["ret"], size),
        forked=fork_ns != NULL,
        exit_ns=exit_ns,
        exit_code=rows.last(kind == _EXIT, column["exit_code"], size),
        exit_signal=rows.last(kind == _EXIT, column["exit_signal"], size),
        lifetime_ns=np.where(known & ~doubtful, np.maximum(exit_ns - started_ns, 0), NULL),
        told_by=rows.last((kind != _FORK) & (kind != _EXIT), column["row"], size),
        untrusted=int(doubtful.sum()),
    )


def who_lived(pid: Ints, begin_ns: Ints, wanted_pid: Ints, at_ns: Ints) -> Ints:
    """The last life of each wanted pid that began at or before a time; else that pid's first; -1 if it has none."""
    count, both = len(pid), len(pid) + len(wanted_pid)
    order = np.lexsort((np.arange(both) >= count, np.concatenate((begin_ns, at_ns)), np.concatenate((pid, wanted_pid))))
    latest = np.maximum.accumulate(np.where(order < count, np.arange(both), NULL))
    place = np.empty(both, dtype=np.int64)
    place[order] = latest
    found = place[count:]
    life = np.where(found == NULL, NULL, order[found]) if count else found
    right = (life != NULL) & (pid[life] == wanted_pid) & (wanted_pid != NULL)
    first = np.searchsorted(pid, wanted_pid)
    first = np.minimum(first, max(count - 1, 0))
    fallback = np.where(pid[first] == wanted_pid, first, NULL) if count else first
    return np.where(right, life, np.where(wanted_pid == NULL, NULL, fallback))
