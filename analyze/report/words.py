"""What a report says, in words that every renderer shares: plain strings, safe for a terminal."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tracekit.analyze.columns import UNKNOWN
from tracekit.analyze.results import (
    BlockUse,
    Episode,
    Latency,
    Mode,
    OpenUse,
    Outliers,
    Pattern,
    ProcessUse,
    Quality,
    Report,
    SetsApart,
)
from tracekit.analyze.sentences import say_apart
from tracekit.text import printable
from tracekit.units import format_bytes, format_count, format_ns, format_share

TITLES = {
    "block.device": ("Block I/O at the device", "issue to completion"),
    "block.queue": ("Block I/O in the queue", "submission to issue"),
    "block.total": ("Block I/O in total", "submission to completion"),
    "open": ("Opens", "entry to return"),
    "process.lifetime": ("Process lifetimes", "start to exit"),
}
EPISODES = 3
#: Of so many commands of a chain it is told how long they live.
_LIFETIMES = 3
#: Queues that add less than this part of the device's time are a line; requeues that take more of the total are told.
_NEGLIGIBLE, _COUNTS = 0.1, 0.02


def title(report: Report) -> str:
    """What this is a report of."""
    return f"Report of {printable(report.trace.path or 'the whole recording')}"


def facts(report: Report) -> str:
    """When and how long, where, and how much."""
    about = report.trace
    start = "?" if about.start_time is None else f"{about.start_time[:10]} {about.start_time[11:19]} UTC"
    total = sum(count for event, count in about.events.items() if event != "lost")
    return (
        f"{format_ns(about.duration_ns)} from {start}, kernel {printable(about.kernel)}, {format_count(total)} events"
    )


# --- quality ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """How far a recording is to be trusted: `level` is `good`, `doubtful` or `bad`."""

    level: str
    headline: str
    lines: tuple[str, ...]


def verdict(report: Report, top: int) -> Verdict:
    """The quality of a recording, with at most so many of the windows in which events were lost."""
    quality = report.quality
    if not quality.whole:
        level, headline = "bad", f"QUALITY: {_gaps(quality, sum(report.trace.events.values()))}"
    elif quality.lost is None:
        level, headline = "doubtful", "Quality: complete; whether events were lost is unknown"
    elif quality.unmatched_issues or quality.unmatched_completions:
        level, headline = "doubtful", "Quality: complete, no loss counted, but not all I/O could be paired"
    else:
        level, headline = "good", "Quality: complete, nothing lost"
    # What was never seen issued is none of the I/O that is counted, whose disk and command are known.
    unpaired = [
        (quality.unmatched_issues, quality.io, "issued, completion never seen"),
        (quality.unmatched_completions, 0, "completed, issue never seen"),
        (quality.in_flight_at_end, quality.io, "still under way at the end"),
    ]
    told = [
        f"{format_count(count)} I/O{f' ({format_share(count / of)})' if of else ''} {what}"
        for count, of, what in unpaired
        if count
    ]
    more = ["; ".join(told)] if told else []
    lines = (*_lost_lines(quality, report, top), *more, *(printable(note) for note in quality.notes), *_absent(report))
    return Verdict(level, headline, lines)


def _gaps(quality: Quality, recorded: int) -> str:
    parts = [] if quality.complete else ["incomplete recording"]
    if quality.lost:
        families = sorted({printable(window.family) for window in quality.lost_windows})
        which = f" ({', '.join(families)})" if families else ""
        share = format_share(quality.lost / (quality.lost + recorded))
        parts.append(f"{format_count(quality.lost)} events lost, {share}{which}; the figures below miss them")
    return ", ".join(parts)


def _lost_lines(quality: Quality, report: Report, top: int) -> list[str]:
    lines = []
    for window in quality.lost_windows[:top]:
        start, end = (format_ns(at - report.trace.start_ns) for at in (window.start_ns, window.end_ns))
        lines.append(f"{format_count(window.lost)} {printable(window.family)} events lost from {start} to {end}")
    rest = len(quality.lost_windows) - top
    return [*lines, f"and {rest} more such windows"] if rest > 0 else lines


def _absent(report: Report) -> list[str]:
    """At most one line: what there is nothing of, where there is something of other kinds."""
    measured = {one.metric.split(".")[0] for one in report.latency}
    absent = [
        many for family, many in _PLURALS.items() if family not in measured and not any(_uses(report, family).values())
    ]
    if not absent or len(absent) == len(_PLURALS):
        return []
    return [f"it has no {' and no '.join(absent)}, so nothing is said of that"]


def _uses(report: Report, family: str) -> dict[str, tuple[Any, ...]]:
    uses: dict[str, tuple[Any, ...]] = getattr(report.workload, family)
    return uses


def lost(count: int) -> str:
    """What stands below figures that miss events; empty where none are missing."""
    events = f"{format_count(count)} event{'s' if count > 1 else ''}"
    return f"(!) {events} lost meanwhile: these figures miss them" if count else ""


def nothing(report: Report) -> str:
    """What is said where there are no findings."""
    recorded = sum(count for event, count in report.trace.events.items() if event not in ("process", "lost"))
    told = "no rhythm, no frequent failure, and no outlier or second mode that takes long was found"
    why = told if recorded else "no events were recorded"
    if report.quality.lost:
        why += f" in what is left, and {format_count(report.quality.lost)} events are missing"
    return f"Nothing stands out: {why}."


# --- latency ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listing:
    """A table: its name and columns, its rows, how many more there are, and what is to be said below it."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    rest: int
    below: str = ""


