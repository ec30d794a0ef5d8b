"""What each family of events tells: two passes over its rows, for who is in them and for what they did."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tracekit.analyze.ahead import ahead
from tracekit.analyze.blocks import BlockIO, BlockStream, Submissions, Unpaired, measured, read_blocks, spans
from tracekit.analyze.census import LOOKED_AT, Tally, take_census
from tracekit.analyze.columns import NULL, Codes, Ints, limited
from tracekit.analyze.combinations import Combined, Combiner
from tracekit.analyze.contrast import Field
from tracekit.analyze.failing import FailingOpens, failing_opens
from tracekit.analyze.latency import latencies
from tracekit.analyze.opens import Opens, read_opens
from tracekit.analyze.patterns import process_patterns
from tracekit.analyze.processes import Lives, read_processes
from tracekit.analyze.quality import Doubts
from tracekit.analyze.results import Latency, Pattern
from tracekit.analyze.selection import Selection
from tracekit.analyze.spread import Frame, Grouping, Sample, Spread
from tracekit.analyze.trains import TrainCollector
from tracekit.analyze.windows import Windows, read_windows
from tracekit.analyze.workload import BlockUses, OpenUses, Uses, process_uses
from tracekit.trace import Trace

#: So many commands have distributions of their own, if they have so many values.
MAX_COMMANDS, MIN_COMMAND_COUNT = 10, 30
MAX_DISKS_AND_OPS = 48


@dataclass(frozen=True)
class Told:
    """What a family tells.

    Attributes:
        events: how often each event of it occurs.
    """

    events: dict[str, int]
    latency: list[Latency]
    patterns: tuple[Pattern, ...]
    uses: Uses


@dataclass(frozen=True)
class BlockTold(Told):
    """What block I/O tells, and what could not be paired of it."""

    doubts: Doubts
    unpaired: Unpaired


@dataclass(frozen=True)
class OpenTold(Told):
    """What opens tell, and which keep failing."""

    failing: tuple[FailingOpens, ...]


@dataclass(frozen=True)
class ProcessTold(Told):
    """What processes tell, and their lives."""

    lives: Lives


class _Family:
    """The rows of a family that are looked at, and who is in them."""

    def __init__(self, trace: Trace, selection: Selection, family: str) -> None:
        self.trace, self.selection, self.family = trace, selection, family
        self.start_ns, self.end_ns = selection.span(trace)
        self.windows = Windows.of(read_windows(trace), family)
        self.census = take_census(trace, selection, family)

    def tally(self, column: str) -> Tally:
        """How often each name occurs."""
        return self.census.tally(self.family, column)

    def spread(self, metric: str, most: int, groupings: Sequence[Grouping], known: Combined) -> Spread:
        """An empty distribution."""
        fields = {name: Field.of(codes) for name, codes in known.attributes.items()}
        frame = Frame(self.start_ns, self.end_ns - self.start_ns, self.trace.start_ns)
        return Spread(metric, frame, most, tuple(groupings), fields)

    def latencies(self, spread: Spread) -> list[Latency]:
        """What there is to say of a distribution."""
        resolution_ns = self.trace.metadata.clock.resolution_ns
        return latencies(spread, resolution_ns, lambda column, name: self.tally(column).of(name))

    def by_command(self, tally: Tally) -> Grouping:
        """The commands that have most of something."""
        counts = {name: tally.of(name) for name in tally.busiest(MAX_COMMANDS)}
        chosen = sorted(name for name, count in counts.items() if count >= MIN_COMMAND_COUNT)
        if self.selection.comm is not None:
            return Grouping(("comm",), (), ())
        rare = tally.distinct - len(chosen)
        return Grouping(("comm",), tuple((name,) for name in chosen), tuple(counts[name] for name in chosen), rare)

    def by_disk_and_op(self) -> Grouping:
        """The disks and ops that have most events."""
        tally = self.census.pairs
        chosen = sorted(sorted(tally, key=lambda pair: (-tally[pair], pair))[:MAX_DISKS_AND_OPS])
        counts = tuple(tally[pair] for pair in chosen)
        return Grouping(("disk", "op"), tuple(chosen), counts, len(tally) - len(chosen))

    def train(self, event: str, fields: tuple[str, ...]) -> TrainCollector:
        """An empty train of events."""
        return TrainCollector(event, self.start_ns, self.end_ns - self.start_ns, fields)

    def rhythms(self, train: TrainCollector) -> tuple[Pattern, ...]:
        """The patterns of a train."""
        return train.patterns({name: self.census.names(self.family, name).all for name in train.fields})


def tell_blocks(trace: Trace, selection: Selection) -> BlockTold:
    """Latencies of block I/O, when it was submitted, and by whom.

    Raises:
        TraceError: the file is damaged.
    """
    family = _Family(trace, selection, "block")
    stream = BlockStream(family.census, family.windows, selection.disk)
    by_disk, by_comm = family.by_disk_and_op(), family.by_command(family.tally("comm"))
    most = max(family.tally("event").of(event) for event in ("block_start", "block_issue"))
    train, combiner = family.train("block_start", ("comm", "cgroup", "disk")), Combiner()
    spreads, uses, doubts = dict[str, Spread](), BlockUses(family.census), Doubts()
    requeued = requeued_ns = 0
    for submitted, blocks in ahead(read_blocks(trace, selection, stream)):
        doubts.add(blocks)
        uses.add(blocks)
        if submitted is not None:
            _collect(train, submitted)
        known = combiner.of(blocks.attributes())
        for metric, begin, end, rival in spans(blocks):
            if metric not in spreads:
                groupings = [by_disk, by_comm] if metric == "block.total" else [by_disk]
                spreads[metric] = family.spread(metric, most, groupings, known)
            trusted = measured(begin, end, rival, family.windows)
            spreads[metric].add(_block_sample(begin, end, blocks, known).only(trusted))
        again_ns = (blocks.issue_ns - blocks.first_issue_ns)[trusted & blocks.requeued]  # of the last: in total
        requeued, requeued_ns = requeued + len(again_ns), requeued_ns + int(again_ns.sum())
    found = [one for spread in spreads.values() for one in family.latencies(spread)]
    for place, one in enumerate(found):
        if one.metric == "block.total" and not one.group:
            found[place] = replace(one, requeued=requeued, requeued_ns=requeued_ns)
    return BlockTold(family.census.events(), found, family.rhythms(train), uses.uses(), doubts, stream.unpaired)


def tell_opens(trace: Trace, selection: Selection) -> OpenTold:
    """Latencies of opens, when they began, by whom, and which keep failing.

    Raises:
        TraceError: the file is damaged.
    """
    family = _Family(trace, selection, "open")
    by_comm, most = family.by_command(family.tally("comm")), family.tally("event").of("open")
    spread: Spread | None = None
    train, combiner = family.train("open", ("comm", "cgroup", "path")), Combiner()
    uses = OpenUses(family.census)
    for opens in ahead(read_opens(trace, selection, family.census)):
        uses.add(opens)
        _collect(train, opens)
        known = combiner.of(opens.attributes())
        spread = spread or family.spread("open", most, [by_comm], known)
        spread.add(_open_sample(opens, known))
    found = [] if spread is None else family.latencies(spread)
    told = uses.uses()
    failing = failing_opens(trace, selection, told.lists["by_comm"])
    return OpenTold(family.census.events(), found, family.rhythms(train), told, failing)


def tell_processes(trace: Trace, selection: Selection) -> ProcessTold:
    """Processes, how long they live, and the rhythms in their starts.

    Raises:
        TraceError: the file is damaged.
    """
    family = _Family(trace, selection, "process")
    lives = _lives(family)
    patterns = process_patterns(lives, family.start_ns, family.end_ns)
    return ProcessTold(family.census.events(), _lifetimes(family, lives), patterns, process_uses(lives), lives)


def _collect(train: TrainCollector, events: Submissions | Opens) -> None:
    train.add(events.ts_ns, {name: getattr(events, name).first(LOOKED_AT).named() for name in train.fields})


def _block_sample(begin: Ints, end: Ints, blocks: BlockIO, known: Combined) -> Sample:
    def details(positions: Ints) -> dict[str, Any]:
        return {name: getattr(blocks, name)[positions] for name in ("disk", "op", "comm", "pid", "sector", "bytes")}

    return Sample(np.maximum(end - begin, 0), begin, known, details)


def _open_sample(opens: Opens, known: Combined) -> Sample:
    def details(positions: Ints) -> dict[str, Any]:
        ret = opens.ret[positions].astype(object)
        ret[~opens.answered[positions]] = None
        return {"comm": opens.comm[positions], "path": opens.paths(positions), "ret": ret}

    return Sample(opens.duration_ns, opens.ts_ns, known, details).only(opens.duration_ns != NULL)


def _lives(family: _Family) -> Lives:
    lives = read_processes(family.trace, family.selection, family.windows)
    if family.selection == Selection():
        return lives
    chosen = np.ones(len(lives), dtype=np.bool_)
    if family.selection.comm is not None:
        chosen &= lives.comm.is_in(family.selection.comm)
    within = (lives.started_ns >= family.start_ns) | (lives.exit_ns >= family.start_ns)
    return lives.only(chosen & (lives.tried_ns >= family.start_ns), chosen & within)


def _lifetimes(family: _Family, lives: Lives) -> list[Latency]:
    rows = np.flatnonzero(lives.lifetime_ns != NULL)
    tally = family.tally("comm")
    tally.add_codes(lives.comm[rows])
    comm, path = (limited(codes[rows], LOOKED_AT) for codes in (lives.comm, lives.path))
    exits = np.where(lives.exit_ns == NULL, NULL, lives.exited_badly.astype(np.int64))[rows]
    known = Combiner().of({"comm": comm, "path": path, "exits": Codes(exits, ("with 0", "badly"))})
    spread = family.spread("process.lifetime", len(rows), [family.by_command(tally)], known)

    def details(positions: Ints) -> dict[str, Any]:
        chosen = rows[positions]
        return {name: getattr(lives, name)[chosen] for name in ("comm", "path", "pid", "exit_code")}

    spread.add(Sample(lives.lifetime_ns[rows], lives.started_ns[rows], known, details))
    return family.latencies(spread)
