"""From a trace to a report: what each family of events tells, together."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tracekit.analyze.beside import Heard, beside
from tracekit.analyze.columns import NULL
from tracekit.analyze.families import BlockTold, OpenTold, ProcessTold, tell_blocks, tell_opens, tell_processes
from tracekit.analyze.findings import findings
from tracekit.analyze.heap import keep_freed_memory
from tracekit.analyze.patterns import without_echoes
from tracekit.analyze.quality import quality
from tracekit.analyze.results import LostWindow, Pattern, Report, TraceFacts, Workload
from tracekit.analyze.selection import Selection
from tracekit.analyze.windows import read_windows
from tracekit.schema import EVENTS, FAMILY_OF, RECORDED_FAMILIES
from tracekit.trace import Trace
from tracekit.units import SECOND_NS

ALL = Selection()
#: With fewer events than this a second process has hardly begun when it is done.
_LARGE = 4_000_000


def analyze(trace: Trace, selection: Selection = ALL, *, processes: bool = True) -> Report:
    """Work out what a recording means.

    Args:
        trace: as `tracekit.open_trace` gives it.
        selection: the part of it to look at.
        processes: for a large trace, start a second process, which takes a third less time.

    Returns:
        A `Report`: data and its quality. The same trace always gives the same report.

    Raises:
        TraceError: the file is damaged.
        UsageError: the recording has no such part.
    """
    selection.check(trace)
    if not processes or trace.rows < _LARGE:
        families = tell_processes(trace, selection), tell_blocks(trace, selection), tell_opens(trace, selection)
    else:
        keep_freed_memory()
        with beside(_tell_blocks, trace, selection, Heard(trace.on_read)) as blocks:
            lives, opens = tell_processes(trace, selection), tell_opens(trace, selection)
            families = lives, blocks(), opens
    return _Analysis(trace, selection, *families).report()


def _tell_blocks(trace: Trace, selection: Selection, on_read: Callable[[int], None]) -> BlockTold:
    trace.on_read = on_read
    keep_freed_memory()
    return tell_blocks(trace, selection)


def rows_to_read(trace: Trace, selection: Selection = ALL) -> int:
    """How many rows `analyze` reads at most: each family for its names and for what it tells; opens for failures."""
    start_ns, end_ns = selection.span(trace)
    passes = {"process": 2, "block": 2, "open": 3}
    return sum(n * trace.rows_of(*EVENTS[family], start_ns=start_ns, end_ns=end_ns) for family, n in passes.items())


@dataclass(frozen=True)
class _Analysis:
    """The report of what the families tell."""

    trace: Trace
    selection: Selection
    processes: ProcessTold
    blocks: BlockTold
    opens: OpenTold

    def report(self) -> Report:
        """All of it."""
        lost = read_windows(self.trace)
        start_ns, end_ns = self.selection.span(self.trace)
        missing = {family: _lost(lost, family, start_ns, end_ns) for family in RECORDED_FAMILIES}
        latency = (*self.blocks.latency, *self.opens.latency, *self.processes.latency)
        latency = tuple(replace(one, lost=missing[one.metric.split(".")[0]]) for one in latency)
        patterns, lives, blocks = self._patterns(lost), self.processes.lives, self.blocks
        opened = self.opens.uses.lists["by_comm"]
        anything = self.selection != ALL or bool(blocks.doubts.total or opened or lives.seen.any())
        told = quality(self.trace.metadata, lost, blocks.doubts, blocks.unpaired, lives.untrusted, anything)
        workload = self._workload(missing)
        return Report(
            trace=self._facts(lost, end_ns - start_ns),
            quality=replace(told, notes=(*self.selection.notes(), *self._of_nothing(), *told.notes)),
            latency=latency,
            patterns=patterns,
            workload=workload,
            findings=findings(
                self.trace, self.selection, latency, patterns, lives, workload, self.opens.failing, blocks.doubts.failed
            ),
        )

    def _of_nothing(self) -> Iterator[str]:
        """What is said of a command or disk that was asked for and did nothing."""
        lives, (blocks, opens) = self.processes.lives, (one.uses.lists["by_comm"] for one in (self.blocks, self.opens))
        ran = ((lives.start_ns != NULL) | (lives.lifetime_ns != NULL)).any()
        for column, name, found in (
            ("comm", self.selection.comm, blocks or opens or ran),
            ("disk", self.selection.disk, self.blocks.doubts.total),
        ):
            if name is not None and not found:
                yield self.selection.of_nothing(self.trace, column, name)

    def _facts(self, lost: tuple[LostWindow, ...], duration_ns: int) -> TraceFacts:
        metadata = self.trace.metadata
        return TraceFacts(
            str(self.trace.path),
            metadata.format,
            metadata.kernel,
            self._wall_clock() if metadata.clock.anchors else None,
            self.trace.start_ns,
            duration_ns,
            self.processes.events | self.blocks.events | self.opens.events | ({"lost": len(lost)} if lost else {}),
            metadata.complete,
        )

    def _wall_clock(self) -> str | None:
        try:
            start_ns, _ = self.selection.span(self.trace)
            whole, rest = divmod(int(self.trace.metadata.clock.realtime_ns(start_ns)), SECOND_NS)
            return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
        except (ValueError, OverflowError, OSError):
            return None

    def _workload(self, missing: dict[str, int]) -> Workload:
        families = {"process": self.processes.uses, "block": self.blocks.uses, "open": self.opens.uses}
        return Workload(
            **{family: uses.lists for family, uses in families.items()},
            omitted={f"{family}.{name}": n for family, uses in families.items() for name, n in uses.omitted.items()},
            lost={name: count for name, count in missing.items() if count},
        )

    def _patterns(self, lost: tuple[LostWindow, ...]) -> tuple[Pattern, ...]:
        """The patterns of all families; processes come first, and others follow what they do."""
        found: tuple[Pattern, ...] = ()
        for family in (self.processes, self.blocks, self.opens):
            found += without_echoes(found, family.patterns)
        found = tuple(replace(p, lost=_lost(lost, FAMILY_OF[p.event], p.start_ns, p.end_ns)) for p in found)
        return tuple(sorted(found, key=lambda one: one.place))


def _lost(lost: tuple[LostWindow, ...], family: str, start_ns: int, end_ns: int) -> int:
    """Events of a family that were lost between two times."""
    return sum(one.lost for one in lost if one.family == family and one.start_ns < end_ns and one.end_ns > start_ns)