def _listing(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]], omitted: int, top: int, below: str) -> Listing:
    """At most `top` rows; one that would be left out takes no more room than to say so."""
    shown = top if len(rows) + omitted > top + 1 else top + 1
    return Listing(titles, tuple(rows[:shown]), max(len(rows) - shown, 0) + omitted, below)


def by_metric(report: Report) -> dict[str, Latency]:
    """The distribution of all values of each metric."""
    return {one.metric: one for one in report.latency if not one.group}


def says_little(one: Latency, whole: Mapping[str, Latency]) -> bool:
    """A queue that is next to nothing, and a total that is then the device's, unless I/O waits elsewhere, too."""
    queue, device = whole.get("block.queue"), whole.get("block.device")
    if one.metric not in ("block.queue", "block.total") or queue is None or device is None:
        return False
    if queue.p99_ns > _NEGLIGIBLE * device.p99_ns or queue.outliers is not None:
        return False
    figures = zip(*((value for _, value in percentiles(each)) for each in (one, device, queue)), strict=True)
    return one is queue or all(abs(mine - its) <= _NEGLIGIBLE * its + waits for mine, its, waits in figures)


def little_line(one: Latency) -> str:
    """What stands in place of the shape of a distribution that says little."""
    if one.metric == "block.queue":
        return "next to nothing beside the time at the device: no more is told of it"
    return "as at the device, but for the queue: no more is told of it"


def shape_lines(one: Latency, report: Report) -> list[str]:
    """Modes and outliers, or why there is no more to tell; what belongs to a line is indented below it."""
    if says_little(one, by_metric(report)):
        return [little_line(one)]
    return [*mode_lines(one.modes), *outlier_lines(one.outliers, report)]


def total_lines(one: Latency, whole: Mapping[str, Latency]) -> list[str]:
    """Why I/O in total is not as much as at the device, nor as long as there and in the queue."""
    return [*_count_lines(one, whole), *_requeue_lines(one)]


def _count_lines(one: Latency, whole: Mapping[str, Latency]) -> list[str]:
    more = one.count - whole["block.device"].count if one.metric == "block.total" and "block.device" in whole else 0
    if more > 0:
        why = "they ended without a request of their own, as flushes do, or their issue is in doubt"
        return [f"{format_count(more)} more than at the device: {why}"]
    why = "the kernel sent them by itself, as it does flushes, or their submission was not seen"
    return [f"{format_count(-more)} fewer than at the device: {why}"] if more else []


def _requeue_lines(one: Latency) -> list[str]:
    """At most one line: how much of I/O in total is neither in the queue nor at the device, where that counts."""
    share = one.requeued_ns / max(one.mean_ns * one.count, 1)
    if share < _COUNTS:
        return []
    count = f"{format_count(one.requeued)} ({format_share(one.requeued / one.count)}) requeued by the driver"
    return [f"{count}: {format_share(share)} of the time went by between first and last issue"]


def percentiles(one: Latency) -> tuple[tuple[str, int], ...]:
    """The figures that are told of every distribution."""
    return ("p50", one.p50_ns), ("p90", one.p90_ns), ("p99", one.p99_ns), ("p99.9", one.p999_ns), ("max", one.max_ns)


