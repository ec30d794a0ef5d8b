"""What part of a trace is looked at."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tracekit.errors import UsageError
from tracekit.schema import EVENTS
from tracekit.text import command_name, meant
from tracekit.trace import Trace
from tracekit.units import format_ns

#: So many names are told to choose from.
_TOLD = 8
#: Events that tell what a command does. At other steps of an I/O, it only happens to be on the CPU.
_ACTS = ("fork", "exec", "exec_failed", "exit", "block_start", "open")


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
        begin, length = _offset(self.start_ns or 0), format_ns(trace.metadata.duration_ns)
        if self.start_ns is not None and self.start_ns >= trace.metadata.duration_ns:
            raise UsageError(f"the part from {begin} on is after the end of the recording, which has {length}")
        if self.end_ns is not None and self.end_ns <= (self.start_ns or 0):
            end = _offset(self.end_ns)
            raise UsageError(f"the part from {begin} to {end} has no length: its end must be later than its start")

    def notes(self) -> list[str]:
        """What is looked at, in words; nothing where that is everything."""
        parts = []
        if self.start_ns is not None or self.end_ns is not None:
            end = "its end" if self.end_ns is None else _offset(self.end_ns)
            parts.append(f"from {_offset(self.start_ns or 0)} to {end}")
        parts += [f"the command {self.comm}"] if self.comm is not None else []
        parts += [f"of I/O the disk {self.disk}"] if self.disk is not None else []
        return [f"this report is of a part of the recording: {', '.join(parts)}"] if parts else []

    def all_of(self, what: str, family: str) -> str:
        """All events of a kind that are looked at, in words: `all opens of cat in this part`."""
        whose = f" of {self.comm}" if self.comm is not None else ""
        where = f" on {self.disk}" if self.disk is not None and family == "block" else ""
        when = " in this part" if self.start_ns is not None or self.end_ns is not None else ""
        return f"all {what}{whose}{where}{when}"

    def check_names(self, trace: Trace) -> None:
        """Whether the trace has anything of the command and of the disk; reads until it has found it.

        Raises:
            UsageError: it has not.
        """
        for column, name in (("comm", self.comm), ("disk", self.disk)):
            if name is not None and not any(_has(rows, name) for rows in _acting(trace, column)):
                self.of_nothing(trace, column, name)

    def of_nothing(self, trace: Trace, column: str, name: str) -> str:
        """What to say where nothing was found of a command or disk: that it did nothing in this part of the recording.

        Raises:
            UsageError: nor did it in any other, nor did it run when the recording began.
        """
        counts: Counter[str] = Counter()
        for rows in _acting(trace, column):
            for entry in pc.value_counts(rows.column(column).drop_null()).to_pylist():
                counts[entry["values"]] += entry["counts"]
        what = {"comm": "command", "disk": "disk"}[column]
        if name in counts or any(_has(rows, name) for rows in trace.batches("process", columns=[column])):
            return f"nothing of the {what} {name} was recorded in this part"
        near = meant(name, counts)
        most = ", ".join(name for name, _ in sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:_TOLD])
        has = f"has {most}{' and others' if len(counts) > _TOLD else ''}"
        there = f": did you mean {near!r}? It {has}" if near else f"; it {has}" if most else ""
        raise UsageError(f"the recording has nothing of the {what} {name}{there}")

    def batches(self, trace: Trace, family: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of a family within the stretch of time, a piece at a time."""
        return self.rows(trace, EVENTS[family], columns)

    def rows(self, trace: Trace, events: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of some events within the stretch of time, a piece at a time."""
        start_ns, end_ns = (
            None if offset is None else trace.start_ns + offset for offset in (self.start_ns, self.end_ns)
        )
        return trace.batches(*events, columns=columns, start_ns=start_ns, end_ns=end_ns)


def _offset(offset_ns: int) -> str:
    """A time from the start of the recording, in words."""
    return format_ns(offset_ns) if offset_ns else "0 s"


def kept_name(trace: Trace, name: str) -> str:
    """A command's name as the trace has it: where it has not all of a long one, what the kernel keeps of it.

    Raises:
        TraceError: the file is damaged.
    """
    kept = command_name(name)
    whole = kept == name or any(_has(rows, name) for rows in _acting(trace, "comm"))
    return name if whole else kept


def _acting(trace: Trace, column: str) -> Iterator[pa.RecordBatch]:
    """The column of events whose command or disk did something."""
    if column == "disk":
        return trace.batches(*EVENTS["block"], columns=[column])
    # Where the source had no starts, what is issued was submitted then.
    return trace.batches(*_ACTS, *(() if "block_start" in trace.counts else ("block_issue",)), columns=[column])


def _has(rows: pa.RecordBatch, name: str) -> bool:
    return bool(pc.any(pc.equal(rows.column(0), name)).as_py())
