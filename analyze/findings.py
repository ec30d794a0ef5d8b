"""What is worth telling, in the order in which an expert would tell it."""

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tracekit.analyze.columns import NULL, UNKNOWN, Ints, busiest
from tracekit.analyze.contrast import RANGES
from tracekit.analyze.evidence import started_in, where_of_lives, where_of_pattern
from tracekit.analyze.failing import FailingOpens
from tracekit.analyze.groups import labels, parent_name
from tracekit.analyze.outliers import FEW
from tracekit.analyze.processes import Lives
from tracekit.analyze.restarts import restarted
from tracekit.analyze.results import (
    BlockUse,
    Finding,
    Latency,
    Mode,
    OpenUse,
    Outliers,
    Pattern,
    SetsApart,
    Where,
    Workload,
)
from tracekit.analyze.rhythm import Times, find_rhythm
from tracekit.analyze.selection import Selection
from tracekit.analyze.sentences import format_rate, say_apart, say_exits
from tracekit.analyze.why import Unopened, is_failure, unopened
from tracekit.analyze.workload import error_name
from tracekit.schema import EVENTS, FAMILY_OF
from tracekit.trace import Trace
from tracekit.units import format_count, format_ns, format_share

METRICS = {
    "block.device": "I/O at the device",
    "block.queue": "I/O in the queue",
    "block.total": "I/O in total",
    "open": "opens",
    "process.lifetime": "process lifetimes",
}
_EVENTS = {"exec": "process starts", "open": "opens", "block_start": "I/O"}
_FAILED_SHARE = 0.3
#: So many paths are named that are the most frequent.
_NAMED = 3
#: Where the most frequent path has less than this of the failures, how many paths there are is told, too.
_SPREAD = 0.2
#: Of outliers in several episodes, one is worth telling if it has so many, and this part of all.
_STALL, _STALL_SHARE = 3, 0.3
#: Who does so much of all is not named with what is slow.
_ALONE = 0.9
_QUEUE_RATIO = 3
_BEATS = {
    True: "It keeps the beat of a clock: look for a timer.",
    False: "Each round starts when the last one is over: look for a loop or for something that is restarted.",
    None: "",
}
#: So many failing runs, and tries to run a program, are worth telling.
_FEWEST = 5
#: In so many ways failing programs end that are told.
_WAYS = 3
#: Each mode has a value of its own if so many of it have that, and so many of the rest.
_ITS_OWN, _OF_OTHERS = 0.9, 0.1
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
    workload: Workload,
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
        *_of_latency(latency, workload, start_ns),
        *_failed_processes(lives, told, start_ns),
        *_of_errors(io_errors),
    ]
    found = _with_reasons(found, trace, lives)
    reasons = {one.evidence.get("path") for one in found}
    unrun = _failed_execs(lives, selection.span(trace), start_ns)
    found += [one for one in unrun if one.evidence["path"] not in reasons]
    found += [_failed_opens(one) for one in failing if not _is_told(one, reasons)]
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
        failed, label = started_in(pattern, lives) & is_failure(lives), labels(lives)
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
    meaning = _BEATS[pattern.clock]
    if service is not None:
        meaning = f"{service} fails and is started again, over and over."
    return f"That makes {format_rate(pattern.rate_per_second)}, {share}. {meaning}".strip()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# --- latency ---------------------------------------------------------------------------------------------------


def _of_latency(latency: tuple[Latency, ...], workload: Workload, start_ns: int) -> Iterator[_Found]:
    users: dict[str, Sequence[BlockUse | OpenUse]]
    users = {"block": workload.block.get("by_comm", ()), "open": workload.open.get("by_comm", ())}
    whole = {one.metric: one for one in latency if not one.group}
    for metric in ("block.device", "block.queue", "open"):
        if metric in whole:
            yield from _outliers(whole[metric], users[metric.split(".")[0]], start_ns)
            yield from _modes(whole[metric])
    yield from _queueing(whole)


def _outliers(one: Latency, users: Sequence[BlockUse | OpenUse], start_ns: int) -> Iterator[_Found]:
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
    detail = " ".join(filter(None, (_who(out, users), _reasons(reasons))))
    yield _Found(70, "outliers", _capital(title), detail, evidence, where)


