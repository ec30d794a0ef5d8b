"""What part of a trace is looked at."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tracekit.errors import UsageError
from tracekit.schema import EVENTS
from tracekit.trace import Trace
from tracekit.units import format_ns

#: So many names are told to choose from.
_TOLD = 8


@dataclass(frozen=True)
class Selection:
    """A stretch of time, one command, one disk; null is all.

    Attributes:
        start_ns: from the start of the recording.
        end_ns: likewise; what happens then is not looked at.
        comm: events of this command only; I/O that it submitted, processes that ran it.
        disk: I/O of this disk only; it says nothing of other events.
    """

    start_ns: int | None = None
    end_ns: int | None = None
    comm: str | None = None
    disk: str | None = None

    def span(self, trace: Trace) -> tuple[int, int]:
        """Boot-clock times of its start and its end."""
        start, end = self.start_ns or 0, trace.metadata.duration_ns if self.end_ns is None else self.end_ns
        return trace.start_ns + start, trace.start_ns + min(end, trace.metadata.duration_ns)

    def check(self, trace: Trace) -> None:
        """Whether there is such a stretch of time in the trace.

        Raises:
            UsageError: there is not.
        """
        begin, length = format_ns(self.start_ns or 0), format_ns(trace.metadata.duration_ns)
        if self.start_ns is not None and self.start_ns >= trace.metadata.duration_ns:
            raise UsageError(f"the part from {begin} on is behind the end of the recording, which has {length}")
        if self.end_ns is not None and self.end_ns <= (self.start_ns or 0):
            end = format_ns(self.end_ns)
            raise UsageError(f"the part from {begin} to {end} has no length: its end must be later than its start")

    def notes(self) -> list[str]:
        """What is looked at, in words; nothing where that is everything."""
        parts = []
        if self.start_ns is not None or self.end_ns is not None:
            end = "its end" if self.end_ns is None else format_ns(self.end_ns)
            parts.append(f"from {format_ns(self.start_ns or 0)} to {end}")
        parts += [f"the command {self.comm}"] if self.comm is not None else []
        parts += [f"of I/O the disk {self.disk}"] if self.disk is not None else []
        return [f"this report is of a part of the recording: {', '.join(parts)}"] if parts else []

    def all_of(self, what: str, family: str) -> str:
        """All events of a kind that are looked at, in words: `all opens of cat in this part`."""
        whose = f" of {self.comm}" if self.comm is not None else ""
        where = f" on {self.disk}" if self.disk is not None and family == "block" else ""
        when = " in this part" if self.start_ns is not None or self.end_ns is not None else ""
        return f"all {what}{whose}{where}{when}"

    def of_nothing(self, trace: Trace, column: str, name: str) -> str:
        """What to say where nothing was found of a command or disk: that it did nothing in this part of the recording.

        Raises:
            UsageError: nor did it in any other.
        """
        counts: Counter[str] = Counter()
        for rows in trace.batches(columns=[column]):
            for entry in pc.value_counts(rows.column(column).drop_null()).to_pylist():
                counts[entry["values"]] += entry["counts"]
        what = {"comm": "command", "disk": "disk"}[column]
        if name in counts:
            return f"nothing of the {what} {name} was recorded in this part"
        most = ", ".join(name for name, _ in sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:_TOLD])
        others = f"; it has {most}{' and others' if len(counts) > _TOLD else ''}" if most else ""
        raise UsageError(f"the recording has nothing of the {what} {name}{others}")

    def batches(self, trace: Trace, family: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of a family within the stretch of time, a piece at a time."""
        return self.rows(trace, EVENTS[family], columns)

    def rows(self, trace: Trace, events: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of some events within the stretch of time, a piece at a time."""
        start_ns, end_ns = (
            None if offset is None else trace.start_ns + offset for offset in (self.start_ns, self.end_ns)
        )
        return trace.batches(*events, columns=columns, start_ns=start_ns, end_ns=end_ns)