def mode_lines(modes: Sequence[Mode]) -> list[str]:
    """A line, and one for each mode if there are several; what belongs to a line is indented below it."""
    if not modes:
        return []
    if len(modes) == 1:
        return [f"one mode: {extent(modes[0])}, most often {format_ns(modes[0].peak_ns)}"]
    major = sum(not mode.minor for mode in modes)
    minor = f" and {len(modes) - major} minor" if major < len(modes) else ""
    lines = [f"{major} mode{'s' if major > 1 else ''}{minor}, where dense, and the share from valley to valley:"]
    for mode in modes:
        kind = " (minor)" if mode.minor else ""
        lines.append(f"  {extent(mode)}: {format_share(mode.share)}{kind}")
        lines += _because(mode.sets_apart)
    return lines


def extent(what: Mode | Outliers) -> str:
    """From the least to the greatest."""
    low, high = format_ns(what.low_ns), format_ns(what.high_ns)
    return low if isinstance(what, Outliers) and low == high else f"{low} to {high}"


def _because(reasons: Sequence[SetsApart]) -> list[str]:
    """At most one line: what these have in common."""
    parts = [say_apart(reason, printable(reason.value, 40)) for reason in reasons[:3]]
    return [f"    set apart by {', '.join(parts)}"] if parts else []


def outlier_count(out: Outliers) -> str:
    """How many, and what part of all."""
    return f"{format_count(out.count)} outlier{'s' if out.count > 1 else ''} ({format_share(out.share)})"


def outlier_lines(out: Outliers | None, report: Report) -> list[str]:
    """A line, and one for each of the first episodes; what belongs to a line is indented below it."""
    if out is None:
        return []
    shown = EPISODES if len(out.episodes) > EPISODES + 1 else EPISODES + 1
    episodes = [_episode(one, report.trace.start_ns) for one in out.episodes[:shown]]
    rest = len(out.episodes) - shown
    more = [f"  and {rest:,} more episodes"] if rest > 0 else []
    return [f"{outlier_count(out)}, {extent(out)}:", *episodes, *more, *_because(out.sets_apart)]


def _episode(one: Episode, origin_ns: int) -> str:
    start, end = (format_ns(at - origin_ns) for at in (one.start_ns, one.end_ns))
    when = f"at {start}" if start == end else f"from {start} to {end}"
    return f"  {format_count(one.count)} {when} into the recording"


def groups(whole: Latency, report: Report, name_width: int, top: int) -> Listing:
    """A row for each group that was kept (of commands the busiest), the slowest first."""
    found = [one for one in report.latency if one.metric == whole.metric and one.group]
    found.sort(key=lambda item: (-item.p99_ns, sorted(item.group.items())))
    titles = ("group alone", "count", "p50", "p99", "max", "modes", "outliers")
    omitted = whole.omitted if found else 0
    return _listing(titles, [_group_row(one, name_width) for one in found], omitted, top, "")


def _group_row(one: Latency, name_width: int) -> tuple[str, ...]:
    major = sum(not mode.minor for mode in one.modes)
    name = printable(" ".join(one.group.values()), name_width)
    return (
        f"by {name}" if "comm" in one.group and one.metric.startswith("block") else name,
        format_count(one.count),
        format_ns(one.p50_ns),
        format_ns(one.p99_ns),
        format_ns(one.max_ns),
        str(major) if major else "",
        format_count(one.outliers.count) if one.outliers else "",
    )


# --- patterns --------------------------------------------------------------------------------------------------


def pattern_title(pattern: Pattern) -> str:
    """What has the rhythm."""
    where = ", ".join(
        printable(value) if key == "all" else f"{key} {printable(value)}" for key, value in pattern.scope.items()
    )
    return f"{pattern.event}, {where}"