def _who(out: Outliers, users: Sequence[BlockUse | OpenUse]) -> str:
    """By which command few outliers are, if that is one of several, and of which file, or on which disk, unless it sets
    apart.
    """
    told = {reason.field for reason in out.sets_apart}
    same = {name: {one.get(name) for one in out.events} for name in ("comm", "path", "op", "disk")}
    one = {name: values.pop() for name, values in same.items() if len(values) == 1 and name not in told}
    if out.count > FEW or one.get("comm") is None:
        return ""
    if any(use.name == one["comm"] and use.count >= _ALONE * sum(other.count for other in users) for use in users):
        return ""
    who = f"{'By' if out.count == 1 else 'Both by' if out.count == 2 else f'All {out.count} by'} {one['comm']}"
    if one.get("path") is not None:
        who += f", of {one['path']}"
    if one.get("op") is not None and one.get("disk") is not None:
        who += f", {one['op']} on {one['disk']}"
    return f"{who}."


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
    values = [
        {
            reason.field: reason.value
            for reason in mode.sets_apart
            if reason.field != "time" and reason.share_inside >= _ITS_OWN and reason.share_outside <= _OF_OTHERS
        }
        for mode in modes
    ]
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
        f"The mode of {_range(mode.low_ns, mode.high_ns)}: {text[0].lower()}{text[1:]}"
        for mode in modes[1:]
        if (text := _reasons(mode.sets_apart[:2]))
    ]
    return " ".join(told)


def _reasons(reasons: tuple[SetsApart, ...]) -> str:
    parts = [say_apart(reason, reason.value) for reason in reasons]
    return f"Set apart by {', '.join(parts)}." if parts else ""


def _queueing(whole: dict[str, Latency]) -> Iterator[_Found]:
    queue, device = whole.get("block.queue"), whole.get("block.device")
    if queue is None or device is None or queue.p99_ns < max(_QUEUE_RATIO * device.p99_ns, _WORTH_NS):
        return
    title = (
        f"1 in 100 I/Os waits {format_ns(queue.p99_ns)} or longer in the queue before it is issued; "
        f"at the device 1 in 100 takes {format_ns(device.p99_ns)} or longer"
    )
    evidence: Evidence = {"queue_p99_ns": queue.p99_ns, "device_p99_ns": device.p99_ns}
    yield _Found(65, "queueing", title, "", evidence, _where_of_latency(queue, queue.p99_ns, queue.max_ns))


# --- failures --------------------------------------------------------------------------------------------------


def _failed_opens(one: FailingOpens) -> _Found:
    why = ", ".join(one.errors)
    title = f"{format_count(one.failed)} of {format_count(one.tried)} opens by {one.comm} fail ({why})"
    often, first = format_count(one.often), one.first
    if len(first) == 1:
        detail = f"The most frequent path, {often} times: {first[0]}."
    elif len(first) <= _NAMED:
        detail = f"The most frequent paths, {often} times each: {', '.join(first[:-1])} and {first[-1]}."
    else:
        of_all = f" of {format_count(one.paths)}" if one.paths > len(first) else ""
        count = f"{format_count(len(first))}{of_all} paths"
        detail = f"{count} fail as often as any, {often} times each, such as {first[0]}."
    if one.often < _SPREAD * one.failed and len(first) <= _NAMED:
        detail = f"They ask for {format_count(one.paths)} paths. {detail}"
    evidence: Evidence = {"comm": one.comm, "failed": one.failed, "opens": one.tried}
    where = Where(EVENTS["open"], fields=(("comm", None if one.comm == UNKNOWN else one.comm),), failed=True)
    return _Found(30, "failed_opens", title, detail, evidence, where)


def _is_told(one: FailingOpens, reasons: Container[object]) -> bool:
    """Whether half of what fails is of paths that are told as reasons."""
    return 2 * one.often * sum(path in reasons for path in one.first) >= one.failed


def _failed_processes(lives: Lives, told: set[str], start_ns: int) -> Iterator[_Found]:
    ran = (lives.start_ns != NULL) & (lives.exit_ns != NULL)
    bad = np.flatnonzero(ran & is_failure(lives))
    for name, rows in list(busiest(lives.comm[bad]))[:3]:
        tried = int((ran & (lives.comm.codes == lives.comm.codes[bad[rows[0]]])).sum())
        if name in told or len(rows) < _FEWEST or len(rows) < _FAILED_SHARE * tried:
            continue
        mine = bad[rows]
        title = f"{name}: {format_count(len(rows))} of {format_count(tried)} runs {_ends(mine, lives)}"
        detail = _starter(mine, lives)
        evidence: Evidence = {"comm": name, "failed": len(rows), "exits": tried}
        where = where_of_lives(np.isin(np.arange(len(lives)), mine), lives, start_ns)
        yield _Found(35, "failed_processes", title, detail, evidence, where, (mine,))


