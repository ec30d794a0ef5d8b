"""From a trace to a report: read, pair, measure, look for rhythms, tell."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from tracekit.analyze.ahead import ahead
from tracekit.analyze.blocks import BlockIO, BlockStream, Submissions, measured, read_blocks, spans
from tracekit.analyze.census import LOOKED_AT, Tally, take_census
from tracekit.analyze.columns import NULL, Codes, Ints, limited
from tracekit.analyze.combinations import Combined, Combiner
from tracekit.analyze.contrast import Field
from tracekit.analyze.failing import failing_opens
from tracekit.analyze.findings import findings
from tracekit.analyze.latency import latencies
from tracekit.analyze.opens import Opens, read_opens
from tracekit.analyze.patterns import process_patterns, without_echoes
from tracekit.analyze.processes import Lives, read_processes
from tracekit.analyze.quality import Doubts, quality
from tracekit.analyze.results import Latency, Pattern, Report, TraceFacts
from tracekit.analyze.selection import Selection
from tracekit.analyze.spread import Frame, Grouping, Sample, Spread
from tracekit.analyze.trains import TrainCollector
from tracekit.analyze.windows import Windows, read_windows
from tracekit.analyze.workload import Uses
from tracekit.schema import FAMILY_OF, RECORDED_FAMILIES
from tracekit.trace import Trace
from tracekit.units import SECOND_NS

#: So many commands have distributions of their own, if they have so many values.
MAX_COMMANDS, MIN_COMMAND_COUNT = 10, 30
MAX_DISKS_AND_OPS = 48
ALL = Selection()


def analyze(trace: Trace, selection: Selection = ALL) -> Report:
    """Work out what a recording means.

    Args:
        trace: as `tracekit.open_trace` gives it.
        selection: the part of it to look at.

    Returns:
        A `Report`: data and its quality. The same trace always gives the same report.

    Raises:
        TraceError: the file is damaged.
        UsageError: the recording has no such part.
    """
    selection.check(trace)
    return _Analysis(trace, selection).report()


class _Analysis:
    """Two passes over the file: who is in it, and what they did."""

    def __init__(self, trace: Trace, selection: Selection) -> None:
        self.trace, self.selection = trace, selection
        self.start_ns, self.end_ns = selection.span(trace)
        self.census = take_census(trace, selection)
        self.lost = read_windows(trace)
        self.uses, self.doubts = Uses(self.census), Doubts()
        self.resolution_ns = trace.metadata.clock.resolution_ns

    def report(self) -> Report:
        """All of it."""
        stream = BlockStream(self.census, Windows.of(self.lost, "block"), self.selection.disk)
        with ThreadPoolExecutor() as pool:  # the families beside each other
            later = pool.submit(self._opens), pool.submit(self._processes)
            block_latency, of_blocks = self._blocks(stream)
            (open_latency, of_opens), (lives, lifetimes, of_processes) = later[0].result(), later[1].result()
        missing = {family: self._lost(family, self.start_ns, self.end_ns) for family in RECORDED_FAMILIES}
        latency = (*block_latency, *open_latency, *lifetimes)
        latency = tuple(replace(one, lost=missing[one.metric.split(".")[0]]) for one in latency)
        patterns = self._patterns(of_processes, of_blocks, of_opens)
        workload = replace(self.uses.workload(lives), lost={name: count for name, count in missing.items() if count})
        failing = failing_opens(self.trace, self.selection, workload.open["by_comm"])
        anything = self.selection != ALL or bool(self.doubts.total or workload.open["by_comm"] or lives.seen.any())
        told = quality(self.trace.metadata, self.lost, self.doubts, stream.unpaired, lives.untrusted, anything)
        return Report(
            trace=self._facts(),
            quality=replace(told, notes=(*self.selection.notes(), *told.notes)),
            latency=latency,
            patterns=patterns,
            workload=workload,
            findings=findings(latency, patterns, lives, failing, self.doubts.failed, self.trace.start_ns),
        )

    def _processes(self) -> tuple[Lives, list[Latency], tuple[Pattern, ...]]:
        """Processes, how long they live, and the rhythms in their starts."""
        lives = self._lives()
        return lives, self._lifetimes(lives), process_patterns(lives, self.start_ns, self.end_ns)

    def _lives(self) -> Lives:
        lives = read_processes(self.trace, self.selection, Windows.of(self.lost, "process"))
        if self.selection == ALL:
            return lives
        chosen = np.ones(len(lives), dtype=np.bool_)
        if self.selection.comm is not None:
            chosen &= lives.comm.is_in(self.selection.comm)
        within = (lives.started_ns >= self.start_ns) | (lives.exit_ns >= self.start_ns)
        return lives.only(chosen & (lives.start_ns >= self.start_ns), chosen & within)

    def _facts(self) -> TraceFacts:
        metadata = self.trace.metadata
        lost = {"lost": len(self.lost)} if self.lost else {}
        return TraceFacts(
            str(self.trace.path),
            metadata.format,
            metadata.kernel,
            self._wall_clock() if metadata.clock.anchors else None,
            self.trace.start_ns,
            self.end_ns - self.start_ns,
            self.census.events() | lost,
            metadata.complete,
        )

    def _wall_clock(self) -> str | None:
        try:
            whole, rest = divmod(int(self.trace.metadata.clock.realtime_ns(self.start_ns)), SECOND_NS)
            return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
        except (ValueError, OverflowError, OSError):
            return None

    def _lost(self, family: str, start_ns: int, end_ns: int) -> int:
        """Events of a family that were lost between two times."""
        return sum(
            one.lost for one in self.lost if one.family == family and one.start_ns < end_ns and one.end_ns > start_ns
        )

    # --- latency ---

    def _spread(self, metric: str, most: int, groupings: Sequence[Grouping], known: Combined) -> Spread:
        fields = {name: Field.of(codes) for name, codes in known.attributes.items()}
        frame = Frame(self.start_ns, self.end_ns - self.start_ns, self.trace.start_ns)
        return Spread(metric, frame, most, tuple(groupings), fields)

    def _by_command(self, tally: Tally) -> Grouping:
        """The commands that have most of something."""
        counts = {name: tally.of(name) for name in tally.busiest(MAX_COMMANDS)}
        chosen = sorted(name for name, count in counts.items() if count >= MIN_COMMAND_COUNT)
        if self.selection.comm is not None:
            return Grouping(("comm",), (), ())
        rare = tally.distinct - len(chosen)
        return Grouping(("comm",), tuple((name,) for name in chosen), tuple(counts[name] for name in chosen), rare)

    def _by_disk_and_op(self) -> Grouping:
        tally = self.census.pairs
        chosen = sorted(sorted(tally, key=lambda pair: (-tally[pair], pair))[:MAX_DISKS_AND_OPS])
        counts = tuple(tally[pair] for pair in chosen)
        return Grouping(("disk", "op"), tuple(chosen), counts, len(tally) - len(chosen))

    def _blocks(self, stream: BlockStream) -> tuple[list[Latency], tuple[Pattern, ...]]:
        """Latencies of block I/O, and when it was submitted."""
        by_disk, by_comm = self._by_disk_and_op(), self._by_command(self.census.tally("block", "comm"))
        windows = Windows.of(self.lost, "block")
        most = max(self.census.tally("block", "event").of(event) for event in ("block_start", "block_issue"))
        spreads: dict[str, Spread] = {}
        train, combiner = self._train("block_start", ("comm", "cgroup", "disk")), Combiner()
        for submitted, blocks in ahead(read_blocks(self.trace, self.selection, stream)):
            self.doubts.add(blocks)
            self.uses.add_blocks(blocks)
            if submitted is not None:
                self._collect(train, submitted.ts_ns, submitted)
            known = combiner.of(blocks.attributes())
            for metric, begin, end, rival in spans(blocks):
                if metric not in spreads:
                    groupings = [by_disk, by_comm] if metric == "block.total" else [by_disk]
                    spreads[metric] = self._spread(metric, most, groupings, known)
                trusted = measured(begin, end, rival, windows)
                spreads[metric].add(_block_sample(begin, end, blocks, known).only(trusted))
        found = [latencies(spread, self.resolution_ns, self._occurrences("block")) for spread in spreads.values()]
        return [one for some in found for one in some], self._rhythms(train, "block")

    def _opens(self) -> tuple[list[Latency], tuple[Pattern, ...]]:
        """Latencies of opens, and when they began."""
        by_comm = self._by_command(self.census.tally("open", "comm"))
        spread: Spread | None = None
        train, combiner = self._train("open", ("comm", "cgroup", "path")), Combiner()
        for opens in ahead(read_opens(self.trace, self.selection, self.census)):
            self.uses.add_opens(opens)
            self._collect(train, opens.ts_ns, opens)
            known = combiner.of(opens.attributes())
            if spread is None:
                spread = self._spread("open", self.census.tally("open", "event").of("open"), [by_comm], known)
            spread.add(_open_sample(opens, known))
        found = [] if spread is None else latencies(spread, self.resolution_ns, self._occurrences("open"))
        return found, self._rhythms(train, "open")

    def _lifetimes(self, lives: Lives) -> list[Latency]:
        known = np.flatnonzero(lives.lifetime_ns != NULL)
        tally = Tally()
        comm, path = (limited(codes[known], LOOKED_AT) for codes in (lives.comm, lives.path))
        tally.add_codes(lives.comm[known])
        exits = np.where(lives.exit_ns == NULL, NULL, lives.exited_badly.astype(np.int64))[known]
        attributes = Combiner().of({"comm": comm, "path": path, "exits": Codes(exits, ("with 0", "badly"))})
        spread = self._spread("process.lifetime", len(known), [self._by_command(tally)], attributes)

        def details(positions: Ints) -> dict[str, Any]:
            rows = known[positions]
            names = {"comm": lives.comm[rows].strings(), "path": lives.path[rows].strings()}
            return names | {"pid": lives.pid[rows], "exit_code": lives.exit_code[rows]}

        spread.add(Sample(lives.lifetime_ns[known], lives.started_ns[known], attributes, details))
        return latencies(spread, self.resolution_ns, lambda column, name: tally.of(name) if column == "comm" else 0)

    def _occurrences(self, family: str) -> Any:
        return lambda column, name: self.census.tally(family, column).of(name)

    # --- patterns ---

    def _train(self, event: str, fields: tuple[str, ...]) -> TrainCollector:
        return TrainCollector(event, self.start_ns, self.end_ns - self.start_ns, fields)

    @staticmethod
    def _collect(train: TrainCollector, times_ns: Ints, events: Submissions | Opens) -> None:
        codes = {name: getattr(events, name).named() for name in train.fields}
        train.add(times_ns, codes)

    def _rhythms(self, train: TrainCollector, family: str) -> tuple[Pattern, ...]:
        return train.patterns({name: self.census.names(family, name).all for name in train.fields})

    def _patterns(self, *families: tuple[Pattern, ...]) -> tuple[Pattern, ...]:
        """The patterns of all families; processes come first, and others follow what they do."""
        found: tuple[Pattern, ...] = ()
        for more in families:
            found += without_echoes(found, more)
        found = tuple(replace(p, lost=self._lost(FAMILY_OF[p.event], p.start_ns, p.end_ns)) for p in found)
        return tuple(sorted(found, key=_telling))


def _telling(one: Pattern) -> tuple[bool, bool, int, int, list[tuple[str, str]]]:
    """The order in which patterns are told."""
    return one.kind == "steady", one.event != "exec", -one.events, one.start_ns, sorted(one.scope.items())


def _block_sample(begin: Ints, end: Ints, blocks: BlockIO, known: Combined) -> Sample:
    def details(positions: Ints) -> dict[str, Any]:
        codes = {name: getattr(blocks, name)[positions].strings() for name in ("disk", "op", "comm")}
        return codes | {name: getattr(blocks, name)[positions] for name in ("pid", "sector", "bytes")}

    return Sample(np.maximum(end - begin, 0), begin, known, details)


def _open_sample(opens: Opens, known: Combined) -> Sample:
    def details(positions: Ints) -> dict[str, Any]:
        ret = opens.ret[positions].astype(object)
        ret[~opens.answered[positions]] = None
        return {"comm": opens.comm[positions].strings(), "path": opens.paths(positions), "ret": ret}

    return Sample(opens.duration_ns, opens.ts_ns, known, details).only(opens.duration_ns != NULL)
