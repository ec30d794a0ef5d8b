"""What `tracekit.open_trace` gives: tables, results and pictures of a recording, for notebooks and programs."""

import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

import pyarrow as pa

from tracekit.errors import UsageError
from tracekit.trace import Trace, to_pandas
from tracekit.units import MAX_DURATION_NS, SECOND_NS, parse_offset

if TYPE_CHECKING:
    import pandas as pd

    from tracekit.analyze.results import Report
    from tracekit.analyze.selection import Selection
    from tracekit.analyze.shown import LatencyResult, Patterns, Picture, ReportResult

#: Seconds from the start of the recording, or a duration such as `"90s"` or `"10m"`.
Moment: TypeAlias = str | float
Table: TypeAlias = Literal[
    "block", "processes", "running", "forks", "execs", "failed_execs", "exits", "block_events", "opens", "lost"
]
Metric: TypeAlias = Literal["block.device", "block.queue", "block.total", "open", "process.lifetime"]
PictureKind: TypeAlias = Literal["latency", "heatmap", "subsecond", "rates", "timeline", "io"]
Rows = TypeVar("Rows")


def open_trace(path: str | os.PathLike[str]) -> "Recording":
    """Open a recording.

    Args:
        path: the Parquet file that `tracekit record` wrote, or a bundle of `tracekit bundle`.

    Returns:
        A `Recording`. Only the footer has been read; events are read when asked for.

    Raises:
        UsageError: there is no such file.
        TraceError: the file is empty, no Parquet, cut off, no trace, damaged, of a higher format, or lacks a column.
    """
    return Recording(Path(path))


class Events(ABC, Generic[Rows]):
    """Events as tables in time order, each with the columns that it has; `columns` tells what these mean.

    Every method takes the names of the columns that are wanted, all by default: no others are read. It raises
    `UsageError` where there is no such column or part, and `TraceError` where the file is damaged.
    """

    @property
    @abstractmethod
    def _trace(self) -> Trace: ...

    @property
    @abstractmethod
    def selection(self) -> "Selection":
        """The part of the recording that these are of."""

    @abstractmethod
    def _given(self, table: pa.Table) -> Rows:
        """An Arrow table as what this gives."""

    def _read(self, table: Table, columns: Sequence[str] | None) -> Rows:
        from tracekit.analyze.frames import read_table

        return self._given(read_table(self._trace, self.selection, table, columns))

    def columns(self, table: Table) -> Rows:
        """What the columns of a table are: `column`, `type`, `unit` and `meaning`, for example of `"opens"`.

        pandas prints as many columns as have room in a line: `.to_string()` has all.
        """
        from tracekit.analyze.frames import columns_of, type_name

        rows = [
            {"column": one.name, "type": type_name(one.type), "unit": one.unit, "meaning": one.meaning}
            for one in columns_of(table)
        ]
        return self._given(pa.Table.from_pylist(rows))

    def execs(self, columns: Sequence[str] | None = None) -> Rows:
        """Programs that started: who, which file, with which arguments."""
        return self._read("execs", columns)

    def failed_execs(self, columns: Sequence[str] | None = None) -> Rows:
        """Programs that could not start, with the error."""
        return self._read("failed_execs", columns)

    def forks(self, columns: Sequence[str] | None = None) -> Rows:
        """New processes and their parents."""
        return self._read("forks", columns)

    def exits(self, columns: Sequence[str] | None = None) -> Rows:
        """Processes that ended, and how."""
        return self._read("exits", columns)

    def running(self, columns: Sequence[str] | None = None) -> Rows:
        """Processes that ran already when the recording began."""
        return self._read("running", columns)

    def opens(self, columns: Sequence[str] | None = None) -> Rows:
        """Files that were opened, or not: path, result and duration."""
        return self._read("opens", columns)

    def block(self, columns: Sequence[str] | None = None) -> Rows:
        """Block I/O, one row a request, paired as the report does it: queue, device and total latency, depth, size.

        A latency is null where it is unknown or not to be trusted, as in the report.
        """
        return self._read("block", columns)

    def processes(self, columns: Sequence[str] | None = None) -> Rows:
        """Processes, one row each, by their starts: who started them, what they ran, how long, and how they ended.

        Of a part of a recording, those that lived meanwhile, told from their beginning to their end.
        """
        return self._read("processes", columns)

    def block_events(self, columns: Sequence[str] | None = None) -> Rows:
        """The raw events of block I/O, not paired."""
        return self._read("block_events", columns)

    def lost(self, columns: Sequence[str] | None = None) -> Rows:
        """Stretches of time in which events could not be recorded, and how many."""
        return self._read("lost", columns)


class ArrowEvents(Events[pa.Table]):
    """Events as Arrow tables."""

    def __init__(self, trace: Trace, selection: "Selection") -> None:
        self._its_trace, self._its_selection = trace, selection

    @property
    def _trace(self) -> Trace:
        return self._its_trace

    @property
    def selection(self) -> "Selection":
        """The part of the recording that these are of."""
        return self._its_selection

    def _given(self, table: pa.Table) -> pa.Table:
        return table


