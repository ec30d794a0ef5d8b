"""Opens of a trace: one element per open."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa

from tracekit.analyze.census import LOOKED_AT, MOST, Census
from tracekit.analyze.columns import NULL, Bools, Codes, Ints, arrow_ints, encoded, ints, known
from tracekit.analyze.contrast import yes_no
from tracekit.analyze.selection import Selection
from tracekit.errors import TraceError
from tracekit.trace import Trace

COLUMNS = ("ts_ns", "comm", "cgroup", "path", "ret", "duration_ns", "flags")
_O_CREAT = 0o100


@dataclass(frozen=True)
class Opens:
    """Opens in time order; -1 is unknown, except in `ret`, whose known values `answered` tells.

    Attributes:
        path: of the paths that are looked at one by one.
        file: number of the path in `files`, all paths of this piece of the trace.
    """

    ts_ns: Ints
    comm: Codes
    cgroup: Codes
    path: Codes
    file: Ints
    ret: Ints
    answered: Bools
    duration_ns: Ints
    flags: Ints
    files: pa.Array

    def __len__(self) -> int:
        return len(self.ts_ns)

    def __getitem__(self, chosen: Ints | Bools | slice) -> "Opens":
        return replace(self, **{one.name: getattr(self, one.name)[chosen] for one in fields(self)[:-1]})

    def paths(self, chosen: Ints) -> Any:
        """The paths of some opens, as an array of objects; null is None."""
        number = self.file[chosen]
        found = np.empty(len(number), dtype=object)
        found[:] = self.files.take(arrow_ints(number, NULL)).to_pylist()
        return found

    @property
    def failed(self) -> Bools:
        """Which opens returned an error."""
        return self.answered & (self.ret < 0)

    def attributes(self) -> dict[str, Codes]:
        """What may set some opens apart from the rest."""
        return {
            "comm": self.comm.first(LOOKED_AT),
            "path": self.path,
            "result": yes_no(~self.failed, self.answered, "opened", "failed"),
            "creates": yes_no((self.flags & _O_CREAT) != 0, self.flags >= 0),
        }


def read_opens(trace: Trace, selection: Selection, census: Census) -> Iterator[Opens]:
    """The opens of a trace that were selected, a piece at a time."""
    names = {column: census.names("open", column) for column in ("cgroup", "path")}
    names["comm"] = census.names("open", "comm", MOST)
    until_ns = np.iinfo(np.int64).min
    for rows in selection.batches(trace, "open", COLUMNS):
        found = _from_rows(rows, {column: its.codes(rows, column) for column, its in names.items()})
        if len(found) and found.ts_ns[0] < until_ns:
            raise TraceError(f"{trace.path}: the opens are not in time order: the file is damaged; sort it by ts_ns")
        until_ns = int(found.ts_ns[-1]) if len(found) else until_ns
        yield found if selection.comm is None else found[found.comm.is_in(selection.comm)]


def _from_rows(rows: pa.RecordBatch, names: dict[str, Codes]) -> Opens:
    duration_ns = ints(rows, "duration_ns")
    dictionary, file = encoded(rows, "path")
    found = Opens(
        ints(rows, "ts_ns"),
        names["comm"],
        names["cgroup"],
        names["path"],
        file,
        ints(rows, "ret"),
        known(rows, "ret"),
        np.where(duration_ns < 0, NULL, duration_ns),
        ints(rows, "flags"),
        dictionary,
    )
    if (found.ts_ns[1:] < found.ts_ns[:-1]).any():
        return found[np.argsort(found.ts_ns, kind="stable")]
    return found