def _failed_execs(lives: Lives, frame: tuple[int, int], start_ns: int) -> Iterator[_Found]:
    """Programs that processes are started for, over and over, and that cannot be run."""
    failed = np.flatnonzero(lives.chosen & (lives.failed_exec_ns != NULL))
    for path, rows in list(busiest(lives.path[failed]))[:3]:
        mine, ran = failed[rows], int(((lives.start_ns != NULL) & lives.path.is_in(path)).sum())
        if path == UNKNOWN or len(mine) < _FEWEST or len(mine) < _FAILED_SHARE * (len(mine) + ran):
            continue
        rhythm = find_rhythm(Times.of(np.sort(lives.failed_exec_ns[mine])), *frame)
        [(errno, _)] = Counter(lives.exec_error[mine].tolist()).most_common(1)
        error, callers = error_name(-errno), [name for name, _ in busiest(lives.comm[mine])]
        who = _one_parent(mine, lives) or f"{callers[0]}{' and others' if len(callers) > 1 else ''}"
        what = _file(path, error, int(lives.folders[mine].max()))
        title = f"{who} could not run {what}, {format_count(len(mine))} times"
        if rhythm is not None:
            several = f"{format_count(rhythm.burst_size)} at a time " if rhythm.burst_size > 1 else ""
            title += f", {several}every {format_ns(rhythm.period_ns)}"
        evidence: Evidence = {"comm": callers[0], "path": path, "error": error, "failed": len(mine)}
        where = where_of_lives(np.isin(np.arange(len(lives)), mine), lives, start_ns)
        weight, beat = (36, "") if rhythm is None else (85, _BEATS[rhythm.clock])
        yield _Found(weight, "failed_execs", title, beat, evidence, where)


def _ends(mine: Ints, lives: Lives) -> str:
    """How some processes end, in so many ways at most."""
    signals, codes = (ends[mine].tolist() for ends in (lives.exit_signal, lives.exit_code))
    ways = Counter(zip(signals, codes, strict=True))
    if len(ways) == 1:
        [(signal, code)] = ways
        return f"are killed by signal {signal}" if signal > 0 else f"exit with {code}"
    told = {f"signal {signal}" if signal > 0 else f"exit {code}": n for (signal, code), n in ways.most_common(_WAYS)}
    if ways.total() > sum(told.values()):
        told["other ways"] = ways.total() - sum(told.values())
    return f"fail: {', '.join(f'{way} ({format_count(count)})' for way, count in told.items())}"


def _starter(mine: Ints, lives: Lives) -> str:
    """Who started some processes: one process, or one command most of them."""
    known = lives.parent[mine][lives.parent[mine] != NULL]
    if not len(known):
        return ""
    if parent := _one_parent(mine, lives):
        return f"All were started by {parent}."
    [(name, count)] = Counter(lives.name(life) or UNKNOWN for life in known.tolist()).most_common(1)
    if 2 * count < len(mine):
        first = known[np.argmin(lives.start_ns[mine][lives.parent[mine] != NULL])]
        return f"The first was started by {parent_name(lives, int(first))}; no command started half of them."
    return f"{'All' if count == len(mine) else f'{format_count(count)} of them'} were started by {name}."


def _one_parent(mine: Ints, lives: Lives) -> str | None:
    """The process that started all of these, if it is one."""
    parents = np.unique(lives.parent[mine])
    return parent_name(lives, int(parents[0])) if len(parents) == 1 and parents[0] != NULL else None


def _with_reasons(found: Sequence[_Found], trace: Trace, lives: Lives) -> list[_Found]:
    """The same, with what failing programs could not open, or run."""
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
    who = "it" if program == opener else opener
    what = f"could not {'run' if reason.to_run else 'open'} {_file(reason.path, reason.error, reason.folders)}"
    times = f"{format_count(reason.times)} of {format_count(reason.runs)} times{'' if reason.whole else ' looked at'}"
    how = say_exits([program], f"signal {signal}" if signal > 0 else str(code))
    detail = f"{one.detail} {how} after {who} {what}, {times}.".strip()
    clue: Evidence = {"program": program, "path": reason.path, "error": reason.error}
    return replace(one, detail=detail, evidence=one.evidence | clue)


def _file(path: str, error: str, folders: int) -> str:
    """A file and what is wrong with it; one that was looked for in several folders, by its name."""
    last = f"{path} ({error})"
    return last if folders < 2 else f"{path.rsplit('/', 1)[-1]} in any of {folders} folders, at last {last}"


def _of_errors(by_disk: Mapping[str, int]) -> Iterator[_Found]:
    failed = sum(by_disk.values())
    if failed:
        counts = sorted(by_disk.items(), key=lambda one: (-one[1], one[0]))
        disks = ", ".join(f"{name} {format_count(count)}" for name, count in counts)
        title = f"{format_count(failed)} I/O{'s' if failed > 1 else ''} failed at the device: {disks}"
        where = Where(("block_complete",), failed=True)
        yield _Found(95, "io_errors", title, "", {"failed": failed}, where)