class Looks(Events["pd.DataFrame"]):
    """Tables as pandas frames, results and pictures, of a recording or a part of it."""

    def _given(self, table: pa.Table) -> "pd.DataFrame":
        frame = to_pandas(table)
        # Names that only other events have would be counted, too: as seen, never.
        for name in frame.select_dtypes("category"):
            frame[name] = frame[name].cat.remove_unused_categories()
        return frame

    @property
    def arrow(self) -> ArrowEvents:
        """The same tables as Arrow tables, for large ones: `trace.arrow.opens()`."""
        return ArrowEvents(self._trace, self.selection)

    def part(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        comm: str | None = None,
        disk: str | None = None,
    ) -> "Part":
        """A part of the recording, to be looked at in the same ways; `trace["10s":"20s"]` is short for a time slice.

        Args:
            start: of the first event, from the start of the recording; as it is by default, like the others.
            end: before which the last event lies, likewise.
            comm: only the processes and opens of this command, and the I/O that it submitted; of a longer name the 15
                bytes that the kernel keeps.
            disk: of I/O, only that of this disk.

        Raises:
            UsageError: there is no such stretch of time, or nothing of the command or disk in the whole recording;
                times do not count from the end.
            TraceError: the file is damaged.
        """
        from tracekit.analyze.selection import kept_name

        name = None if comm is None else kept_name(self._trace, comm)
        given = {"start_ns": _offset_ns(start), "end_ns": _offset_ns(end), "comm": name, "disk": disk}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        chosen = replace(self.selection, **changes)
        chosen.check(self._trace)
        if comm is not None or disk is not None:
            chosen.check_names(self._trace)
        return Part(self._trace, chosen)

    def __getitem__(self, when: slice) -> "Part":
        """A time slice: seconds, or durations such as `"90s"`, from the start of the recording."""
        if not isinstance(when, slice) or when.step is not None:
            raise UsageError('a slice has a start and an end, such as trace["10s":"20s"]')
        return self.part(when.start, when.stop)

    def latency(
        self,
        metric: Metric | None = None,
        *,
        disk: str | None = None,
        op: str | None = None,
        comm: str | None = None,
    ) -> "LatencyResult":
        """A distribution of the report: percentiles, modes, outliers and what sets these apart.

        Args:
            metric: by default I/O at the device, else opens, else lifetimes of processes.
            disk: with `op`, that group of the report; `comm` likewise.

        Raises:
            UsageError: the report has no such metric or group.
            TraceError: the file is damaged.
        """
        from tracekit.analyze.shown import latency_of

        group = {"disk": disk, "op": op, "comm": comm}
        return latency_of(self._trace, self.selection, metric, {k: v for k, v in group.items() if v is not None})

    def patterns(self) -> "Patterns":
        """The rhythms of the report, the most telling first: bursts, single events at equal distances, steady streams.

        Raises:
            TraceError: the file is damaged.
        """
        from tracekit.analyze.shown import patterns_of

        return patterns_of(self._trace, self.selection, self._report)

    def report(self) -> "ReportResult":
        """All that can be said: quality, findings, latencies, rhythms, and who does what.

        Raises:
            TraceError: the file is damaged.
        """
        from tracekit.analyze.shown import report_of

        return report_of(self._trace, self.selection, self._report)

    @functools.cached_property
    def _report(self) -> "Report":
        from tracekit.analyze import analyze

        return analyze(self._trace, self.selection)

    def plot(self, kind: PictureKind, **options: Any) -> "Picture":
        """A picture, as `tracekit plot` draws it; `docs/pictures.md` shows each kind and its options.

        Raises:
            UsageError: there is no such kind or option, or the picture would be empty.
            TraceError: the file is damaged.
        """
        from tracekit.analyze.shown import Picture

        return Picture.of(self._trace, self.selection, kind, **options)


class Part(Looks):
    """A stretch of time, one command or one disk of a recording."""

    def __init__(self, trace: Trace, selection: "Selection") -> None:
        self._its_trace, self._its_selection = trace, selection

    @property
    def _trace(self) -> Trace:
        return self._its_trace

    @property
    def selection(self) -> "Selection":
        """The part of the recording that this is."""
        return self._its_selection

    def __repr__(self) -> str:
        return f"<Part of {self._trace.path}: {self.selection}>"


class Recording(Trace, Looks):
    """A whole recording: a `Trace`, and what can be seen in it."""

    @property
    def _trace(self) -> Trace:
        return self

    @property
    def selection(self) -> "Selection":
        """All of it."""
        from tracekit.analyze.selection import Selection

        return Selection()


def _offset_ns(when: Moment | None) -> int | None:
    """Nanoseconds from the start of the recording."""
    if when is None:
        return None
    if isinstance(when, str):
        return parse_offset(when)
    if not 0 <= when * SECOND_NS <= MAX_DURATION_NS:
        raise UsageError(f"{when} is no time in a recording: seconds count from its start, up to a year")
    return round(when * SECOND_NS)
