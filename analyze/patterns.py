"""Rhythms in process starts, opens and I/O: found in every group, told once, at the level that explains each best."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tracekit.analyze.columns import NULL, Bools, Codes, Ints, combine
from tracekit.analyze.processes import Lives
from tracekit.analyze.results import Pattern
from tracekit.analyze.rhythm import MIN_CYCLES, Rhythm, find_rhythm
from tracekit.analyze.sentences import say

MAX_ANCESTORS = 8
MAX_GROUPS = 200
MAX_CHAIN = 100
#: A pattern is worth telling if it goes on for so much of the recording.
MIN_SPAN = 0.25
#: Of two groups that show the same rhythm, the better one has at least so many of the events of the largest ...
COVERAGE = 0.7
#: ... and rhythms are the same if they share so many.
OVERLAP = 0.5
_SAME_PERIOD = 0.05


@dataclass(frozen=True)
class Train:
    """Events of one kind in time order, and the groups in which a rhythm may show.

    Attributes:
        life: of process starts, the position of each process; empty for other events.
        label: what each event is called in a chain.
    """

    event: str
    times_ns: Ints
    label: Codes
    life: Ints
    failed: Bools


@dataclass(frozen=True)
class _Group:
    """Positions of events, and what they have in common.

    `rank` orders kinds of groups, the more telling first; `distance` orders the ancestors of the same processes, the
    nearest first.
    """

    scope: dict[str, str]
    rank: int
    rows: Ints
    distance: float = 0


@dataclass(frozen=True)
class _Candidate:
    group: _Group
    rhythm: Rhythm
    members: Ints

    @property
    def purity(self) -> float:
        return len(self.members) / len(self.group.rows)


def process_patterns(lives: Lives, start_ns: int, end_ns: int) -> tuple[Pattern, ...]:
    """Rhythms in process starts: the first exec of each process, or the failed exec of one that never succeeds."""
    rows = np.flatnonzero(lives.start_ns != NULL)
    rows = rows[np.argsort(lives.start_ns[rows], kind="stable")]
    failed = lives.exec_ns[rows] == NULL
    train = Train("exec", lives.start_ns[rows], _labels(lives)[rows], rows, failed)
    chosen = _choose(train, list(_process_groups(train, lives)), start_ns, end_ns)
    return tuple(_pattern(train, one, lives) for one in chosen)


def event_patterns(train: Train, groups: dict[str, Codes], start_ns: int, end_ns: int) -> tuple[Pattern, ...]:
    """Rhythms in other events, as a whole and by each of `groups`."""
    found = [_Group({"all": train.event}, 9, np.arange(len(train.times_ns)))]
    for rank, (name, codes) in enumerate(groups.items(), 1):
        found.extend(_by_code(name, codes, rank))
    return tuple(_pattern(train, one, None) for one in _choose(train, found, start_ns, end_ns))


def without_echoes(patterns: tuple[Pattern, ...], others: tuple[Pattern, ...]) -> tuple[Pattern, ...]:
    """The `others` that do not merely follow one of the `patterns`: each process of a burst opens files, too."""
    return tuple(other for other in others if not any(_echoes(pattern, other) for pattern in patterns))


def _echoes(pattern: Pattern, other: Pattern) -> bool:
    together = min(pattern.end_ns, other.end_ns) - max(pattern.start_ns, other.start_ns)
    alike = abs(pattern.period_ns - other.period_ns) <= _SAME_PERIOD * pattern.period_ns
    return alike and together >= OVERLAP * (other.end_ns - other.start_ns)


def _labels(lives: Lives) -> Codes:
    """The command of each process, else the last part of the path that it failed to run."""
    files = np.array([name.rsplit("/", 1)[-1] for name in lives.path.names], dtype=object)
    names = [*lives.comm.names, *files]
    use_path = ((lives.exec_ns == NULL) & (lives.path.codes >= 0)) | (lives.comm.codes < 0)
    code = np.where(use_path & (lives.path.codes >= 0), lives.path.codes + len(lives.comm.names), lives.comm.codes)
    return Codes(code, tuple(str(name) for name in names))


# --- groups ----------------------------------------------------------------------------------------------------


def _process_groups(train: Train, lives: Lives) -> Iterator[_Group]:
    """All; by each ancestor; by the program that an ancestor starts; by cgroup, path and command."""
    yield _Group({"all": "process"}, 9, np.arange(len(train.life)))
    yield from _by_code("cgroup", lives.cgroup[train.life], 3)
    yield from _by_code("path", lives.path[train.life], 4)
    yield from _by_code("comm", train.label, 5)
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
        yield _Group({"parent": name}, 1, np.unique(member[positions]), float(away[positions].mean()))
    path = lives.path.codes[below]
    named = np.flatnonzero(path != NULL)
    for positions in _parts(combine(top[named], path[named])) if len(named) else ():
        one = named[positions[0]]
        scope = {"parent": parent_name(lives, int(top[one])), "path": lives.path.names[path[one]]}
        yield _Group(scope, 2, np.unique(member[named[positions]]), float(away[named[positions]].mean()))


def parent_name(lives: Lives, life: int) -> str:
    """How a process that starts others is told: its command and pid."""
    return f"{lives.name(life) or '?'} (pid {int(lives.pid[life])})"


def _by_code(name: str, codes: Codes, rank: int) -> Iterator[_Group]:
    for positions in _parts(codes.codes):
        code = int(codes.codes[positions[0]])
        if code != NULL:
            yield _Group({name: codes.names[code]}, rank, positions)


def _parts(keys: Ints) -> Iterator[Ints]:
    """The positions of each key that occurs often enough, the most frequent ones first."""
    values, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    ends = np.cumsum(counts)
    for index in np.argsort(-counts, kind="stable")[:MAX_GROUPS]:
        if counts[index] >= MIN_CYCLES and len(values):
            yield order[ends[index] - counts[index] : ends[index]]


# --- choice ----------------------------------------------------------------------------------------------------


def _choose(train: Train, groups: list[_Group], start_ns: int, end_ns: int) -> list[_Candidate]:
    """One candidate for each rhythm: of the groups that show it, the purest that holds nearly all of it."""
    found = []
    for group in groups:
        times = train.times_ns[group.rows]
        if len(times) < MIN_CYCLES or times[-1] - times[0] < MIN_SPAN * (end_ns - start_ns):
            continue
        rhythm = find_rhythm(times, start_ns, end_ns)
        if rhythm is not None and times[rhythm.last[-1]] - times[rhythm.first[0]] >= MIN_SPAN * (end_ns - start_ns):
            found.append(_Candidate(group, rhythm, group.rows[rhythm.members()]))
    found.sort(key=lambda one: (-len(one.members), one.group.rank, len(one.group.rows)))
    families: list[list[_Candidate]] = []
    for one in found:
        for family in families:
            if len(np.intersect1d(family[0].members, one.members)) >= OVERLAP * len(one.members):
                family.append(one)
                break
        else:
            families.append([one])
    return [_best(family) for family in families]


def _best(family: list[_Candidate]) -> _Candidate:
    enough = [one for one in family if len(one.members) >= COVERAGE * len(family[0].members)]
    return min(enough, key=lambda one: (-round(one.purity, 1), one.group.rank, len(one.group.rows), one.group.distance))


# --- results ---------------------------------------------------------------------------------------------------


def _pattern(train: Train, one: _Candidate, lives: Lives | None) -> Pattern:
    rhythm, times = one.rhythm, train.times_ns[one.group.rows]
    start_ns, end_ns = int(times[rhythm.first[0]]), int(times[rhythm.last[-1]])
    typical = _typical(one)
    kind = "bursts" if rhythm.burst_size > 1 else "periodic"
    codes, failing = ({}, {}) if lives is None else _exits(train, one, lives)
    chain = tuple(train.label.name(int(code)) or "?" for code in train.label.codes[typical[:MAX_CHAIN]])
    pattern = Pattern(
        kind=kind,
        event=train.event,
        scope=one.group.scope,
        start_ns=start_ns,
        end_ns=end_ns,
        cycles=rhythm.cycles,
        period_ns=rhythm.period_ns,
        pause_ns=rhythm.pause_ns,
        burst_size=rhythm.burst_size,
        burst_duration_ns=rhythm.burst_duration_ns,
        rate_per_second=round(rhythm.burst_size * 1e9 / rhythm.period_ns, 3),
        jitter=rhythm.jitter,
        events=rhythm.events,
        share=round(rhythm.events / len(train.times_ns), 4),
        clock=rhythm.clock,
        chain=chain,
        exit_codes=codes,
        sentence="",
        failing=failing,
    )
    return replace(pattern, sentence=say(pattern))


def _typical(one: _Candidate) -> Ints:
    """The events of the first whole burst of the usual size."""
    rhythm = one.rhythm
    size = rhythm.last - rhythm.first + 1
    distance = np.abs(size - rhythm.burst_size) + np.where(rhythm.whole, 0, len(one.group.rows))
    burst = int(np.argmin(distance))
    return one.group.rows[rhythm.first[burst] : rhythm.last[burst] + 1]


def _exits(train: Train, one: _Candidate, lives: Lives) -> tuple[dict[str, int], dict[str, str]]:
    """How the processes ended, and which commands end badly, the same way, in nearly every burst."""
    life = train.life[one.members]
    done = lives.exit_ns[life] != NULL
    status = np.where(lives.exit_signal[life] > 0, lives.exit_signal[life] + 1000, lives.exit_code[life])[done]
    values, counts = np.unique(status, return_counts=True)
    codes = {_status(int(value)): int(count) for value, count in zip(values, counts, strict=True)}
    label = train.label.codes[one.members][done]
    failing = {}
    for code in np.unique(label[status > 0]):
        mine = status[label == code]
        bad, often = np.unique(mine[mine > 0], return_counts=True)
        if often.max() >= 0.8 * one.rhythm.cycles:
            failing[train.label.name(int(code)) or "?"] = _status(int(bad[np.argmax(often)]))
    return codes, failing


def _status(value: int) -> str:
    return "?" if value < 0 else str(value) if value < 1000 else f"signal {value - 1000}"