def pattern_rows(pattern: Pattern, report: Report) -> list[tuple[str, str]]:
    """What is told of a rhythm, by name."""
    start, end = (format_ns(at - report.trace.start_ns) for at in (pattern.start_ns, pattern.end_ns))
    beat = {True: "keeps the beat of a clock", False: "each round starts when the last is over", None: ""}
    rows = [
        ("period", f"{format_ns(pattern.period_ns)} (varies by {format_share(pattern.jitter)})"),
        ("burst", f"{pattern.burst_size} events in {format_ns(pattern.burst_duration_ns)}"),
        ("pause", format_ns(pattern.pause_ns)),
        ("seen", f"{pattern.cycles:,} times, from {start} to {end}"),
        ("beat", beat[pattern.clock]),
        ("runs", _chain(pattern.chain) if pattern.event == "exec" else ""),
        ("lives", _lifetimes(pattern.lifetimes)),
        ("exits", ", ".join(f"{_status(code)}: {count:,}" for code, count in pattern.exit_codes.items())),
    ]
    if pattern.kind == "steady":
        rows = [("rate", f"{pattern.rate_per_second:,.1f} a second, steadily, from {start} to {end}")]
    elif pattern.burst_size == 1:
        rows = [row for row in rows if row[0] not in ("burst", "pause")]
    return [(name, text) for name, text in rows if text]


def _chain(chain: Sequence[str]) -> str:
    """Commands in order, neighbours that are the same as one."""
    runs = [(name, len(list(same))) for name, same in groupby(chain)]
    return ", ".join(printable(name) if count == 1 else f"{printable(name)} x {count}" for name, count in runs)


def _lifetimes(lifetimes: dict[str, int]) -> str:
    """How long the longest-lived commands live, in the order of the chain."""
    longest = sorted(lifetimes, key=lambda name: -lifetimes[name])[:_LIFETIMES]
    told = [f"{printable(name)} {format_ns(lifetime)}" for name, lifetime in lifetimes.items() if name in longest]
    return ", ".join(told) + (f" and {len(lifetimes) - len(told)} shorter" if len(told) < len(lifetimes) else "")


def _status(code: str) -> str:
    return printable(code) if code.startswith("signal") else f"with {printable(code)}"


# --- who does what ---------------------------------------------------------------------------------------------


def workload(report: Report, name_width: int, top: int) -> Iterator[Listing]:
    """A table for each family and grouping that has rows."""
    used, omitted = report.workload, report.workload.omitted
    for family, keys, titles, cells in _TABLES:
        for key in keys:
            name = f"by_{key}"
            uses = _uses(report, family).get(name, ())
            rows = [(printable(_who(use, report), name_width), *cells(use)) for use in uses]
            below = lost(used.lost.get(family, 0))
            if rows:
                heading = (f"{_PLURALS[family]} by {key}", *titles)
                yield _listing(heading, rows, omitted.get(f"{family}.{name}", 0), top, below)


def _who(use: ProcessUse | BlockUse | OpenUse, report: Report) -> str:
    """Its name; of I/O that nobody submitted, why: the kernel sends flushes by itself."""
    if isinstance(use, BlockUse) and use.name == UNKNOWN and not use.bytes:
        flushes = sum(one.count for one in report.workload.block.get("by_op", ()) if one.name == "flush")
        return f"{use.name} (flushes)" if use.count <= flushes else use.name
    return use.name


def _process_cells(use: ProcessUse) -> tuple[str, ...]:
    lives = (format_ns(use.lifetime_p50_ns), format_ns(use.lifetime_max_ns))
    return (format_count(use.count), format_count(use.failed), *lives)


def _block_cells(use: BlockUse) -> tuple[str, ...]:
    return (
        format_count(use.count),
        format_bytes(use.bytes),
        format_share(use.sequential_share),
        format_bytes(use.size.p50),
        f"{use.queue_depth.p50:,}/{use.queue_depth.p99:,}",
    )


def _open_cells(use: OpenUse) -> tuple[str, ...]:
    return (format_count(use.count), _failed(use.failed), format_ns(use.p50_ns), format_ns(use.p99_ns))


def _failed(failed: dict[str, int]) -> str:
    """How many, and the error if there is but one, or the most frequent one."""
    if not failed:
        return "0"
    return f"{sum(failed.values()):,} {next(iter(failed))}{'...' if len(failed) > 1 else ''}"


_PLURALS = {"process": "processes", "block": "I/O", "open": "opens"}
#: Of each family the groupings, the columns after the name, and what makes their cells.
_TABLES: tuple[tuple[str, tuple[str, ...], tuple[str, ...], Callable[[Any], tuple[str, ...]]], ...] = (
    ("process", ("path", "parent"), ("count", "failed", "life p50", "longest"), _process_cells),
    ("block", ("disk", "op", "comm"), ("count", "bytes", "in order", "size", "depth"), _block_cells),
    ("open", ("comm", "path"), ("count", "failed", "p50", "p99"), _open_cells),
)
