"""Opens of a trace: one element per open."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from tracekit.analyze.columns import NULL, Bools, Codes, Ints, codes, ints
from tracekit.trace import Trace

COLUMNS = ("ts_ns", "comm", "path", "ret", "duration_ns", "flags")
_O_CREAT = 0o100


@dataclass(frozen=True)
class Opens:
    """Opens in time order; -1 is unknown, except in `ret`, whose known values `answered` tells."""

    ts_ns: Ints
    comm: Codes
    path: Codes
    ret: Ints
    answered: Bools
    duration_ns: Ints
    flags: Ints

    def __len__(self) -> int:
        return len(self.ts_ns)

    @property
    def failed(self) -> Bools:
        """Which opens returned an error."""
        return self.answered & (self.ret < 0)

    def attributes(self) -> dict[str, Codes]:
        """What may set some opens apart from the rest."""
        yes = np.where(self.failed, 0, 1).astype(np.int64)
        creates = np.where(self.flags < 0, -1, ((self.flags & _O_CREAT) != 0).astype(np.int64))
        return {
            "comm": self.comm,
            "path": self.path,
            "result": Codes(np.where(self.answered, yes, -1), ("failed", "opened")),
            "creates": Codes(creates, ("no", "yes")),
        }


def read_opens(trace: Trace) -> Opens:
    """The opens of a trace."""
    table = trace.table("open", columns=COLUMNS)
    ts_ns = ints(table, "ts_ns")
    order = np.argsort(ts_ns, kind="stable") if (np.diff(ts_ns) < 0).any() else np.arange(len(ts_ns))
    answered = np.asarray(pc.is_valid(table.column("ret")).to_numpy(), dtype=np.bool_)
    duration_ns = ints(table, "duration_ns")
    return Opens(
        ts_ns[order],
        codes(table, "comm")[order],
        codes(table, "path")[order],
        ints(table, "ret")[order],
        answered[order],
        np.where(duration_ns < 0, NULL, duration_ns)[order],
        ints(table, "flags")[order],
    )
