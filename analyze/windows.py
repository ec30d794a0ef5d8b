"""Stretches of time in which events of a family were lost."""

from dataclasses import dataclass

import numpy as np

from tracekit.analyze.columns import UNKNOWN, Bools, Ints, codes, ints
from tracekit.analyze.results import LostWindow
from tracekit.trace import Trace


@dataclass(frozen=True)
class Windows:
    """Windows (`start_ns`, `end_ns`], joined where they overlap, in time order."""

    start_ns: Ints
    end_ns: Ints

    @staticmethod
    def of(windows: tuple[LostWindow, ...], family: str) -> "Windows":
        """The windows of one family, and those of which nobody knows what was lost."""
        mine = sorted((w.start_ns, w.end_ns) for w in windows if w.family in (family, UNKNOWN))
        joined: list[list[int]] = []
        for start, end in mine:
            if joined and start <= joined[-1][1]:
                joined[-1][1] = max(joined[-1][1], end)
            else:
                joined.append([start, end])
        both = np.array(joined, dtype=np.int64).reshape(-1, 2)
        return Windows(both[:, 0], both[:, 1])

    def spanned_by(self, from_ns: Ints, to_ns: Ints) -> Bools:
        """Which intervals have a window, or a part of one, within."""
        if not len(self.start_ns):
            return np.zeros(len(from_ns), dtype=np.bool_)
        following = np.searchsorted(self.end_ns, from_ns, side="left")
        start = np.append(self.start_ns, np.iinfo(np.int64).max)[following]
        return np.asarray(start < to_ns)


def read_windows(trace: Trace) -> tuple[LostWindow, ...]:
    """The lost windows of a trace, in time order."""
    table = trace.table("lost", columns=("ts_ns", "start_ns", "lost", "lost_family"))
    family = codes(table, "lost_family")
    rows = zip(ints(table, "start_ns"), ints(table, "ts_ns"), family.codes, ints(table, "lost"), strict=True)
    return tuple(
        sorted(
            (
                LostWindow(int(a if a >= 0 else b), int(b), family.name(int(f)) or UNKNOWN, max(int(n), 0))
                for a, b, f, n in rows
            ),
            key=lambda w: (w.start_ns, w.end_ns, w.family),
        )
    )
