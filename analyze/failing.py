"""Opens that keep failing: which command, and the path that it fails on most."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracekit.analyze.census import Tally
from tracekit.analyze.columns import NULL, UNKNOWN, encoded
from tracekit.analyze.results import OpenUse
from tracekit.analyze.selection import Selection
from tracekit.trace import Trace

_MANY, _SHARE = 20, 0.3
#: Failures that are spread over many folders are a search, as every program does it that starts.
_SAME_PATH = 0.2
_AT_MOST = 3


@dataclass(frozen=True)
class FailingOpens:
    """Opens of one command that fail.

    Attributes:
        errors: names of the errors, the most frequent first.
        path: that most of the failing ones ask for.
        often: how many of them.
    """

    comm: str
    tried: int
    failed: int
    errors: tuple[str, ...]
    path: str
    often: int


def failing_opens(trace: Trace, selection: Selection, uses: tuple[OpenUse, ...]) -> tuple[FailingOpens, ...]:
    """The commands whose opens fail often, and not because they search.

    Args:
        uses: opens by command. The file is read again only where some of them fail often.
    """
    most = sorted(uses, key=lambda use: (-sum(use.failed.values()), use.name))[:_AT_MOST]
    suspects = [use for use in most if sum(use.failed.values()) >= max(_MANY, _SHARE * use.count)]
    paths = {use.name: Tally() for use in suspects}
    for rows in selection.batches(trace, "open", ("comm", "path", "ret")) if suspects else ():
        for name, counts in _failed_paths(rows, paths):
            paths[name].add(encoded(rows, "path")[0], counts)
    return tuple(found for use in suspects if (found := _failing(use, paths[use.name])) is not None)


def _failed_paths(rows: pa.RecordBatch, wanted: dict[str, Tally]) -> Iterator[tuple[str, np.typing.NDArray[np.int64]]]:
    """Of each wanted command how often it fails on each path of these rows."""
    failed = pc.less(rows.column("ret"), 0).fill_null(False).to_numpy(zero_copy_only=False)
    (paths, path), (comms, comm) = encoded(rows, "path"), encoded(rows, "comm")
    for name in wanted:
        code = NULL if name == UNKNOWN else pc.index(comms, name).as_py()
        if name == UNKNOWN or code != NULL:
            mine = path[failed & (comm == code)]
            yield name, np.bincount(mine[mine != NULL], minlength=len(paths))


def _failing(use: OpenUse, paths: Tally) -> FailingOpens | None:
    failed = sum(use.failed.values())
    names = paths.busiest(1)
    often = paths.of(names[0]) if names else failed
    if often < _SAME_PATH * failed:
        return None
    return FailingOpens(use.name, use.count, failed, tuple(use.failed), names[0] if names else UNKNOWN, often)
