"""Groups of events in which a rhythm may show: by who starts processes, by program, by command, by path."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tracekit.analyze.columns import NULL, Codes, Ints, combine, distinct_rows
from tracekit.analyze.processes import Lives
from tracekit.analyze.rhythm import MIN_CYCLES, Rhythm, Times

MAX_ANCESTORS = 8
MAX_GROUPS = 200


@dataclass(frozen=True)
class Train:
    """Events of one kind in time order, and the groups in which a rhythm may show.

    Attributes:
        life: of process starts, the position of each process; empty for other events.
        label: what each event is called in a chain.
    """

    event: str
    times: Times
    label: Codes
    life: Ints


@dataclass(frozen=True)
class Group:
    """Positions of events, and what they have in common.

    `rank` orders kinds of groups, the more telling first; `distance` orders the ancestors of the same processes, the
    nearest first; `top` is the ancestor's life.
    """

    scope: dict[str, str]
    rank: int
    rows: Ints
    distance: float = 0
    top: int = NULL


@dataclass(frozen=True)
class Candidate:
    """A group that shows a rhythm; `members` are the positions of the events in its bursts."""

    group: Group
    rhythm: Rhythm
    members: Ints
    is_round: bool = False

    @property
    def purity(self) -> float:
        """The part of the group that is in bursts."""
        return len(self.members) / len(self.group.rows)

    @property
    def told(self) -> float:
        """The part of the group that the rhythm accounts for, less by how much it varies."""
        rhythm = self.rhythm
        usual = int(np.minimum(rhythm.size, rhythm.burst_size).sum()) / rhythm.events
        return self.purity * usual - rhythm.variation


@dataclass(frozen=True)
class Thin:
    """A group whose events are not kept: its scope, its rank among kinds of groups, and its times."""

    scope: dict[str, str]
    rank: int
    times: Times


def process_groups(train: Train, lives: Lives) -> Iterator[Group]:
    """All; by each ancestor; by the program that an ancestor starts; by cgroup, path and command."""
    yield Group({"all": "process"}, 9, np.arange(len(train.life)))
    yield from by_code("cgroup", lives.cgroup[train.life], 3)
    yield from by_code("path", lives.path[train.life], 4)
    yield from by_code("comm", train.label, 5)
    branch, ancestor = train.life, lives.parent[train.life]
    rows, tops, branches, levels = [], [], [], []
    for level in range(MAX_ANCESTORS):
        known = ancestor != NULL
        rows.append(np.flatnonzero(known))
        tops.append(ancestor[known])
        branches.append(branch[known])
        levels.append(np.full(len(rows[-1]), level))
        branch, ancestor = ancestor, np.where(known, lives.parent[ancestor], NULL)
    member, top, below, away = (np.concatenate(parts) for parts in (rows, tops, branches, levels))
    for positions in _parts(top):
        name = parent_name(lives, int(top[positions[0]]))
        ancestor_life = int(top[positions[0]])
        yield Group(
            {"parent": name},
            1,
            distinct_rows(member[positions], len(train.life)),
            float(away[positions].mean()),
            ancestor_life,
        )
    path = lives.path.codes[below]
    named = np.flatnonzero(path != NULL)
    for positions in _parts(combine(top[named], path[named])) if len(named) else ():
        one = named[positions[0]]
        scope = {"parent": parent_name(lives, int(top[one])), "path": lives.path.names[path[one]]}
        rows_of_it = distinct_rows(member[named[positions]], len(train.life))
        yield Group(scope, 2, rows_of_it, float(away[named[positions]].mean()), int(top[one]))


def by_code(name: str, codes: Codes, rank: int) -> Iterator[Group]:
    """The events of each value of a column."""
    for positions in _parts(codes.codes):
        code = int(codes.codes[positions[0]])
        if code != NULL:
            yield Group({name: codes.names[code]}, rank, positions)


def _parts(keys: Ints) -> Iterator[Ints]:
    """The positions of each key that occurs often enough, the most frequent ones first."""
    values, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    ends = np.cumsum(counts)
    for index in np.argsort(-counts, kind="stable")[:MAX_GROUPS]:
        if counts[index] >= MIN_CYCLES and len(values):
            yield order[ends[index] - counts[index] : ends[index]]


def labels(lives: Lives) -> Codes:
    """The command of each process, else the last part of the path that it ran."""
    files = np.array([name.rsplit("/", 1)[-1] for name in lives.path.names], dtype=object)
    names = [*lives.comm.names, *files]
    use_path = (lives.comm.codes < 0) & (lives.exec_ns != NULL) & (lives.path.codes >= 0)
    code = np.where(use_path, lives.path.codes + len(lives.comm.names), lives.comm.codes)
    return Codes(code, tuple(str(name) for name in names))


def parent_name(lives: Lives, life: int) -> str:
    """How a process that starts others is told: its command and pid."""
    return f"{lives.name(life) or '?'} (pid {int(lives.pid[life])})"
