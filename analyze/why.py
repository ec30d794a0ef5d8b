"""Why a program fails: the file that it could not open or run, where its failing runs agree on one."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracekit.analyze.columns import (
    NULL,
    Bools,
    Codes,
    Ints,
    arrow_ints,
    arrow_strings,
    codes,
    combine,
    ints,
    ints_of,
    known,
)
from tracekit.analyze.described import NEARLY_EACH
from tracekit.analyze.evidence import periods_of, where_of_lives
from tracekit.analyze.failing import PROBED
from tracekit.analyze.groups import MAX_ANCESTORS, labels
from tracekit.analyze.processes import Lives
from tracekit.analyze.windows import Windows, read_windows
from tracekit.trace import Trace

#: How a process ends that writes to a pipe after its reader has seen enough: `yes | head` does it every time.
SIGPIPE = 13
#: Whose exit with 1 is an answer, no failure.
ANSWERS_WITH_1 = ("[", "cmp", "diff", "egrep", "false", "fgrep", "grep", "pgrep", "pidof", "pkill", "test")

_EVENTS = ("open", "exec", "exec_failed")
_COLUMNS = ("event", "ts_ns", "pid", "path", "ret", "flags")
#: Fewer runs than this agree by chance; of more than that, so many are looked at, from the first to the last.
_FEWEST, _MOST = 3, 1_000
#: Who opens files by the million is no program that cannot start: of more opens in all nothing is said.
_MOST_OPENS = 4_000_000
#: A run is at its end if it starts no more processes than this.
_MOST_AFTER = 4
#: What a program may well open once it has failed: code that tells about it, and devices.
_CODE = r"\.(py|pyc|pm|rb|so)(\.[0-9.]+)?$|^/dev/"
#: Of open flags, how the file is to be used: to be read only, if all are 0.
_ACCESS = 3


@dataclass(frozen=True)
class Unopened:
    """What the failing runs of a program could not open, or run, at last.

    Attributes:
        life: one of the runs; all that were looked at end as it does.
        opener: who tried in it: the run itself, or a process of it that failed.
        to_run: whether it was to be run.
        folders: in how many of them a file of that name was looked for.
        times: in how many of `runs` runs.
        whole: whether these are all runs that end so.
    """

    life: int
    opener: int
    to_run: bool
    path: str
    error: str
    folders: int
    times: int
    runs: int
    whole: bool


def unopened(trace: Trace, lives: Lives, programs: Sequence[Ints]) -> tuple[Unopened | None, ...]:
    """What the failing runs of each program could not open, or run, before they ended; null where that is not clear.

    The last try that fails is told: after those before it the program went on. What is opened in another failing run,
    what programs that end well cannot open either, and what is followed by more work, explains nothing. Programs that
    could not be run are to that what files are that could not be opened.

    Args:
        programs: the lives of failing runs, of one program each. What they tried is read only if there are any.

    Raises:
        TraceError: the file is damaged.
    """
    suspects = [_Suspect.of(runs, lives) for runs in programs if len(runs)]
    looked_at = np.zeros(len(lives), dtype=np.bool_)
    for suspect in suspects:
        looked_at |= suspect.looked_at
    opens = _read(trace, lives, looked_at & (lives.pid != NULL)) if suspects else None
    if opens is None:
        return (None,) * len(programs)
    lost, verdicts = Windows.of(read_windows(trace), "open"), iter(suspects)
    return tuple(next(verdicts).verdict(opens, lives, lost) if len(runs) else None for runs in programs)


def is_failure(lives: Lives) -> Bools:
    """Which processes ended badly, and not just with an answer or because nobody read on."""
    answers = labels(lives).is_in(*ANSWERS_WITH_1) & (lives.exit_code == 1)
    return np.asarray(lives.exited_badly & (lives.exit_signal != SIGPIPE) & ~answers)


# --- opens -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Opens:
    """Opens and execs in time order: by which life, of which path and name, whether to be read; `names` are all paths.

    A file that is to be opened and one that is to be run are not the same: their numbers are even, and odd.
    """

    life: Ints
    ts_ns: Ints
    path: Ints
    base: Ints
    ret: Ints
    reads: Bools
    probed: Bools
    code: Bools
    names: Codes

    def only(self, chosen: Bools) -> "_Opens":
        return replace(self, **{one.name: getattr(self, one.name)[chosen] for one in fields(self)[:-1]})


def _read(trace: Trace, lives: Lives, wanted: Bools) -> _Opens | None:
    """The opens and execs of the wanted lives; null if there are none, or too many."""
    where, positions = where_of_lives(wanted, lives, trace.start_ns), np.flatnonzero(wanted)
    lived = periods_of(where, trace.start_ns)
    is_wanted = np.zeros(int(lives.pid.max(initial=0)) + 2, dtype=np.bool_)
    is_wanted[lives.pid[wanted]] = True
    start_ns, end_ns = trace.start_ns + (where.start_ns or 0), trace.start_ns + (where.end_ns or 0) + 1
    pieces, found = list[pa.RecordBatch](), list[Ints]()
    for rows in trace.batches(*_EVENTS, columns=_COLUMNS, start_ns=start_ns, end_ns=end_ns):
        pid = ints(rows, "pid")
        answered = known(rows, "ret") | codes(rows, "event").is_in("exec")
        mine = np.flatnonzero(is_wanted[np.minimum(pid, len(is_wanted) - 1)] & answered)
        life = lived.at(pid[mine], ints(rows, "ts_ns")[mine])
        pieces.append(rows.take(arrow_ints(mine[life != NULL])))
        found.append(positions[life[life != NULL]])
        if sum(map(len, found)) > _MOST_OPENS:
            return None
    if not any(map(len, found)):
        return None
    return _opens(pa.Table.from_batches(pieces).unify_dictionaries(), np.concatenate(found))


def _opens(table: pa.Table, life: Ints) -> _Opens:
    order = np.argsort(ints(table, "ts_ns"), kind="stable")
    path, flags = codes(table, "path"), ints(table, "flags")[order]
    event = codes(table, "event")[order]
    ran = event.is_in("exec")
    runs = ran | event.is_in("exec_failed")
    names = arrow_strings((*path.names, ""))  # the last one stands for a path that is not known
    bases = codes(pa.table({"name": pc.replace_substring_regex(names, "^.*/", "")}), "name").codes
    number = path.codes[order]
    return _Opens(
        life=life[order],
        ts_ns=ints(table, "ts_ns")[order],
        path=np.where(number == NULL, NULL, 2 * number + runs),
        base=2 * bases[number] + runs,
        ret=np.where(ran, 0, ints(table, "ret")[order]),
        reads=(flags == NULL) | (flags & _ACCESS == 0),
        probed=_fit(names, PROBED)[number] | (number == NULL),
        code=_fit(names, _CODE)[number],
        names=path,
    )


def _fit(names: pa.Array, pattern: str) -> Bools:
    return np.asarray(ints_of(pc.match_substring_regex(names, pattern).cast(pa.int8())) == 1)


# --- who is looked at ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Suspect:
    """A program whose runs fail.

    Attributes:
        runs: those that are looked at; `whole` if these are all that end the same way.
        run: of each life the run of this program that it is or belongs to, failing or not.
        failing: which lives are or belong to a failing run.
        well: which are or belong to a run that ends well, or end well themselves as one of those that may be to blame.
        last: of each failing run the process in it that failed last, of those that do so in nearly each run.
    """

    runs: Ints
    whole: bool
    run: Ints
    failing: Bools
    well: Bools
    last: Ints

    @property
    def looked_at(self) -> Bools:
        return self.failing | self.well

    @staticmethod
    def of(runs: Ints, lives: Lives) -> "_Suspect":
        label, good = labels(lives).codes, (lives.exit_ns != NULL) & (lives.exit_code == 0) & (lives.exit_signal <= 0)
        ends = combine(lives.exit_code[runs], lives.exit_signal[runs])
        alike = runs[ends == np.argmax(np.bincount(ends))]
        runs = _spread(alike)
        healthy = _spread(np.flatnonzero(good & (lives.start_ns != NULL) & (label == label[runs[0]])))
        run = _belongs_to(np.append(runs, healthy), lives)
        failing = np.isin(run, runs)
        inner = failing & is_failure(lives)
        inner[runs] = False
        pairs = np.unique(np.stack((label[inner], run[inner])), axis=1)
        often, times = np.unique(pairs[0], return_counts=True)
        rows = np.flatnonzero(inner & np.isin(label, often[times >= NEARLY_EACH * len(runs)]))
        last = np.full(len(lives), NULL, dtype=np.int64)
        rows = rows[np.argsort(_began_ns(lives)[rows], kind="stable")]
        last[run[rows]] = rows
        well = np.isin(run, healthy) | (failing & good)
        well[_spread(np.flatnonzero(good & np.isin(label, label[rows])))] = True
        return _Suspect(runs, len(runs) == len(alike), run, failing, well, last)

    def verdict(self, opens: _Opens, lives: Lives, lost: Windows) -> Unopened | None:
        """What the runs could not open, if they agree."""
        opens = opens.only(self.looked_at[opens.life])
        may_be = self._candidates(opens, lives)
        at = np.full(len(lives), NULL, dtype=np.int64)  # of each run its last candidate
        at[self.run[opens.life[may_be]]] = np.flatnonzero(may_be)
        judged = self.runs[~lost.spanned_by(_began_ns(lives)[self.runs], lives.exit_ns[self.runs])]
        agree = judged[(at[judged] != NULL) & ~self._goes_on(opens, lives, at)[judged]]
        paths, counts = np.unique(opens.path[at[agree]], return_counts=True)
        times = int(counts.max(initial=0))
        if len(judged) < _FEWEST or times < NEARLY_EACH * len(judged):
            return None
        mine = agree[opens.path[at[agree]] == paths[np.argmax(counts)]]
        one = int(at[mine[0]])
        alike = may_be & (opens.life == opens.life[one]) & (opens.base == opens.base[one])
        number = -int(opens.ret[one])
        return Unopened(
            life=int(mine[0]),
            opener=int(opens.life[one]),
            to_run=bool(opens.path[one] % 2),
            path=opens.names.names[opens.path[one] // 2],
            error=errno.errorcode.get(number, f"errno {number}"),
            folders=len(np.unique(opens.path[alike])),
            times=times,
            runs=len(judged),
            whole=self.whole and len(judged) == len(self.runs),
        )

    def _candidates(self, opens: _Opens, lives: Lives) -> Bools:
        """Opens by which a run may have failed."""
        failed, failing = opens.ret < 0, self.failing[opens.life]
        excused = np.isin(opens.path, opens.path[(failed & self.well[opens.life]) | (~failed & failing)])
        named = combine(opens.life, opens.base)  # a search that ended well
        may_be = failed & failing & ~opens.probed & ~excused & ~np.isin(named, named[~failed])
        run = self.run[opens.life]
        last = self.last[run]
        by_itself = (opens.life == run) & ((last == NULL) | (opens.ts_ns > lives.exit_ns[last]))
        return np.asarray(may_be & (by_itself | (opens.life == last)))

    def _goes_on(self, opens: _Opens, lives: Lives, at: Ints) -> Bools:
        """Which runs do more, after what they could not open, than to tell of it: start processes, or read files."""
        good = np.flatnonzero((opens.ret >= 0) & self.failing[opens.life])
        _, first = np.unique(combine(opens.life[good], opens.path[good]), return_index=True)
        new = good[first] if len(good) else good
        new = new[(opens.reads & ~opens.probed & ~opens.code)[new]]
        run = self.run[opens.life[new]]
        new, run = new[at[run] != NULL], run[at[run] != NULL]
        own = (opens.life[new] == run) | (opens.life[new] == opens.life[at[run]])
        own &= opens.path[new] // 2 != opens.path[at[run]] // 2  # a shell looks into what it could not run
        goes_on = np.zeros(len(lives), dtype=np.bool_)
        goes_on[run[own & (opens.ts_ns[new] > opens.ts_ns[at[run]])]] = True
        parts = np.flatnonzero(self.failing)
        parts = parts[at[self.run[parts]] != NULL]
        after = parts[_began_ns(lives)[parts] > opens.ts_ns[at[self.run[parts]]]]
        return np.asarray(goes_on | (np.bincount(self.run[after], minlength=len(lives)) > _MOST_AFTER))


def _spread(lives: Ints) -> Ints:
    """At most so many of them, from the first to the last."""
    return lives if len(lives) <= _MOST else lives[np.linspace(0, len(lives) - 1, _MOST).astype(np.int64)]


def _belongs_to(runs: Ints, lives: Lives) -> Ints:
    """Of each life the run that it is, or the nearest that it is below; -1 if none."""
    itself = np.full(len(lives), NULL, dtype=np.int64)
    itself[runs] = runs
    run, above = itself, lives.parent
    for _ in range(MAX_ANCESTORS):
        run = np.where((run == NULL) & (above != NULL), itself[above], run)
        above = np.where(above != NULL, lives.parent[above], NULL)
    return run


def _began_ns(lives: Lives) -> Ints:
    return np.where(lives.started_ns != NULL, lives.started_ns, lives.start_ns)
