"""What changed between two recordings: latencies, modes, rhythms, programs and rates."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

import numpy as np

from tracekit.analyze.analysis import analyze
from tracekit.analyze.beside import Heard, beside
from tracekit.analyze.columns import Ints
from tracekit.analyze.diff.chance import Ratio, quantile_ratio, rate_ratio
from tracekit.analyze.diff.modes import Shape, mode_changes
from tracekit.analyze.diff.results import Change, Diff, LatencyChange, Part, RateChange
from tracekit.analyze.diff.rhythms import rhythm_changes
from tracekit.analyze.diff.stretches import STRETCHES, Group, Stretches, read_stretches
from tracekit.analyze.diff.telling import latency_change, program_change, rate_change
from tracekit.analyze.results import Latency, Report
from tracekit.text import printable
from tracekit.units import SECOND_NS

#: A latency or rate that changed by less does not matter.
_MATTERS, _RATE_MATTERS = 1.05, 1.1
_METRICS = ("block.device", "block.queue", "block.total", "open", "process.lifetime")
_SHARES = {0.5: "p50_ns", 0.9: "p90_ns", 0.99: "p99_ns"}
#: Above a percentile there must be so many values, and so many in all, and they must lie in so many stretches.
_ABOVE, _FEWEST, _SPREAD = 40, 100, 8
#: So many events must there be for a rate.
_EVENTS = 30
#: By chance all of what happens in some stretches is on one side so rarely that it is told.
_ONE_SIDED = 0.0005
_RARE_TOLD = 8

Params = ParamSpec("Params")
Result = TypeVar("Result")


@dataclass(frozen=True)
class _Seen:
    """What is known of one side."""

    part: Part
    report: Report
    stretches: Stretches

    @property
    def latencies(self) -> dict[tuple[str, Group], Latency]:
        """By metric and group."""
        return _latencies(self.report)


def diff(before: Part, after: Part, *, processes: bool = False) -> Diff:
    """What changed between two recordings by more than chance and by enough to matter.

    Both are divided into stretches of time; by how much these differ among each other says how much two recordings of
    the same would. Of two that do not differ, less than one in a hundred comparisons tells any change.

    Args:
        processes: look at one of them in a second process.

    Raises:
        TraceError: a file is damaged.
        UsageError: there is no such part.
    """
    parts = before, after
    reports = _both(_report, parts, processes)
    # Another process knows it by its whole path.
    told = [replace(r, trace=replace(r.trace, path=str(p.trace.path))) for r, p in zip(reports, parts, strict=True)]
    wanted = _common_groups(*told)
    counted = _both(_stretches, parts, processes, wanted)
    was, now = (_Seen(*one) for one in zip(parts, told, counted, strict=True))
    return _Comparison(was, now).diff()


def _both(
    function: Callable[..., Result], parts: Sequence[Part], processes: bool, *more: object
) -> tuple[Result, Result]:
    """What a function makes of each part; it is given who wants to know how much was read, too."""
    first, second = ((Heard(part.trace.on_read), part, *more) for part in parts)
    if not processes:
        return function(*first), function(*second)
    with beside(function, *first) as other:
        mine = function(*second)
        return other(), mine


def _report(on_read: Callable[[int], None], part: Part) -> Report:
    part.trace.on_read = on_read
    return analyze(part.trace, part.selection, processes=False)


def _stretches(on_read: Callable[[int], None], part: Part, wanted: Mapping[str, list[Group]]) -> Stretches:
    part.trace.on_read = on_read
    return read_stretches(part.trace, part.selection, wanted)


def _latencies(report: Report) -> dict[tuple[str, Group], Latency]:
    return {(one.metric, tuple(sorted(one.group.items()))): one for one in report.latency}


def _common_groups(before: Report, after: Report) -> dict[str, list[Group]]:
    """The groups of each metric of which both have enough values, and everything that was opened or issued."""
    was, now = _latencies(before), _latencies(after)
    wanted: dict[str, list[Group]] = {}
    for metric, group in dict.fromkeys((*was, *now)):
        wanted.setdefault(metric, []).append(group)
    return wanted


class _Comparison:
    """Everything that is compared, and what is told of it."""

    def __init__(self, was: _Seen, now: _Seen) -> None:
        self._was, self._now = was, now
        self._length = now.stretches.length_ns / was.stretches.length_ns
        self._latency = dict(self._latency_ratios())
        self._rates = dict(self._rate_ratios())
        self._shapes = list(self._modes())
        self._compared = len(self._latency) + len(self._rates) + sum(len(one.ratios) for one in self._shapes)

    def diff(self) -> Diff:
        """All of it."""
        latency = tuple(self._told_latency(*key, ratio) for key, ratio in self._latency.items())
        rhythms = rhythm_changes(*((one.part, one.report) for one in (self._was, self._now)))
        explained = {command for change in rhythms for command in change.commands}
        rates, rare = self._told_rates()
        told: list[tuple[str, str, str]] = [("rhythm", change.title, change.detail) for change in rhythms]
        modes = {(shape.metric, shape.group): list(shape.told(self._compared)) for shape in self._shapes}
        told += _of_latencies([one for one in latency if one.sure], modes)
        told += _of_rates([one for one in rates if not _is_explained(one, explained)])
        changes = tuple(Change(rank, *one) for rank, one in enumerate(told, 1))
        notes = (*self._notes(), *rare)
        return Diff(self._was.report, self._now.report, self._compared, changes, latency, rates, notes)

    # --- latencies ---

    def _latency_ratios(self) -> Iterator[tuple[tuple[str, Group, float], Ratio]]:
        was, now = self._was.stretches.values, self._now.stretches.values
        for key in sorted(self._was.latencies.keys() & self._now.latencies.keys()):
            before, after = was[key], now[key]
            counts = [int(one.sum()) for one in (before, after)]
            if min(counts) < _FEWEST or min(map(_used, (before, after))) < _SPREAD:
                continue
            for share in _SHARES:
                if min(counts) * (1 - share) >= _ABOVE:
                    yield (*key, share), quantile_ratio(before, after, share)

    def _told_latency(self, metric: str, group: Group, share: float, ratio: Ratio) -> LatencyChange:
        was, now = (one.latencies.get((metric, group)) for one in (self._was, self._now))
        assert was is not None  # only groups that both reports have are compared
        assert now is not None
        before_ns, after_ns = (getattr(one, _SHARES[share]) for one in (was, now))
        return LatencyChange(
            metric,
            dict(group),
            share,
            was.count,
            now.count,
            before_ns,
            after_ns,
            ratio.ratio,
            ratio.low,
            ratio.high,
            ratio.is_sure(self._compared, _MATTERS),
        )

    def _modes(self) -> Iterator[Shape]:
        was, now = self._was.stretches.values, self._now.stretches.values
        known = self._was.latencies, self._now.latencies
        for metric, group in sorted(known[0].keys() & known[1].keys()):
            key = (metric, group)
            if min(known[0][key].count, known[1][key].count) >= _FEWEST:
                yield mode_changes(known[0][key], known[1][key], was[key], now[key])

    # --- rates ---

    def _rate_ratios(self) -> Iterator[tuple[tuple[str, Group], Ratio]]:
        for event, group, before, after in self._counted():
            if min(before.sum(), after.sum()) > 0 and max(before.sum(), after.sum()) >= _EVENTS:
                yield (event, group), rate_ratio(before, after, self._length)

    def _counted(self) -> Iterator[tuple[str, Group, Ints, Ints]]:
        """What is counted by stretch, on both sides."""
        nothing = np.zeros(STRETCHES, dtype=np.int64)
        for event, name in (("exec", "starts"), ("open", "opens"), ("block_issue", "issues")):
            was, now = (getattr(one.stretches, name) for one in (self._was, self._now))
            for group in sorted(was.keys() | now.keys()):
                yield event, group, was.get(group, nothing), now.get(group, nothing)

    def _told_rates(self) -> tuple[tuple[RateChange, ...], list[str]]:
        """The rates of what is frequent, and what is said of that which is on one side only and rare."""
        rates: list[RateChange] = []
        rare: dict[str, list[str]] = {"before": [], "after": []}
        for event, group, before, after in self._counted():
            ratio = self._rates.get((event, group))
            if ratio is not None:
                rates.append(self._rate(event, group, before, after, ratio))
            elif (before.any() != after.any()) and self._is_one_sided(before, after):
                rates.append(self._rate(event, group, before, after, None))
            elif event == "exec" and before.any() != after.any():
                side = "before" if before.any() else "after"
                rare[side].append(f"{printable(group[0][1], 60)} ({int((before + after).sum()):,})")
        told = [
            f"ran only {side}, too rarely to say more: {', '.join(names[:_RARE_TOLD])}"
            + (f" and {len(names) - _RARE_TOLD:,} more" if len(names) > _RARE_TOLD else "")
            for side, names in rare.items()
            if names
        ]
        return tuple(rates), told

    def _rate(self, event: str, group: Group, before: Ints, after: Ints, ratio: Ratio | None) -> RateChange:
        was, now = int(before.sum()), int(after.sum())
        seconds = [one.stretches.length_ns * STRETCHES / SECOND_NS for one in (self._was, self._now)]
        per_second = was / seconds[0], now / seconds[1]
        if ratio is None:
            return RateChange(event, dict(group), was, now, *per_second, None, None, None, sure=True)
        sure = ratio.is_sure(self._compared, _RATE_MATTERS)
        return RateChange(event, dict(group), was, now, *per_second, ratio.ratio, ratio.low, ratio.high, sure)

    def _is_one_sided(self, before: Ints, after: Ints) -> bool:
        """Whether it is more than chance that something is on one side only; one that comes and goes is one thing."""
        mine, length = (before, 1 / self._length) if before.any() else (after, self._length)
        used = np.flatnonzero(mine)
        chance = length / (1 + length)
        return bool(chance ** len(used) < _ONE_SIDED and used[-1] - used[0] >= STRETCHES // 2)

    # --- notes ---

    def _notes(self) -> Iterator[str]:
        """What makes the two hard to compare."""
        was, now = (one.part.trace.metadata for one in (self._was, self._now))
        pairs = (
            ("kernels", was.kernel, now.kernel),
            ("numbers of CPUs", was.cpus, now.cpus),
            ("filters", was.chosen() or "none", now.chosen() or "none"),
            ("families of events", ", ".join(was.events), ", ".join(now.events)),
            ("recorders", was.backend, now.backend),
        )
        for what, one, other in pairs:
            if one != other:
                yield f"the {what} differ: {printable(str(one), 60)} before, {printable(str(other), 60)} after"
        if None not in (was.hostname, now.hostname) and was.hostname != now.hostname:
            yield "the two were recorded on different machines"
        for side, seen in (("before", self._was), ("after", self._now)):
            if not seen.report.quality.whole:
                yield f"the recording {side} is not whole: what is missing there may look like a change"


def _used(counts: Ints) -> int:
    return int(np.count_nonzero(counts.any(axis=1)))


def _is_explained(one: RateChange, commands: set[str]) -> bool:
    """Whether a program is one of those that run in a rhythm that is told already."""
    return one.event == "exec" and one.group["path"].rsplit("/", 1)[-1][:15] in commands


def _of_latencies(
    sure: Sequence[LatencyChange], modes: Mapping[tuple[str, Group], list[str]]
) -> Iterator[tuple[str, str, str]]:
    """A change for each metric, or for each of its groups where the whole did not change."""
    told: set[str] = set()
    for metric in _METRICS:
        if metric == "block.total" and told & {"block.device", "block.queue"}:
            continue
        changed: dict[Group, list[LatencyChange]] = {}
        for one in sure:
            if one.metric == metric:
                changed.setdefault(tuple(one.group.items()), []).append(one)
        shaped = {group: lines for (name, group), lines in modes.items() if name == metric and lines}
        groups: list[Group] = [()] if () in changed or () in shaped else list(dict.fromkeys((*changed, *shaped)))
        told |= {metric} if groups else set()
        for group in groups:
            others = [one for one in sure if one.metric == metric and one.group] if not group else []
            kind = "latency" if group in changed else "mode"
            yield kind, *latency_change(metric, group, changed.get(group, []), others, shaped.get(group, []))


def _of_rates(rates: Sequence[RateChange]) -> Iterator[tuple[str, str, str]]:
    """Programs that came or went, then what is more or less often: the whole, or the groups where that is as it was."""
    sure = [one for one in rates if one.sure]
    for one in sure:
        if one.ratio is None and one.event == "exec":
            yield "program", *program_change(one)
    for event in ("exec", "block_issue", "open"):
        mine = [one for one in sure if one.event == event and not (one.ratio is None and event == "exec")]
        whole = [one for one in mine if not one.group]
        for one in whole or mine:
            yield "rate", *rate_change(one, mine)
