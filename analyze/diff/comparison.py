"""What changed between two recordings: latencies, modes, rhythms, programs and rates."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeAlias, TypeVar

import numpy as np

from tracekit.analyze.analysis import analyze
from tracekit.analyze.beside import Heard, beside
from tracekit.analyze.columns import Ints
from tracekit.analyze.diff.chance import Ratio, is_one_sided, quantile_ratio, rate_ratio
from tracekit.analyze.diff.modes import Shape, mode_changes
from tracekit.analyze.diff.outliers import OutlierChange, outlier_change
from tracekit.analyze.diff.results import Change, Diff, LatencyChange, Part, RateChange
from tracekit.analyze.diff.rhythms import rhythm_changes
from tracekit.analyze.diff.stretches import FAILURES, STRETCHES, Group, Stretches, read_stretches
from tracekit.analyze.diff.telling import (
    failing,
    latency_change,
    most_of,
    one_sided_reason,
    outlier_line,
    program_change,
    rate_change,
    rate_line,
    unsure_latency,
    unsure_rate,
)
from tracekit.analyze.results import Latency, OpenUse, Report
from tracekit.text import command_name, printable
from tracekit.units import SECOND_NS

#: A latency or rate that changed by less does not matter.
_MATTERS, _RATE_MATTERS = 1.05, 1.1
_METRICS = ("block.device", "block.queue", "block.total", "open", "process.lifetime")
#: What is told of these is not told again of I/O in total, unless that changed by so much more (of the logarithms).
_PARTS_OF_TOTAL, _MUCH_MORE = {"block.device", "block.queue"}, 1.5
_SHARES = {0.5: "p50_ns", 0.9: "p90_ns", 0.99: "p99_ns"}
#: Above a percentile there must be so many values, and so many in all, and they must lie in so many stretches.
_ABOVE, _FEWEST, _SPREAD = 40, 100, 8
#: With fewer rows than this a second process has hardly begun when it is done.
_LARGE = 200_000
#: So many events must there be for a rate.
_EVENTS = 30
#: So many of what started on one side only but rarely are told, and so many figures that are not sure.
_RARE_TOLD, _UNSURE_TOLD = 8, 5
#: What is not sure is worth a line if it is so many times as much, or as little.
_MUCH = 1.5
#: Groups whose part of all values changed by so much may be why the whole did.
_OTHER_MIX = 0.2
#: Opens fail more often, and are not only more, if so much more of them do, or so many of a command that is new.
_OFTENER, _MOSTLY = 1.5, 0.5
#: Opens without durations are compared of so many commands, as latencies are.
_BUSIEST = 10
#: Who has less than this part of a change in failing opens is not named with it.
_NAMED = 0.2
_OPEN_FAILED = "open_failed"

Params = ParamSpec("Params")
Result = TypeVar("Result")
#: Kind, title and detail.
_Told: TypeAlias = tuple[str, str, str]


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

    @property
    def commands(self) -> set[str]:
        """Of those that ran already when it began, or did something."""
        opens, blocks = _by_comm(self.report), self.report.workload.block.get("by_comm", ())
        return {*self.stretches.running, *(one.name for one in opens), *(one.name for one in blocks)}


def diff(before: Part, after: Part, *, processes: bool = True) -> Diff:
    """What changed between two recordings by more than chance and by enough to matter.

    Both are divided into stretches of time; by how much these differ among each other says how much two recordings of
    the same would. Of two that do not differ, less than one in a hundred comparisons tells any change.

    Args:
        processes: look at one of them in a second process, unless they are small.

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
    if not processes or min(part.trace.rows for part in parts) < _LARGE:
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
    """The groups of each metric that either has, and who fails to open files with what error."""
    was, now = _latencies(before), _latencies(after)
    wanted: dict[str, list[Group]] = {}
    for metric, group in dict.fromkeys((*was, *now)):
        wanted.setdefault(metric, []).append(group)
    uses = [_by_comm(report) for report in (before, after)]
    if any(uses):  # of opens without durations, no report tells latencies
        busiest = (use.name for its in uses for use in its[:_BUSIEST])
        wanted.setdefault("open", [(), *((("comm", name),) for name in dict.fromkeys(busiest))])
    failed = {(("comm", use.name), ("error", error)) for its in uses for use in its for error in use.failed}
    if failed:
        wanted[FAILURES] = [(), *sorted(failed)]
    return wanted


def _by_comm(report: Report) -> tuple[OpenUse, ...]:
    return report.workload.open.get("by_comm", ())


