"""Which processes ran at a time, and which events are of some processes."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from tracekit.analyze.columns import NULL, Bools, Ints, arrow_bools, arrow_ints, arrow_strings, codes, ints, known
from tracekit.analyze.processes import Lives, Periods
from tracekit.analyze.windows import Windows
from tracekit.schema import EVENTS, SCHEMA
from tracekit.writer import with_own_dictionaries

_PROCESS, _FORK, _EXEC, _FAILED, _EXIT = range(5)
_FOREVER = np.iinfo(np.int64).max
#: What a row tells of a process that ran already.
_TOLD = ("pid", "tid", "comm", "ppid", "uid", "cgroup", "argv", "argv_bytes", "start_ns")


class ChosenLives:
    """Whether an event is of one of the chosen processes, by its pid and its time: a pid may be used again."""

    def __init__(self, lives: Lives, chosen: Bools) -> None:
        self._chosen = chosen
        again = np.append(False, lives.pid[1:] == lives.pid[:-1])[: len(lives)]
        # Where its beginning was missed, a process began when the one before it in its pid was gone.
        gone_ns = np.roll(np.where(lives.exit_ns == NULL, lives.begin_ns, lives.exit_ns), 1)
        begin_ns = np.where(again, np.maximum(lives.begin_ns, gone_ns + 1), lives.begin_ns)
        end_ns = np.where(lives.exit_ns == NULL, _FOREVER, lives.exit_ns)
        self._periods = Periods(lives.pid, begin_ns, end_ns)

    def at(self, pid: Ints, ts_ns: Ints) -> Bools:
        """Which events are theirs."""
        life = self._periods.at(pid, ts_ns)
        return np.asarray((life != NULL) & (pid != NULL) & np.append(self._chosen, False)[life])


def with_descendants(lives: Lives, tops: Bools) -> Bools:
    """These processes and all that came of them, by jumps that double: a tree may be deep."""
    found, above = tops.copy(), lives.parent
    for _ in range(len(lives).bit_length()):
        known = above != NULL
        found |= known & found[above]
        above = np.where(known, above[above], NULL)
    return found


def with_ancestors(lives: Lives, chosen: Bools) -> Bools:
    """These processes and those that led to them."""
    found = chosen.copy()
    new = np.flatnonzero(chosen)
    while len(new):
        above = lives.parent[new]
        above = np.unique(above[above != NULL])
        new = above[~found[above]]
        found[new] = True
    return found


def running_at(rows: Iterable[pa.RecordBatch], at_ns: int, windows: Windows, until_ns: int) -> pa.Table:
    """The processes that ran at a time, as a recording that begins then would list them.

    Args:
        rows: all events of processes before it, in time order, with all columns.
        at_ns: boot-clock time.
        windows: when events of processes were lost.
        until_ns: so far it must be known when a process began: it may end before.
    """
    table = SCHEMA.empty_table()
    for batch in rows:
        table = with_own_dictionaries(_still_running(_joined(table, batch)))
    ts_ns, start_ns = ints(table, "ts_ns"), ints(table, "start_ns")
    forked = codes(table, "event").is_in("fork") & ~windows.spanned_by(ts_ns, np.full(len(ts_ns), until_ns))
    start_ns = np.where((start_ns == NULL) & forked, ts_ns, start_ns)
    columns = {name: table.column(name) for name in _TOLD}
    columns |= {"ts_ns": arrow_ints(np.full(len(table), at_ns)), "start_ns": arrow_ints(start_ns, NULL)}
    none = arrow_ints(np.zeros(len(table), dtype=np.int64)).cast(pa.int32())
    return pa.table(columns | {"event": pa.DictionaryArray.from_arrays(none, arrow_strings(["process"]))})


def _joined(earlier: pa.Table, later: pa.RecordBatch) -> pa.Table:
    return pa.concat_tables([earlier, pa.Table.from_batches([later])], promote_options="default").unify_dictionaries()


def _still_running(rows: pa.Table) -> pa.Table:
    """One row for each process that has not ended: its first, with what the later ones tell."""
    rows = rows.filter(arrow_bools(known(rows, "pid"))).combine_chunks()
    event = codes(rows, "event")
    kind = np.array([*(EVENTS["process"].index(name) for name in event.names), NULL])[event.codes]
    ts_ns, pid = ints(rows, "ts_ns"), ints(rows, "pid")
    order = np.lexsort((ts_ns, pid))
    kind, pid = kind[order], pid[order]
    new = np.diff(pid, prepend=NULL) != 0
    begins = new | (kind == _FORK) | np.append(False, kind[:-1] == _EXIT)[: len(kind)]
    life = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(kind))[: len(first)] - 1
    lives = (np.append(pid[first][1:] != pid[first][:-1], True)[: len(first)]) & (kind[last] != _EXIT)

    def latest(chosen: Bools, column: str) -> Ints:
        """Of each process the last of the chosen rows in which a column is known; -1 if there is none."""
        found = np.full(len(first), NULL, dtype=np.int64)
        where = np.flatnonzero(chosen & rows.column(column).is_valid().to_numpy(zero_copy_only=False)[order])
        found[life[where]] = order[where]
        return np.asarray(found[lives])

    every, tried = np.ones(len(kind), dtype=np.bool_), kind == _FAILED
    sources = {name: latest(every, name) for name in ("uid", "cgroup", "start_ns")}
    sources["argv"] = sources["argv_bytes"] = latest(~tried, "argv")
    named = latest(~tried, "comm")
    sources["comm"] = np.where(named == NULL, latest(every, "comm"), named)
    sources["ppid"] = order[first][lives]
    for name in ("ts_ns", "event", "pid", "tid"):
        sources[name] = order[first][lives]
    columns = {name: rows.column(name).take(arrow_ints(source, NULL)) for name, source in sources.items()}
    ends = order[kind == _EXIT]
    columns["ppid"] = _without_the_dead(columns, ints(rows, "pid")[ends], ts_ns[ends])
    return pa.table(columns)


def _without_the_dead(running: dict[str, pa.ChunkedArray], ended: Ints, ended_ns: Ints) -> pa.Array:
    """The parents of processes, unknown where they have ended: another may have their pid soon."""
    table = pa.table({name: running[name] for name in ("ppid", "ts_ns")})
    parent, began_ns = ints(table, "ppid"), ints(table, "ts_ns")
    if not len(ended):
        return arrow_ints(parent, NULL).cast(pa.int32())
    order = np.lexsort((ended_ns, ended))
    ended, ended_ns = ended[order], ended_ns[order]
    place = np.searchsorted(ended, parent, side="right") - 1
    gone = (ended[place] == parent) & (ended_ns[place] >= began_ns)
    return arrow_ints(np.where(gone, NULL, parent), NULL).cast(pa.int32())
