"""Opens that keep failing: which command, and the path that it fails on most."""

import re
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from tracekit.analyze.census import Tally
from tracekit.analyze.columns import NULL, UNKNOWN, Ints, arrow_bools, arrow_ints, below_zero, encoded, ints, number_of
from tracekit.analyze.results import OpenUse
from tracekit.analyze.selection import Selection
from tracekit.trace import Trace

_MANY, _SHARE = 20, 0.3
#: Failures that are spread over many folders are a search, as every program does it that starts: unless most are of one
#: path, or of paths on which the same process has failed before.
_SAME_PATH, _AGAIN = 0.2, 0.8
_AT_MOST = 3
#: What programs look for whether it is there or not: words of other languages, time zones, habits of interpreters.
PROBED = (
    r"/(locale|gconv|zoneinfo|terminfo|LC_MESSAGES|glibc-hwcaps)/|\.mo$|\._pth$"
    r"|(^|/)(pyvenv\.cfg|pybuilddir\.txt|package\.json)$|^/etc/(ld\.so\.|localtime$)|^/(proc/self|sys)/|^/dev/tty$"
)
#: A command that fails in more ways than this, of process and path, searches.
_MOST_WAYS = 100_000


@dataclass(frozen=True)
class FailingOpens:
    """Opens of one command that fail.

    Attributes:
        errors: names of the errors, the most frequent first.
        first: the paths that most of the failing ones ask for, all of them as often; not those that any program tries.
        often: how many of them ask for each.
        paths: how many paths they ask for in all.
    """

    comm: str
    tried: int
    failed: int
    errors: tuple[str, ...]
    first: tuple[str, ...]
    often: int
    paths: int


@dataclass
class _Failures:
    """The failing opens of a command: how often each path, and which process on which."""

    paths: Tally = field(default_factory=Tally)
    ways: set[tuple[int, str]] = field(default_factory=set)

    def add(self, pid: Ints, path: Ints, names: pa.Array) -> None:
        self.paths.add(names, np.bincount(path, minlength=len(names)))
        if len(self.ways) <= _MOST_WAYS:
            pairs = np.unique((pid << 32) | path)
            self.ways.update(
                zip((pairs >> 32).tolist(), names.take(arrow_ints(pairs & 0xFFFFFFFF)).to_pylist(), strict=True)
            )


def failing_opens(trace: Trace, selection: Selection, uses: tuple[OpenUse, ...]) -> tuple[FailingOpens, ...]:
    """The commands whose opens fail often, and not because they search.

    Args:
        uses: opens by command. The file is read again only where some of them fail often.
    """
    most = sorted(uses, key=lambda use: (-sum(use.failed.values()), use.name))[:_AT_MOST]
    suspects = [use for use in most if sum(use.failed.values()) >= max(_MANY, _SHARE * use.count)]
    found = {use.name: _Failures() for use in suspects}
    for rows in selection.batches(trace, "open", ("comm", "path", "ret", "pid")) if suspects else ():
        _add(rows, found)
    return tuple(told for use in suspects if (told := _failing(use, found[use.name])) is not None)


def _add(rows: pa.RecordBatch, wanted: dict[str, _Failures]) -> None:
    """Count the failing opens of each wanted command."""
    rows = rows.filter(arrow_bools(below_zero(rows, "ret")))
    (paths, path), (comms, comm), pid = encoded(rows, "path"), encoded(rows, "comm"), ints(rows, "pid")
    for name, failures in wanted.items():
        code = NULL if name == UNKNOWN else number_of(comms, name)
        if name == UNKNOWN or code != NULL:
            mine = np.flatnonzero((comm == code) & (path != NULL))
            failures.add(pid[mine], path[mine], paths)


def _failing(use: OpenUse, failures: _Failures) -> FailingOpens | None:
    failed, paths = sum(use.failed.values()), failures.paths
    often = int(paths.counts.max(initial=0))
    if not often:  # whether it searches cannot be told
        return None
    if often < _SAME_PATH * failed and failed - len(failures.ways) < _AGAIN * failed:
        return None
    tied = sorted(paths.names.take(arrow_ints(np.flatnonzero(paths.counts == often))).to_pylist())
    first = [name for name in tied if not re.search(PROBED, name)] or tied
    return FailingOpens(use.name, use.count, failed, tuple(use.failed), tuple(first), often, paths.distinct)