class _Comparison:
    """Everything that is compared, and what is told of it."""

    def __init__(self, was: _Seen, now: _Seen) -> None:
        self._was, self._now = was, now
        self._length = now.stretches.length_ns / was.stretches.length_ns
        self._latency = dict(self._latency_ratios())
        self._rates = dict(self._rate_ratios())
        self._shapes = {(shape.metric, shape.group): shape for shape in self._modes()}
        self._outliers = {one.metric: one for one in self._outlier_changes()}
        self._compared = len(self._latency) + len(self._rates)
        self._compared += sum(len(one.ratios) for one in self._shapes.values())

    def diff(self) -> Diff:
        """All of it."""
        latency = tuple(self._told_latency(*key, ratio) for key, ratio in self._latency.items())
        rhythms = rhythm_changes(*((one.part, one.report) for one in (self._was, self._now)))
        explained = {command for change in rhythms for command in change.commands}
        rates = tuple(self._told_rates())
        told: list[_Told] = [("rhythm", change.title, change.detail) for change in rhythms]
        told += self._of_latencies([one for one in latency if one.sure])
        worth = [one for one in rates if one.event != _OPEN_FAILED or self._is_of_failing(one)]
        sure = [one for one in worth if one.sure]
        told += self._of_rates(sure, explained)
        # Who is named with a sure change may not be sure by itself; it is told once.
        with_it = [one for each, most in self._of_failures(sure) for one in most_of(each, most)]
        failing_told = [one.group for one in with_it]
        others = [one for one in worth if one.event != _OPEN_FAILED or one.group not in failing_told]
        others = [one for one in others if not _is_explained(one.event, one.group, explained)]
        unsure = [*self._unsure_sides(failing_told), *self._unsure_programs(explained)]
        unsure += _unsure_figures(latency, others)
        changes, perhaps = (tuple(Change(rank, *one) for rank, one in enumerate(each, 1)) for each in (told, unsure))
        reports = self._was.report, self._now.report
        return Diff(*reports, self._compared, changes, perhaps, latency, rates, tuple(self._notes()))

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
            *self._certainty(ratio, _MATTERS),
        )

    def _certainty(self, ratio: Ratio, least: float) -> tuple[bool, bool]:
        """Whether it is sure, and if not whether it would be by itself."""
        sure = ratio.is_sure(self._compared, least)
        return sure, ratio.matters(least) and not sure

    def _modes(self) -> Iterator[Shape]:
        was, now = self._was.stretches.values, self._now.stretches.values
        known = self._was.latencies, self._now.latencies
        for metric, group in sorted(known[0].keys() & known[1].keys()):
            key = (metric, group)
            if min(known[0][key].count, known[1][key].count) >= _FEWEST:
                yield mode_changes(known[0][key], known[1][key], was[key], now[key])

    def _outlier_changes(self) -> Iterator[OutlierChange]:
        was, now = self._was.stretches.values, self._now.stretches.values
        known = self._was.latencies, self._now.latencies
        for metric in _METRICS[:-1]:  # a shorter recording does not see long lives end
            key: tuple[str, Group] = (metric, ())
            if all(key in side and side[key].count >= _FEWEST for side in known):
                found = outlier_change(known[0][key], known[1][key], was[key], now[key])
                if found is not None:
                    yield found

    def _mix(self, metric: str) -> list[tuple[Group, float, float]]:
        """Groups of a metric whose part of all its values is quite another one, by how much it is."""
        was, now = (
            {group: int(counts.sum()) for (name, group), counts in side.stretches.values.items() if name == metric}
            for side in (self._was, self._now)
        )
        parts = [(group, was[group] / was[()], now[group] / now[()]) for group in was.keys() & now.keys() if group]
        other = [one for one in parts if abs(one[1] - one[2]) >= _OTHER_MIX]
        return sorted(other, key=lambda one: (-abs(one[1] - one[2]), one[0]))

    def _of_latencies(self, sure: Sequence[LatencyChange]) -> Iterator[_Told]:
        """A change for each metric, or for each of its groups where the whole did not change; then new outliers."""
        told: set[str] = set()
        for metric in _METRICS:
            if metric == "block.total" and told & _PARTS_OF_TOTAL and not _is_more_than_its_parts(sure):
                continue
            changed: dict[Group, list[LatencyChange]] = {}
            for one in sure:
                if one.metric == metric:
                    changed.setdefault(tuple(one.group.items()), []).append(one)
            modes = {group: its.told(self._compared) for (name, group), its in self._shapes.items() if name == metric}
            shaped = [group for group, lines in modes.items() if any(lines)]
            groups: list[Group] = [()] if () in changed or () in shaped else list(dict.fromkeys((*changed, *shaped)))
            for group in groups:
                others = [one for one in sure if one.metric == metric and one.group] if not group else []
                lines = modes.get(group, ([], []))
                kind = "mode" if lines[0] or group not in changed else "latency"
                mix = self._mix(metric) if not group else []
                yield kind, *latency_change(metric, group, changed.get(group, []), others, lines, mix)
            told |= {metric} if groups else set()
            outliers = self._outliers.get(metric)
            if outliers is not None and outliers.sure:
                told.add(metric)
                yield "outliers", outlier_line(outliers), ""

    # --- rates ---

    def _rate_ratios(self) -> Iterator[tuple[tuple[str, Group], Ratio]]:
        for event, group, before, after in self._counted():
            if min(before.sum(), after.sum()) > 0 and max(before.sum(), after.sum()) >= _EVENTS:
                yield (event, group), rate_ratio(before, after, self._length)

    def _counted(self) -> Iterator[tuple[str, Group, Ints, Ints]]:
        """What is counted by stretch, on both sides, of families of events that both recorded."""
        nothing = np.zeros(STRETCHES, dtype=np.int64)
        kinds = (
            ("process", "exec", "starts"),
            ("open", "open", "opens"),
            ("open", _OPEN_FAILED, "failures"),
            ("block", "block_issue", "issues"),
        )
        recorded = [one.part.trace.metadata.recorded for one in (self._was, self._now)]
        for family, event, name in kinds:
            if not all(family in families for families in recorded):
                continue
            was, now = (getattr(one.stretches, name) for one in (self._was, self._now))
            for group in sorted(was.keys() | now.keys()):
                yield event, group, was.get(group, nothing), now.get(group, nothing)

    def _told_rates(self) -> Iterator[RateChange]:
        """The rates of what is frequent, or surely on one side only."""
        for event, group, before, after in self._counted():
            ratio = self._rates.get((event, group))
            if ratio is not None or (before.any() != after.any() and self._is_one_sided(before, after)):
                one = self._rate(event, group, before, after, ratio)
                if event != _OPEN_FAILED or not group or self._is_of_failing(one):
                    yield one

    def _rate(self, event: str, group: Group, before: Ints, after: Ints, ratio: Ratio | None) -> RateChange:
        was, now = int(before.sum()), int(after.sum())
        seconds = [one.stretches.length_ns * STRETCHES / SECOND_NS for one in (self._was, self._now)]
        counts = was, now, was / seconds[0], now / seconds[1]
        if ratio is None:
            sure = self._is_one_sided(before, after)
            return RateChange(event, dict(group), *counts, None, None, None, sure, perhaps=not sure)
        figures = ratio.ratio, ratio.low, ratio.high
        return RateChange(event, dict(group), *counts, *figures, *self._certainty(ratio, _RATE_MATTERS))

    def _is_one_sided(self, before: Ints, after: Ints) -> bool:
        """Whether it is more than chance that what only one side has is there only."""
        counts, length = (before, 1 / self._length) if before.any() else (after, self._length)
        return is_one_sided(counts, length / (1 + length))

    def _of_rates(self, sure: Sequence[RateChange], explained: set[str]) -> Iterator[_Told]:
        """Programs that came or went, who fails to open files, then what is more or less often.

        Of what is more or less often the whole, or the groups where that is as it was.
        """
        unexplained = [one for one in sure if not _is_explained(one.event, one.group, explained)]
        for one in unexplained:
            if one.ratio is None and one.event == "exec":
                yield "program", *program_change(one)
        for one, most in self._of_failures(sure):
            yield "failures", *rate_change(one, most, self._tried(one))
        for event in ("exec", "block_issue", "open"):
            mine = [one for one in unexplained if one.event == event and not (one.ratio is None and event == "exec")]
            whole = [one for one in mine if not one.group]
            for one in whole or mine:
                yield "rate", *rate_change(one, sure)

    def _of_failures(self, sure: Sequence[RateChange]) -> list[tuple[RateChange, list[RateChange]]]:
        """Groups of failing opens, or the whole where those that make most of it are not sure; and these."""
        failures = [one for one in sure if one.event == _OPEN_FAILED]
        groups, whole = ([one for one in failures if bool(one.group) is which] for which in (True, False))
        most = [one for each in whole for one in self._failing_most(each)]
        are_sure = bool(most) and all(any(one.group == other.group for other in groups) for one in most)
        return [(one, most) for one in (groups if are_sure or not whole else whole)]

    def _failing_most(self, whole: RateChange) -> list[RateChange]:
        """Whose opens make most of a change in failing opens, sure of each or not."""
        change = whole.after_per_second - whole.before_per_second
        each = (one for one in self._counted() if one[0] == _OPEN_FAILED and one[1])
        rates = [self._rate(*one, None) for one in each]
        return [one for one in rates if (one.after_per_second - one.before_per_second) / change >= _NAMED]

    def _tried(self, one: RateChange) -> tuple[int, int]:
        """How many opens its command made before and after, or all of them."""
        was, now = (
            sum(use.count for use in _by_comm(side.report) if use.name == one.group["comm"])
            if one.group
            else int(side.stretches.opens[()].sum())
            for side in (self._was, self._now)
        )
        return was, now

    def _is_of_failing(self, one: RateChange) -> bool:
        """Whether another part of the opens fails: not only more are made, or fewer."""
        was, now = (
            count / tried if tried else None
            for count, tried in zip((one.before_count, one.after_count), self._tried(one), strict=True)
        )
        if was is None or now is None:
            return (was or now or 0) >= _MOSTLY
        return max(was, now) > _OFTENER * min(was, now)

    # --- what is not sure ---

    def _unsure_sides(self, failing_told: Sequence[Mapping[str, str]]) -> Iterator[_Told]:
        """Outliers and failing opens that only one side has, but too rarely to be sure, or all at one time.

        Args:
            failing_told: whose failing opens are told already.
        """
        was, now = (one.stretches.length_ns for one in (self._was, self._now))
        for found in self._outliers.values():
            if not found.sure and not (found.metric == "block.total" and "block.device" in self._outliers):
                reason = one_sided_reason(found.counts, now if found.came else was)
                yield "outliers", f"{outlier_line(found)}: {reason}", ""
        for event, group, before, after in self._rarely():
            counts, length_ns = (before, was) if before.any() else (after, now)
            if event == _OPEN_FAILED and group and dict(group) not in failing_told and counts.sum() >= _EVENTS:
                one = self._rate(event, group, before, after, None)
                if self._is_of_failing(one):
                    reason = one_sided_reason(counts, length_ns)
                    yield "failures", f"{rate_line(one)}; {reason}", failing(one, self._tried(one))

    def _unsure_programs(self, explained: set[str]) -> Iterator[_Told]:
        """Programs that only one side started, and the other did not have; nor are they in a rhythm that is told."""
        programs = [one for one in self._rarely() if one[0] == "exec"]
        rarely = [(group[0][1], before.sum(), after.sum()) for _, group, before, after in programs]
        sides = (
            ("before", self._now, [(path, count) for path, count, _ in rarely if count]),
            ("after", self._was, [(path, count) for path, _, count in rarely if count]),
        )
        for side, other, started in sides:
            known = explained | other.commands
            names = [f"{printable(path, 60)} ({count:,})" for path, count in started if _command(path) not in known]
            if names:
                more = f" and {len(names) - _RARE_TOLD:,} more" if len(names) > _RARE_TOLD else ""
                told = f"{', '.join(names[:_RARE_TOLD])}{more}"
                yield "program", f"Started only {side}, too rarely to be sure: {told}", ""

    def _rarely(self) -> Iterator[tuple[str, Group, Ints, Ints]]:
        """What only one side has, of what is counted, but not surely so."""
        for one in self._counted():
            *_, before, after = one
            if before.any() != after.any() and not self._is_one_sided(before, after):
                yield one

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


