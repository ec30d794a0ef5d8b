"""From a trace to a report: read, pair, measure, look for rhythms, tell."""

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from tracekit.analyze.blocks import BlockIO
from tracekit.analyze.columns import NULL, Bools, Codes, Ints
from tracekit.analyze.events import Events, read_events
from tracekit.analyze.findings import findings
from tracekit.analyze.latency import Frame, Sample, by_groups
from tracekit.analyze.opens import Opens
from tracekit.analyze.patterns import Train, event_patterns, process_patterns, without_echoes
from tracekit.analyze.processes import Lives
from tracekit.analyze.quality import quality
from tracekit.analyze.results import Latency, Pattern, Report, TraceFacts
from tracekit.analyze.rhythm import Times
from tracekit.analyze.workload import workload
from tracekit.trace import Trace
from tracekit.units import SECOND_NS

Row = dict[str, int | str | None]


def analyze(trace: Trace) -> Report:
    """Work out what a recording means.

    Args:
        trace: as `tracekit.open_trace` gives it.

    Returns:
        A `Report`: data and its quality. The same trace always gives the same report.

    Raises:
        TraceError: the file is damaged.
    """
    events = read_events(trace)
    facts = _facts(trace)
    frame = Frame(facts.start_ns, facts.duration_ns, trace.metadata.clock.resolution_ns)
    latency = tuple(_latencies(events, frame))
    patterns = _patterns(events, facts)
    return Report(
        trace=facts,
        quality=quality(trace.metadata, events),
        latency=latency,
        patterns=patterns,
        workload=workload(events),
        findings=findings(latency, patterns, events, facts.start_ns),
    )


def _facts(trace: Trace) -> TraceFacts:
    metadata = trace.metadata
    start = _wall_clock(trace) if metadata.clock.anchors else None
    return TraceFacts(
        str(trace.path),
        metadata.format,
        metadata.kernel,
        start,
        trace.start_ns,
        metadata.duration_ns,
        dict(trace.counts),
        metadata.complete,
    )


def _wall_clock(trace: Trace) -> str | None:
    try:
        whole, rest = divmod(int(trace.metadata.clock.realtime_ns(trace.start_ns)), SECOND_NS)
        return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
    except (ValueError, OverflowError, OSError):
        return None


# --- latency ---------------------------------------------------------------------------------------------------


def _latencies(events: Events, frame: Frame) -> list[Latency]:
    found = []
    for metric, begin, end, rival in _spans(events.blocks):
        sample = _block_sample(metric, begin, end, rival, events.blocks)
        splits = [("disk", "op"), ("comm",)] if metric == "block.total" else [("disk", "op")]
        found.extend(by_groups(sample, splits, frame))
    found.extend(by_groups(_open_sample(events.opens), [("comm",)], frame))
    found.extend(by_groups(_lifetime_sample(events.lives), [("comm",)], frame))
    return found


def _spans(blocks: BlockIO) -> list[tuple[str, Ints, Ints, Bools]]:
    pairs = blocks.pairs
    return [
        ("block.device", blocks.issue_ns, blocks.complete_ns, pairs.rival),
        ("block.queue", blocks.start_ns, blocks.first_issue_ns, pairs.start_rival),
        ("block.total", blocks.start_ns, blocks.end_ns, pairs.rival | pairs.start_rival),
    ]


def _block_sample(metric: str, begin: Ints, end: Ints, rival: Bools, blocks: BlockIO) -> Sample:
    known = (begin != NULL) & (end != NULL) & ~rival
    known &= ~blocks.windows.spanned_by(begin, end)

    def rows(positions: Ints) -> list[Row]:
        return [
            {
                "ts_ns": int(begin[i]),
                "duration_ns": int(end[i] - begin[i]),
                "disk": blocks.disk.name(int(blocks.disk.codes[i])),
                "op": blocks.op.name(int(blocks.op.codes[i])),
                "comm": blocks.comm.name(int(blocks.comm.codes[i])),
                "pid": _or_null(blocks.pid[i]),
                "sector": _or_null(blocks.sector[i]),
                "bytes": _or_null(blocks.bytes[i]),
            }
            for i in positions
        ]

    return Sample(metric, np.maximum(end - begin, 0), begin, blocks.attributes(), rows).only(known)


def _open_sample(opens: Opens) -> Sample:
    def rows(positions: Ints) -> list[Row]:
        return [
            {
                "ts_ns": int(opens.ts_ns[i]),
                "duration_ns": int(opens.duration_ns[i]),
                "comm": opens.comm.name(int(opens.comm.codes[i])),
                "path": opens.path.name(int(opens.path.codes[i])),
                "ret": int(opens.ret[i]) if opens.answered[i] else None,
            }
            for i in positions
        ]

    return Sample("open", opens.duration_ns, opens.ts_ns, opens.attributes(), rows).only(opens.duration_ns != NULL)


def _lifetime_sample(lives: Lives) -> Sample:
    def rows(positions: Ints) -> list[Row]:
        return [
            {
                "ts_ns": int(lives.started_ns[i]),
                "duration_ns": int(lives.lifetime_ns[i]),
                "comm": lives.comm.name(int(lives.comm.codes[i])),
                "path": lives.path.name(int(lives.path.codes[i])),
                "pid": int(lives.pid[i]),
                "exit_code": _or_null(lives.exit_code[i]),
            }
            for i in positions
        ]

    exits = Codes(np.where(lives.exit_ns == NULL, NULL, lives.exited_badly.astype(np.int64)), ("with 0", "badly"))
    attributes = {"comm": lives.comm, "path": lives.path, "exits": exits}
    sample = Sample("process.lifetime", lives.lifetime_ns, lives.started_ns, attributes, rows)
    return sample.only(lives.lifetime_ns != NULL)


def _or_null(value: np.int64) -> int | None:
    return None if value == NULL else int(value)


# --- patterns --------------------------------------------------------------------------------------------------


def _patterns(events: Events, facts: TraceFacts) -> tuple[Pattern, ...]:
    start_ns, end_ns = facts.start_ns, facts.start_ns + facts.duration_ns
    found = process_patterns(events.lives, start_ns, end_ns)
    for train, groups in _trains(events):
        found += without_echoes(found, event_patterns(train, groups, start_ns, end_ns))

    def order(one: Pattern) -> tuple[bool, bool, int, int, list[tuple[str, str]]]:
        return one.kind == "steady", one.event != "exec", -one.events, one.start_ns, sorted(one.scope.items())

    return tuple(sorted(found, key=order))


def _trains(events: Events) -> Iterator[tuple[Train, dict[str, Codes]]]:
    """Events other than process starts, and by what they are grouped, the more telling first."""
    blocks, opens = events.blocks, events.opens
    nothing = np.zeros(0, dtype=np.int64)
    submitted = np.where(blocks.start_ns != NULL, blocks.start_ns, blocks.first_issue_ns)
    rows = np.flatnonzero(submitted != NULL)
    rows = rows[np.argsort(submitted[rows], kind="stable")]
    comm = blocks.comm[rows]
    train = Train("block_start", Times.of(submitted[rows]), comm, nothing, blocks.failed[rows])
    yield train, {"comm": comm, "disk": blocks.disk[rows]}
    train = Train("open", Times.of(opens.ts_ns), opens.comm, nothing, opens.failed)
    yield train, {"comm": opens.comm, "path": opens.path}
