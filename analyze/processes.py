"""Lives of processes: what they ran, who started them, when they began and how they ended."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from tracekit.analyze.columns import NULL, Bools, Codes, Ints, codes, combine, ints
from tracekit.analyze.selection import Selection
from tracekit.analyze.windows import Windows
from tracekit.schema import EVENTS, SCHEMA
from tracekit.trace import Trace

_NAMES = ("comm", "path", "cgroup")
COLUMNS = ("ts_ns", "event", "pid", "ppid", *_NAMES, "ret", "start_ns", "exit_code", "exit_signal")
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
        path: the file that it ran last; of one that ran none, the last that it could not run.
        exec_ns: its first successful exec while recording, -1 if none.
        failed_exec_ns: its last failed exec, if none succeeded; `exec_error` is what that returned.
        folders: how many files of the same name as the last that it could not run it tried in all.
        exit_ns: when its last thread ended.
        lifetime_ns: -1 where beginning or end are unknown or not to be trusted.
        told_by: the row of the table that tells what it ran: its last exec, else what ran already.
        chosen: whether what it ran is looked at; the others show who started whom.
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
    folders: Ints
    forked: Bools
    exit_ns: Ints
    exit_code: Ints
    exit_signal: Ints
    lifetime_ns: Ints
    told_by: Ints
    chosen: Bools
    untrusted: int

    def __len__(self) -> int:
        return len(self.pid)

    @property
    def start_ns(self) -> Ints:
        """When it started to run a program of its own, its first exec; -1 if it ran none, or is not looked at."""
        return np.where(self.chosen, self.exec_ns, NULL)

    @property
    def tried_ns(self) -> Ints:
        """When it ran a program of its own, or at last could not; -1 if neither, or if it is not looked at."""
        return np.where(self.chosen, np.maximum(self.exec_ns, self.failed_exec_ns), NULL)

    @property
    def seen(self) -> Bools:
        """Which did something while recording, and not only ran already."""
        return np.asarray(self.forked | (self.tried_ns != NULL) | (self.exit_ns != NULL))

    @property
    def exited_badly(self) -> Bools:
        """Which ended with an exit code other than 0, or by a signal."""
        return np.asarray((self.exit_ns != NULL) & ((self.exit_code > 0) | (self.exit_signal > 0)))

    def only(self, started: Bools, lived: Bools) -> "Lives":
        """The same, of which these program starts and lifetimes are looked at."""
        return replace(self, chosen=started, lifetime_ns=np.where(lived, self.lifetime_ns, NULL))

    def name(self, life: int) -> str | None:
        """What a process is called: its command, else the file it ran."""
        return self.comm.name(int(self.comm.codes[life])) or self.path.name(int(self.path.codes[life]))


@dataclass(frozen=True)
class _Rows:
    """Rows of the process family sorted by pid, then time; `life` numbers the processes."""

    ts_ns: Ints
    kind: Any
    pid: Ints
    columns: dict[str, Ints]
    names: dict[str, Codes]
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
    batches = replace(selection, start_ns=None).batches(trace, "process", COLUMNS)
    return _from_columns(_columns([pa.Table.from_batches([rows]) for rows in batches]), windows)


def from_table(table: pa.Table, windows: Windows) -> Lives:
    """The same for rows already at hand, in any order."""
    return _from_columns(_columns([table.select(COLUMNS)]), windows)


def _columns(tables: list[pa.Table]) -> dict[str, pa.Table]:
    """Each column by itself, so that it can be let go of."""
    none = pa.schema([SCHEMA.field(name) for name in COLUMNS])
    whole = pa.concat_tables(tables) if tables else none.empty_table()
    return {name: whole.select([name]).unify_dictionaries() for name in COLUMNS}


def _from_columns(columns: dict[str, pa.Table], windows: Windows) -> Lives:
    rows = _sorted_rows(columns)
    size = int(rows.life[-1]) + 1 if len(rows.life) else 0
    return _lives(rows, size, windows)


def _sorted_rows(given: dict[str, pa.Table]) -> _Rows:
    """The rows, one for each parent that has none before them.

    Each column is taken from those that are given, so that none is held twice, and those of small numbers as such: a
    recording has many millions.
    """

    def taken(name: str) -> Ints:
        pa.default_memory_pool().release_unused()  # what was taken before is needed here no more
        return ints(given.pop(name), name)

    def small(values: Ints) -> Ints:
        return whole(values, NULL)[order].astype(np.int32)

    def whole(values: Ints, filler: Ints | int) -> Ints:
        return np.concatenate((np.full(len(strangers), filler, dtype=np.int64), values))

    event = codes(given.pop("event"), "event")
    kinds = np.array([EVENTS["process"].index(name) for name in event.names] or [0], dtype=np.int64)
    pid, ppid = taken("pid"), taken("ppid")
    strangers = np.setdiff1d(ppid, np.append(pid, NULL))
    ts_ns, pid = whole(taken("ts_ns"), _EVER), whole(pid, strangers)
    order = np.lexsort((ts_ns, pid))
    ts_ns, pid, kind = ts_ns[order], pid[order], whole(kinds[event.codes], _PROCESS)[order].astype(np.int8)
    columns = {
        "ppid": small(ppid),
        "row": small(np.arange(len(event))),
        "start_ns": whole(taken("start_ns"), NULL)[order],
    }
    del ppid, event
    columns |= {name: small(taken(name)) for name in ("ret", "exit_code", "exit_signal")}
    names: dict[str, Codes] = {}
    for name in _NAMES:
        one = codes(given.pop(name), name)
        names[name] = Codes(small(one.codes), one.names)
    pa.default_memory_pool().release_unused()
    new_pid = np.diff(pid, prepend=_EVER) != 0
    after_exit = np.append(False, kind[:-1] == _EXIT)[: len(kind)]
    nobody = pid == NULL  # an imported trace may not know: each row is then a process of its own
    life = np.cumsum(new_pid | after_exit | (kind == _FORK) | nobody) - 1
    return _Rows(ts_ns, kind, pid, columns, names, life)


def _lives(rows: _Rows, size: int, windows: Windows) -> Lives:
    column, kind, every = rows.columns, rows.kind, np.ones(len(rows.kind), dtype=np.bool_)
    comms, paths, cgroups = (rows.names[name] for name in _NAMES)
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
    comm = rows.last(kind == _EXIT, comms.codes, size)
    for named in ((kind != _EXIT) & (comms.codes != NULL), kind == _EXEC):
        better = rows.last(named, comms.codes, size)
        comm = np.where(better != NULL, better, comm)
    ran, failed = kind == _EXEC, kind == _FAILED
    path = np.where(exec_ns != NULL, rows.last(ran, paths.codes, size), rows.last(failed, paths.codes, size))
    told_by = rows.last(ran, column["row"], size)
    seen_ns = rows.first(every, rows.ts_ns, size)
    return Lives(
        pid=pid,
        ppid=ppid,
        parent=who_lived(pid, begin_ns, ppid, seen_ns),
        comm=Codes(comm, comms.names),
        path=Codes(path, paths.names),
        cgroup=Codes(rows.last(cgroups.codes != NULL, cgroups.codes, size), cgroups.names),
        begin_ns=begin_ns,
        started_ns=started_ns,
        exec_ns=exec_ns,
        failed_exec_ns=np.where(exec_ns == NULL, failed_ns, NULL),
        exec_error=rows.last(failed, column["ret"], size),
        folders=_folders(rows, failed, size),
        forked=fork_ns != NULL,
        exit_ns=exit_ns,
        exit_code=rows.last(kind == _EXIT, column["exit_code"], size),
        exit_signal=rows.last(kind == _EXIT, column["exit_signal"], size),
        lifetime_ns=np.where(known & ~doubtful, np.maximum(exit_ns - started_ns, 0), NULL),
        told_by=np.where(told_by != NULL, told_by, rows.last((kind == _PROCESS) | failed, column["row"], size)),
        chosen=np.ones(size, dtype=np.bool_),
        untrusted=int(doubtful.sum()),
    )


def _folders(rows: _Rows, failed: Bools, size: int) -> Ints:
    """How many files of the same name as the last one that it could not run each life tried: a search has many."""
    numbers: dict[str, int] = {}
    bases = [numbers.setdefault(name.rsplit("/", 1)[-1], len(numbers)) for name in rows.names["path"].names]
    life, path = rows.life[failed], rows.names["path"].codes[failed]
    base = np.array([*bases, NULL], dtype=np.int64)[path]  # the last one stands for a path that is not known
    last = np.full(size, NULL, dtype=np.int64)
    last[life] = base
    alike = (base == last[life]) & (base != NULL)
    _, tried = np.unique(combine(life[alike], path[alike]), return_index=True)
    return np.bincount(life[alike][tried], minlength=size)


class Periods:
    """Who had a pid at a time, of some who each had one from a time to a time: a pid may be used again."""

    def __init__(self, pid: Ints, begin_ns: Ints, end_ns: Ints) -> None:
        self._place = np.lexsort((begin_ns, pid))
        self._pid, self._end_ns = pid[self._place], end_ns[self._place]
        self._moments = np.unique(begin_ns)
        self._keys = self._key(self._pid, begin_ns[self._place])

    def _key(self, pid: Ints, at_ns: Ints) -> Ints:
        return pid * (len(self._moments) + 1) + np.searchsorted(self._moments, at_ns, side="right")

    def at(self, pid: Ints, at_ns: Ints) -> Ints:
        """The position of whoever had each pid at a time; -1 if nobody."""
        if not len(self._pid):
            return np.full(len(pid), NULL)
        last = np.searchsorted(self._keys, self._key(pid, at_ns), side="right") - 1
        mine = (last >= 0) & (self._pid[last] == pid) & (at_ns <= self._end_ns[last])
        return np.where(mine, self._place[last], NULL)


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