def _is_explained(event: str, group: Mapping[str, str], commands: set[str]) -> bool:
    """Whether these are starts or opens of a program that runs in a rhythm that is told already."""
    name = _command(group["path"]) if event == "exec" else group.get("comm") if event == "open" else None
    return name in commands


def _is_more_than_its_parts(sure: Sequence[LatencyChange]) -> bool:
    """Whether I/O in total changed much more than at the device or in the queue, as where the driver sends it back."""
    total, parts = (
        max((abs(math.log(one.ratio or 1)) for one in sure if one.metric in metrics and not one.group), default=0.0)
        for metrics in ({"block.total"}, _PARTS_OF_TOTAL)
    )
    return total > _MUCH_MORE * parts


def _command(path: str) -> str:
    """What the kernel calls a process that runs a program."""
    return command_name(path.rsplit("/", 1)[-1])


def _unsure_figures(latency: Sequence[LatencyChange], rates: Sequence[RateChange]) -> Iterator[_Told]:
    """Latencies and rates that are quite another, but not surely: those of all, and of groups where those are not."""
    both: tuple[LatencyChange | RateChange, ...] = (*latency, *rates)
    figures = [one for one in both if one.perhaps and _is_much(one)]
    wholes = {_about(one) for one in figures if not one.group}
    chosen = [one for one in figures if not one.group or _about(one) not in wholes]
    chosen = [one for one in chosen if _about(one) != "block.total" or "block.device" not in map(_about, chosen)]
    chosen.sort(key=lambda one: -abs(math.log(one.ratio or 1)))
    for one in chosen[:_UNSURE_TOLD]:
        if isinstance(one, LatencyChange):
            yield "latency", unsure_latency(one), ""
        else:
            yield "failures" if one.event == _OPEN_FAILED else "rate", unsure_rate(one), ""


def _is_much(one: LatencyChange | RateChange) -> bool:
    return one.ratio is not None and max(one.ratio, 1 / one.ratio) >= _MUCH


def _about(one: LatencyChange | RateChange) -> str:
    return one.metric if isinstance(one, LatencyChange) else one.event
