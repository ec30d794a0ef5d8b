"""What is worth telling, in the order in which an expert would tell it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tracekit.analyze.columns import NULL, UNKNOWN, Ints, busiest
from tracekit.analyze.contrast import RANGES
from tracekit.analyze.evidence import in_scope, where_of_lives, where_of_pattern
from tracekit.analyze.failing import FailingOpens
from tracekit.analyze.patterns import labels, parent_name
from tracekit.analyze.processes import Lives
from tracekit.analyze.restarts import restarted
from tracekit.analyze.results import Finding, Latency, Mode, Outliers, Pattern, SetsApart, Where
from tracekit.analyze.selection import Selection
from tracekit.analyze.sentences import format_rate, say_exits
from tracekit.analyze.why import SIGPIPE, Unopened, is_failure, unopened
from tracekit.schema import EVENTS, FAMILY_OF
from tracekit.trace import Trace
from tracekit.units import format_count, format_ns, format_share

METRICS = {
    "block.device": "I/O at the device",
    "block.queue": "I/O in the queue",
    "block.total": "I/O in all",
    "open": "opens",
    "process.lifetime": "process lifetimes",
}
_EVENTS = {"exec": "process starts", "open": "opens", "block_start": "I/O"}
_FAILED_SHARE = 0.3
#: Where the most frequent path has less than this of the failures, how many paths there are is told, too.
_SPREAD = 0.2
#: Of outliers in several episodes, one is worth telling if it has so many, and this part of all.
_STALL, _STALL_SHARE = 3, 0.3
_QUEUE_RATIO = 3
_WORTH_NS = 1_000_000
Evidence = dict[str, int | float | str | None]


@dataclass(frozen=True)
class _Found:
    """A finding before it has its rank: the greater the weight, the more telling.

    Attributes:
        programs: the lives of failing runs, of one program each, if it is about such.
    """

    weight: float
    kind: str
    title: str
    detail: str
    evidence: Evidence
    where: Where
    programs: tuple[Ints, ...] = field(default=(), compare=False)


def findings(  # noqa: PLR0913 - all that there is to tell from
    trace: Trace,
    selection: Selection,
    latency: tuple[Latency, ...],
    patterns: tuple[Pattern, ...],
    lives: Lives,
    failing: tuple[FailingOpens, ...],
    io_errors: Mapping[str, int],
) -> tuple[Finding, ...]:
    """Everything worth telling; empty if there is nothing.

    Args:
        trace: its opens are read where programs fail.
        selection: the part of it that all this is of.
        io_errors: how many I/Os failed, by disk.

    Raises:
        TraceError: the file is damaged.
    """
    start_ns = trace.start_ns
    told = {name for pattern in patterns for name in (*pattern.failing, *pattern.scope.values())}
    found = [
        *_of_patterns(patterns, lives, selection, start_ns),
        *_of_latency(latency, start_ns),
        *(_failed_opens(one) for one in failing),
        *_failed_processes(lives, told, start_ns),
        *_of_errors(io_errors),
    ]
    found = _with_reasons(found, trace, lives)
    found.sort(key=lambda one: (-one.weight, one.kind, one.title))
    return tuple(
        Finding(rank, one.kind, one.title, one.detail, one.evidence, one.where) for rank, one in enumerate(found, 1)
    )


# --- patterns --------------------------------------------------------------------------------------------------


def _of_patterns(patterns: tuple[Pattern, ...], lives: Lives, selection: Selection, start_ns: int) -> Iterator[_Found]:
    for pattern in patterns:
        if pattern.kind == "steady":  # nothing to be looked into
            continue
        evidence: Evidence = {
            "period_ns": pattern.period_ns,
            "pause_ns": pattern.pause_ns,
            "burst_size": pattern.burst_size,
            "cycles": pattern.cycles,
            "jitter": pattern.jitter,
        }
        service = restarted(pattern, lives)
        weight, kind = _weight_and_kind(pattern, service)
        where = where_of_pattern(pattern, lives, start_ns)
        programs = tuple(_failing_runs(pattern, lives))
        beat = _beat(pattern, service, selection)
        yield _Found(weight, kind, _capital(pattern.sentence), beat, evidence, where, programs)


def _failing_runs(pattern: Pattern, lives: Lives) -> Iterator[Ints]:
    """The runs of each program that fails in nearly each round."""
    if pattern.failing:
        during = (lives.start_ns >= pattern.start_ns) & (lives.start_ns <= pattern.end_ns)
        failed, label = during & is_failure(lives) & in_scope(pattern.scope, lives), labels(lives)
        for name in pattern.failing:
            yield np.flatnonzero(failed & label.is_in(name))


def _weight_and_kind(pattern: Pattern, service: str | None) -> tuple[float, str]:
    if pattern.event != "exec":
        return 40, "periodic"
    if service is not None:
        return 90, "restarts"
    return (80, "process_bursts") if pattern.kind == "bursts" else (60, "periodic")


def _beat(pattern: Pattern, service: str | None, selection: Selection) -> str:
    everything = selection.all_of(_EVENTS[pattern.event], FAMILY_OF[pattern.event])
    share = f"{format_share(pattern.share)} of {everything}"
    meaning = {
        True: "It keeps the beat of a clock: look for a timer.",
        False: "Each round starts when the last one is over: look for a loop or for something that is restarted.",
        None: "",
    }[pattern.clock]
    if service is not None:
        meaning = f"{service} fails and is started again, over and over."
    return f"That makes {format_rate(pattern.rate_per_second)}, {share}. {meaning}".strip()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# --- latency ---------------------------------------------------------------------------------------------------


def _of_latency(latency: tuple[Latency, ...], start_ns: int) -> Iterator[_Found]:
    whole = {one.metric: one for one in latency if not one.group}
    for metric in ("block.device", "block.queue", "open"):
        if metric in whole:
            yield from _outliers(whole[metric], start_ns)
            yield from _modes(whole[metric])
    yield from _queueing(whole)


def _outliers(one: Latency, start_ns: int) -> Iterator[_Found]:
    out = one.outliers
    if out is None or out.high_ns < _WORTH_NS:
        return
    what = METRICS[one.metric]
    title = (
        f"{format_count(out.count)} of {format_count(one.count)} {what} took {_range(out.low_ns, out.high_ns)}, "
        f"apart from the rest (99 % up to {format_ns(one.p99_ns)})"
    )
    if len(out.episodes) == 1 and out.count > 1:
        episode = out.episodes[0]
        title += f", all in one stall at {format_ns(episode.start_ns - start_ns)} into the recording"
    else:
        title += _largest_stall(out, start_ns)
    evidence: Evidence = {"metric": one.metric, "count": out.count, "low_ns": out.low_ns, "high_ns": out.high_ns}
    reasons = tuple(reason for reason in out.sets_apart if reason.field != "time" or len(out.episodes) > 1)
    where = _where_of_latency(one, out.low_ns, out.high_ns)
    yield _Found(70, "outliers", _capital(title), _reasons(reasons), evidence, where)


def _largest_stall(out: Outliers, start_ns: int) -> str:
    """The stall that has most of several episodes, if it has a fair part of the outliers."""
    largest = max(out.episodes, key=lambda one: one.count)
    if largest.count < max(_STALL, _STALL_SHARE * out.count):
        return ""
    at = format_ns(largest.start_ns - start_ns)
    return f", {format_count(largest.count)} of them in one stall at {at} into the recording"


def _where_of_latency(one: Latency, low_ns: int, high_ns: int) -> Where:
    """The events of what took so long."""
    events = EVENTS[one.metric.split(".")[0]]
    fields = tuple(sorted(one.group.items()))
    return Where(events, fields=fields, metric=one.metric, low_ns=low_ns, high_ns=high_ns)


def _modes(one: Latency) -> Iterator[_Found]:
    modes = [mode for mode in one.modes if not mode.minor]
    # What takes microseconds has modes always: a name that is known or not, a file that is made or not.
    if len(modes) < 2 or modes[-1].peak_ns < (_WORTH_NS if one.metric == "open" else _WORTH_NS / 10):
        return
    ranges = [f"{_range(mode.low_ns, mode.high_ns)} ({format_share(mode.share)})" for mode in modes]
    parts = f"{', '.join(ranges[:-1])} and {ranges[-1]}"
    verb = "has" if one.metric.startswith("block") else "have"
    title = f"{_capital(METRICS[one.metric])} {verb} {len(modes)} modes: {parts}{_told_apart(modes)}"
    evidence: Evidence = {"metric": one.metric, "modes": len(modes), "peak_ns": modes[-1].peak_ns}
    where = _where_of_latency(one, modes[-1].low_ns, modes[-1].high_ns)
    yield _Found(50, "modes", title, "" if _told_apart(modes) else _mode_reasons(modes), evidence, where)


def _told_apart(modes: list[Mode]) -> str:
    """The attribute of which each mode has a value of its own, such as one disk each; ranges may overlap."""
    values = [{reason.field: reason.value for reason in mode.sets_apart} for mode in modes]
    for reason in modes[0].sets_apart:
        mine = [found.get(reason.field) for found in values]
        if None not in mine and len(set(mine)) == len(mine) and RANGES.isdisjoint(mine):
            return f", one for each {reason.field.replace('_', ' ')}: {', '.join(str(value) for value in mine)}"
    return ""


def _range(low_ns: int, high_ns: int) -> str:
    low, high = format_ns(low_ns), format_ns(high_ns)
    return high if low == high else f"{low} to {high}"


def _mode_reasons(modes: list[Mode]) -> str:
    """What sets apart the slower modes: the first one is what is usual."""
    told = [
        f"The mode at {format_ns(mode.peak_ns)}: {text[0].lower()}{text[1:]}"
        for mode in modes[1:]
        if (text := _reasons(mode.sets_apart[:2]))
    ]
    return " ".join(told)


def _reasons(reasons: tuple[SetsApart, ...]) -> str:
    parts = [
        f"{r.field.replace('_', ' ')} {r.value} ({format_share(r.share_inside)}, of the rest"
        f" {format_share(r.share_outside)})"
        for r in reasons
    ]
    return f"Set apart by {', '.join(parts)}." if parts else ""


def _queueing(whole: dict[str, Latency]) -> Iterator[_Found]:
    queue, device = whole.get("block.queue"), whole.get("block.device")
    if queue is None or device is None or queue.p99_ns < max(_QUEUE_RATIO * device.p99_ns, _WORTH_NS):
        return
    title = (
        f"I/O waits longer in the queue than at the device: 99 % take up to {format_ns(queue.p99_ns)} "
        f"before they are issued, and up to {format_ns(device.p99_ns)} after"
    )
    evidence: Evidence = {"queue_p99_ns": queue.p99_ns, "device_p99_ns": device.p99_ns}
    yield _Found(65, "queueing", title, "", evidence, _where_of_latency(queue, queue.p99_ns, queue.max_ns))


# --- failures --------------------------------------------------------------------------------------------------


def _failed_opens(one: FailingOpens) -> _Found:
    why = ", ".join(one.errors)
    title = f"{format_count(one.failed)} of {format_count(one.tried)} opens by {one.comm} fail ({why})"
    detail = f"The most frequent path, {format_count(one.often)} times: {one.path}."
    if one.often < _SPREAD * one.failed:
        detail = f"They ask for {format_count(one.paths)} paths. {detail}"
    evidence: Evidence = {"comm": one.comm, "failed": one.failed, "opens": one.tried}
    where = Where(EVENTS["open"], fields=(("comm", None if one.comm == UNKNOWN else one.comm),), failed=True)
    return _Found(30, "failed_opens", title, detail, evidence, where)


def _failed_processes(lives: Lives, told: set[str], start_ns: int) -> Iterator[_Found]:
    ran = (lives.start_ns != NULL) & (lives.exit_ns != NULL)
    bad = np.flatnonzero(ran & lives.exited_badly & (lives.exit_signal != SIGPIPE))
    for name, rows in list(busiest(lives.comm[bad]))[:3]:
        tried = int((ran & (lives.comm.codes == lives.comm.codes[bad[rows[0]]])).sum())
        if name in told or len(rows) < 5 or len(rows) < _FAILED_SHARE * tried:
            continue
        parent = int(lives.parent[bad[rows[0]]])
        title = f"{name}: {format_count(len(rows))} of {format_count(tried)} runs exit with an error"
        detail = f"The first was started by {parent_name(lives, parent)}." if parent != NULL else ""
        evidence: Evidence = {"comm": name, "failed": len(rows), "exits": tried}
        where = where_of_lives(np.isin(np.arange(len(lives)), bad[rows]), lives, start_ns)
        yield _Found(35, "failed_processes", title, detail, evidence, where, (bad[rows],))


def _with_reasons(found: Sequence[_Found], trace: Trace, lives: Lives) -> list[_Found]:
    """The same, with what failing programs could not open."""
    reasons = iter(unopened(trace, lives, [runs for one in found for runs in one.programs]))
    return [_with_reason(one, [next(reasons) for _ in one.programs], lives) for one in found]


def _with_reason(one: _Found, reasons: Sequence[Unopened | None], lives: Lives) -> _Found:
    """With the first reason: the program that starts others comes before them."""
    reason = next(filter(None, reasons), None)
    if reason is None:
        return one
    label = labels(lives)
    program, opener = (label.name(int(label.codes[life])) or UNKNOWN for life in (reason.life, reason.opener))
    signal, code = (int(ends[reason.life]) for ends in (lives.exit_signal, lives.exit_code))
    who = "it" if reason.life == reason.opener else opener
    what = f"{reason.path} ({reason.error})"
    if reason.folders > 1:
        what = f"{reason.path.rsplit('/', 1)[-1]} in any of {reason.folders} folders, at last {what}"
    times = f"{format_count(reason.times)} of {format_count(reason.runs)} times{'' if reason.whole else ' looked at'}"
    how = say_exits([program], f"signal {signal}" if signal > 0 else str(code))
    detail = f"{one.detail} {how} after {who} could not open {what}, {times}.".strip()
    clue: Evidence = {"program": program, "path": reason.path, "error": reason.error}
    return replace(one, detail=detail, evidence=one.evidence | clue)


def _of_errors(by_disk: Mapping[str, int]) -> Iterator[_Found]:
    failed = sum(by_disk.values())
    if failed:
        counts = sorted(by_disk.items(), key=lambda one: (-one[1], one[0]))
        disks = ", ".join(f"{name} {format_count(count)}" for name, count in counts)
        title = f"{format_count(failed)} I/O{'s' if failed > 1 else ''} failed at the device: {disks}"
        where = Where(("block_complete",), failed=True)
        yield _Found(95, "io_errors", title, "", {"failed": failed}, where)
