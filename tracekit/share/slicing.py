"""A smaller trace: a part of another, with pairs, parents and clock intact."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tracekit.analyze import Selection, analyze, raw_events
from tracekit.analyze.columns import NULL, Bools, arrow_bools, codes, ints
from tracekit.analyze.processes import Lives, read_processes
from tracekit.analyze.results import Finding
from tracekit.analyze.windows import Windows, read_windows
from tracekit.errors import UsageError
from tracekit.metadata import Anchor, Clock, Counters, Cut, Metadata
from tracekit.schema import EVENTS, RECORDED_FAMILIES
from tracekit.share.files import write_from
from tracekit.share.requests import begins_request, whole_requests
from tracekit.share.running import ChosenLives, running_at, with_ancestors, with_descendants
from tracekit.text import decode
from tracekit.trace import Trace
from tracekit.writer import TraceWriter

_KINDS_OF_LOSS = ("lost_ring_full", "lost_state_full", "lost_not_run", "lost_damaged")


@dataclass(frozen=True)
class Slice:
    """What is wanted of a trace: of each kind one of those that are named, all where none is.

    Attributes:
        start_ns: from the start of the recording; null for its start.
        end_ns: likewise; what begins then is left out.
        families: of events.
        trees: processes with all that came of them, by pid.
        comms: commands: processes that ran them, the opens of such tasks, and I/O that they submitted.
        disks: of block I/O; other families are not touched.
    """

    start_ns: int | None = None
    end_ns: int | None = None
    families: tuple[str, ...] = RECORDED_FAMILIES
    trees: tuple[int, ...] = ()
    comms: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()

    def filters(self) -> dict[str, Any]:
        """Whatever narrows it besides time, as a footer tells it."""
        named = {"tree": list(self.trees), "comm": list(self.comms), "disk": list(self.disks)}
        families = [] if set(self.families) == set(RECORDED_FAMILIES) else list(self.families)
        return {name: values for name, values in ({"events": families} | named).items() if values}


def around(trace: Trace, number: int, margin_ns: int) -> tuple[int, int]:
    """From the first event of a finding to its last, with a margin; offsets from the start of the recording.

    Args:
        trace: as a whole.
        number: of the finding, as `tracekit report` has it, from 1.
        margin_ns: before and after.

    Raises:
        UsageError: there is no such finding.
        TraceError: the file is damaged.
    """
    findings = analyze(trace).findings
    if not 1 <= number <= len(findings):
        raise UsageError(f"there is no finding {number}: the report has {len(findings)}")
    first_ns, last_ns = span_of(trace, findings[number - 1])
    return max(first_ns - margin_ns, 0), min(last_ns + 1 + margin_ns, trace.metadata.duration_ns)


def span_of(trace: Trace, finding: Finding) -> tuple[int, int]:
    """When the first event behind a finding was, and the last; offsets from the start of the recording.

    Raises:
        TraceError: the trace is damaged.
    """
    first_ns, last_ns = trace.end_ns, trace.start_ns
    for rows in raw_events(trace, Selection(), finding.where):
        ts_ns = ints(rows, "ts_ns")
        first_ns, last_ns = min(first_ns, int(ts_ns.min())), max(last_ns, int(ts_ns.max()))
    return min(first_ns, last_ns) - trace.start_ns, max(first_ns, last_ns) - trace.start_ns


def slice_trace(trace: Trace, wanted: Slice, output: Path, force: bool = False) -> Metadata:
    """Write a part of a trace.

    I/O that was under way in the part is whole, so that it may begin before or end after; processes that ran at its
    beginning are listed, as a recording lists them.

    Args:
        trace: what is cut; it stays as it is.
        wanted: the part.
        output: the trace to write.
        force: overwrite the output.

    Returns:
        The footer that was written.

    Raises:
        UsageError: there is no such part, or nothing in it.
        TraceError: the trace is damaged.
        OSError: the output cannot be written.
    """
    Selection(wanted.start_ns, wanted.end_ns).check(trace)
    for family in wanted.families:
        if family not in RECORDED_FAMILIES:
            raise UsageError(f"there is no family of events {family!r}: there are {', '.join(RECORDED_FAMILIES)}")
    return write_from(trace, output, force, lambda writer: _Cutting(trace, wanted, writer).run())


class _Cutting:
    """One slice while it is made."""

    def __init__(self, trace: Trace, wanted: Slice, writer: TraceWriter) -> None:
        self.trace, self.wanted, self.writer = trace, wanted, writer
        self.from_ns, self.to_ns = Selection(wanted.start_ns, wanted.end_ns).span(trace)
        # Where the trace begins or ends with it, what is outside of the recorded time comes along.
        self.after_ns = None if wanted.start_ns is None else self.from_ns
        self.before_ns = None if wanted.end_ns is None else self.to_ns
        self.first_ns, self.last_ns = self.from_ns, self.to_ns
        self.listed = 0
        self.lost_elsewhere = dict.fromkeys(RECORDED_FAMILIES, 0)
        self.windows = Windows.of(read_windows(trace), "process")
        self.in_tree: ChosenLives | None = None
        self.with_line: ChosenLives | None = None
        if wanted.trees or wanted.comms:
            self._choose_processes(read_processes(trace, Selection(), self.windows))

    def _choose_processes(self, lives: Lives) -> None:
        chosen = np.ones(len(lives), dtype=np.bool_)
        if self.wanted.trees:
            tops = np.isin(lives.pid, self.wanted.trees)
            if not tops.any():
                pids = ", ".join(map(str, self.wanted.trees))
                raise UsageError(f"--tree {pids}: the recording has no process of this number")
            chosen = with_descendants(lives, tops)
            self.in_tree = ChosenLives(lives, chosen)
        if self.wanted.comms:
            chosen = chosen & lives.comm.is_in(*self.wanted.comms)
        self.with_line = ChosenLives(lives, with_ancestors(lives, chosen))

    def run(self) -> Metadata:
        """Write the rows; the footer says what they are."""
        how = {"process": self._processes, "block": self._blocks, "open": self._opens}
        for family in RECORDED_FAMILIES:
            for rows in how[family]() if family in self.wanted.families else ():
                if rows.num_rows:
                    self.writer.write(family, rows)
        if not any(self.writer.rows.values()):
            self._refuse()
        self._write_lost()
        return self._footer()

    def _processes(self) -> Iterator[pa.Table]:
        """The processes that are wanted, and those that led to them."""
        if self.after_ns is not None:
            earlier = self.trace.batches(*EVENTS["process"], end_ns=self.after_ns)
            running = self._of_line(running_at(earlier, self.after_ns, self.windows, self.to_ns))
            self.listed = running.num_rows
            yield running
        for batch in self._batches("process"):
            yield self._of_line(pa.Table.from_batches([batch]))

    def _of_line(self, rows: pa.Table) -> pa.Table:
        if self.with_line is None:
            return rows
        return rows.filter(arrow_bools(self.with_line.at(ints(rows, "pid"), ints(rows, "ts_ns"))))

    def _blocks(self) -> Iterator[pa.Table]:
        for rows in whole_requests(self.trace, self._is_wanted_io, self.after_ns, self.before_ns):
            if rows.num_rows:
                ts_ns = ints(rows, "ts_ns")
                self.first_ns, self.last_ns = min(self.first_ns, int(ts_ns[0])), max(self.last_ns, int(ts_ns[-1]))
            yield rows

    def _is_wanted_io(self, rows: pa.Table) -> Bools:
        chosen = np.ones(len(rows), dtype=np.bool_)
        if self.wanted.trees or self.wanted.comms:
            chosen = begins_request(rows) & self._is_by_wanted(rows)
        if self.wanted.disks:
            chosen &= codes(rows, "disk").is_in(*self.wanted.disks)
        return chosen

    def _opens(self) -> Iterator[pa.Table]:
        for batch in self._batches("open"):
            rows = pa.Table.from_batches([batch])
            yield rows.filter(arrow_bools(self._is_by_wanted(rows)))

    def _is_by_wanted(self, rows: pa.Table) -> Bools:
        """Rows of tasks that are wanted."""
        chosen = np.ones(len(rows), dtype=np.bool_)
        if self.in_tree is not None:
            chosen &= self.in_tree.at(ints(rows, "pid"), ints(rows, "ts_ns"))
        if self.wanted.comms:
            chosen &= codes(rows, "comm").is_in(*self.wanted.comms)
        return chosen

    def _batches(self, family: str) -> Iterator[pa.RecordBatch]:
        return self.trace.batches(*EVENTS[family], start_ns=self.after_ns, end_ns=self.before_ns)

    def _refuse(self) -> None:
        """Say why there is nothing."""
        for column, names in (("comm", self.wanted.comms), ("disk", self.wanted.disks)):
            for name in names:
                Selection().of_nothing(self.trace, column, name)
        raise UsageError("nothing of this is in the recording, so there is no slice: ask for more of it")

    def _write_lost(self) -> None:
        """The windows that touch the slice: what was lost in them may have belonged to it."""
        others = set(RECORDED_FAMILIES) - set(self.wanted.families)
        for batch in self.trace.batches(*EVENTS["lost"]):
            start_ns, end_ns, family = ints(batch, "start_ns"), ints(batch, "ts_ns"), codes(batch, "lost_family")
            touching = (np.where(start_ns == NULL, end_ns, start_ns) < self.last_ns) & (end_ns >= self.first_ns)
            touching &= ~family.is_in(*others)
            for name in RECORDED_FAMILIES:
                self.lost_elsewhere[name] += int(ints(batch, "lost")[~touching & family.is_in(name)].sum())
            if touching.any():
                self.writer.write("lost", batch.filter(arrow_bools(touching)))

    def _footer(self) -> Metadata:
        whole, start_ns = self.trace.metadata, self.trace.start_ns
        name = decode(os.fsencode(self.trace.path.name))
        wanted = (self.from_ns - start_ns, self.to_ns - start_ns, self.first_ns - start_ns)
        cut = Cut(name, self.trace.rows, whole.duration_ns, *wanted, self.wanted.filters())
        return replace(
            whole,
            duration_ns=self.last_ns - self.first_ns,
            events=tuple(family for family in whole.events if family in self.wanted.families),
            clock=self._clock(whole.clock),
            counters={
                family: self._counted(family, counts)
                for family, counts in whole.counters.items()
                if family in self.wanted.families
            },
            cuts=(*whole.cuts, cut),
        )

    def _clock(self, clock: Clock) -> Clock:
        """The same clock, with anchors where the slice begins and ends."""
        if not clock.anchors:
            return clock
        ends = [Anchor(at_ns, int(clock.realtime_ns(at_ns))) for at_ns in (self.first_ns, self.last_ns)]
        between = (anchor for anchor in clock.anchors if self.first_ns < anchor.boot_ns < self.last_ns)
        return replace(clock, anchors=(ends[0], *between, ends[1]))

    def _counted(self, family: str, counts: Counters) -> Counters:
        """What was cut off counts as filtered, and so does what was lost elsewhere."""
        written = self.writer.rows[family]
        listed = self.listed if family == "process" else 0
        lost, elsewhere = {}, self.lost_elsewhere[family]
        for kind in _KINDS_OF_LOSS:
            # A window does not tell why.
            lost[kind] = max(getattr(counts, kind) - elsewhere, 0)
            elsewhere -= getattr(counts, kind) - lost[kind]
        seen = max(counts.seen + listed, written + sum(lost.values()))
        filtered = seen - written - sum(lost.values())
        return Counters(seen, filtered, written, **lost, truncated=min(counts.truncated, written))
