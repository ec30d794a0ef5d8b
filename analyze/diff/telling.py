"""Changes in sentences."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tracekit.analyze.columns import Ints
from tracekit.analyze.diff.chance import is_brief
from tracekit.analyze.diff.outliers import OutlierChange
from tracekit.analyze.diff.results import LatencyChange, RateChange
from tracekit.analyze.diff.stretches import Group
from tracekit.analyze.report.words import TITLES
from tracekit.analyze.results import Outliers
from tracekit.text import printable
from tracekit.units import format_count, format_ns, format_share

WHAT = {"exec": "starts of", "open": "opens", "open_failed": "failing opens", "block_issue": "I/O issued"}
_TOLD = 3
#: A group that changed by less than this part of what the whole did, on a logarithmic scale, does not explain it.
_ALIKE = 0.5
#: So many standard errors less, even if each event came by itself: there are too few for more.
_FEW = 5
_UNEVEN = "varies too much within the recordings to be sure"


def named(metric: str, group: Mapping[str, str]) -> str:
    """A metric, and of what."""
    name, parts = TITLES[metric][0], " ".join(printable(value, 40) for value in group.values())
    return f"{name}, {parts}" if parts else name


def plain(number: float) -> str:
    """A rate or a ratio, to three digits or all before the point, without powers of ten."""
    if number >= 100:
        return f"{number:,.0f}"
    return np.format_float_positional(number, precision=3, unique=False, fractional=False, trim="-")


def times(ratio: float) -> str:
    """A ratio."""
    return f"x {plain(ratio)}"


def interval(one: LatencyChange | RateChange) -> str:
    """What a ratio is with a certainty of 95 %; nothing where there is none."""
    return "" if one.low is None or one.high is None else f"{plain(one.low)} to {plain(one.high)}"


def latency_change(
    metric: str,
    group: Group,
    changed: Sequence[LatencyChange],
    groups: Sequence[LatencyChange],
    modes: tuple[Sequence[str], Sequence[str]],
    mix: Sequence[tuple[Group, float, float]],
) -> tuple[str, str]:
    """What changed of a metric or one of its groups.

    Args:
        changed: its percentiles that did.
        groups: those of its groups, if it is the whole.
        modes: what is said of its modes that came or went, and of those that moved.
        mix: its groups whose part of all values is quite another one, and both parts.
    """
    told = [*modes[0], *map(_moved, changed), *modes[1]]
    whole = max((math.log(one.ratio) for one in changed), key=abs, default=0.0)
    # What changed the other way, or by much less, does not explain it.
    alike = [one for one in groups if not whole or math.log(one.ratio) / whole >= _ALIKE]
    more = sorted(alike, key=lambda one: -max(one.ratio, 1 / one.ratio))[:_TOLD]
    most = ", ".join(f"{_values(one.group)} {_percentile(one)} {times(one.ratio)}" for one in more)
    also = f"Also {'; '.join(told[1:])}" if told[1:] else ""
    mixed = "; ".join(
        f"{_values(dict(name))} {share(was)} before, {share(now)} after" for name, was, now in mix[:_TOLD]
    )
    besides = f"{'Most for' if whole else 'Besides,'} {most}" if most else ""
    parts = (also, f"Of these values {mixed}" if mixed else "", besides)
    return f"{named(metric, dict(group))}: {told[0]}", ". ".join(part for part in parts if part)


def share(part: float) -> str:
    """A share of all, which may be none."""
    return format_share(part) if part else "none"


def outlier_line(one: OutlierChange) -> str:
    """What is said of outliers that only one side has, and if that may be chance, why."""
    took = f"{format_count(one.outliers.count)} of {format_count(one.size)} took {_between(one.outliers)}"
    side, other = ("after", "before") if one.came else ("before", "after")
    what = (", new outliers" if one.came else ", no more outliers") * one.sure
    none = f"{other}, none took more than {format_ns(one.greatest_ns)}"
    return f"{named(one.metric, {})}{what}: {side}, {took}; {none}"


def _between(outliers: Outliers) -> str:
    low, high = format_ns(outliers.low_ns), format_ns(outliers.high_ns)
    return low if low == high else f"{low} to {high}"


def one_sided_reason(counts: Ints, length_ns: float) -> str:
    """Why it may be chance that something is on one side only, from counts by stretch."""
    if not is_brief(counts):
        return "too few to be sure"
    used = np.flatnonzero(counts)
    return f"all within {format_ns(round((used[-1] - used[0] + 1) * length_ns))}, perhaps one event"


def unsure_latency(one: LatencyChange) -> str:
    """A percentile that may have changed by chance, and why."""
    return f"{named(one.metric, one.group)}: {_moved(one)}; {_UNEVEN}"


def unsure_rate(one: RateChange) -> str:
    """A rate that may have changed by chance, and why."""
    was, now = one.before_count, one.after_count
    few = abs(math.log(one.ratio or 1)) / math.sqrt(1 / was + 1 / now) < _FEW
    reason = f"too few to be sure, {format_count(was)} before and {format_count(now)} after" if few else _UNEVEN
    return f"{rate_line(one)}; {reason}"


def _moved(one: LatencyChange) -> str:
    figures = f"{format_ns(one.before_ns)} to {format_ns(one.after_ns)}"
    return f"{_percentile(one)} from {figures} ({times(one.ratio)}, 95 % sure of {interval(one)})"


def _percentile(one: LatencyChange) -> str:
    return f"p{one.share * 100:.0f}"


def program_change(one: RateChange) -> tuple[str, str]:
    """A program that came or went."""
    path = printable(one.group["path"], 80)
    if one.before_count:
        often = _often(one.before_count, one.before_per_second)
        return f"{path} is no longer started; before, it was started {often}", ""
    return f"{path} is new: it was started {_often(one.after_count, one.after_per_second)}, and never before", ""


def _often(count: int, per_second: float) -> str:
    return f"{format_count(count)} time{'s' if count > 1 else ''} ({plain(per_second)} a second)"


def rate_change(
    one: RateChange, changed: Sequence[RateChange], tried: tuple[int, int] | None = None
) -> tuple[str, str]:
    """What is done more or less often, and of all of it by whom most.

    Args:
        tried: of what fails, of how many before and after.
    """
    told = [_of_it(other) + (_counts(other) if tried else "") for other in most_of(one, changed)]
    parts = (failing(one, tried) if tried else "", f"Most of it: {', '.join(told)}" if told else "")
    return rate_line(one), ". ".join(part for part in parts if part)


def most_of(one: RateChange, changed: Sequence[RateChange]) -> list[RateChange]:
    """The groups that are named with a change of the whole: those that changed most."""
    groups = [] if one.group else [other for other in changed if other.group and other.event == one.event]
    return sorted(groups, key=lambda other: -abs(other.after_per_second - other.before_per_second))[:_TOLD]


def _of_it(one: RateChange) -> str:
    return f"{_values(one.group)} from {plain(one.before_per_second)} to {plain(one.after_per_second)}"


def _counts(one: RateChange) -> str:
    return f" ({format_count(one.before_count)} before, {format_count(one.after_count)} after)"


def rate_line(one: RateChange) -> str:
    """How often something is done."""
    what = f"{WHAT[one.event]} {_values(one.group)}".strip()
    rates = f"from {plain(one.before_per_second)} to {plain(one.after_per_second)} a second"
    sure = "" if one.ratio is None else f" ({times(one.ratio)}, 95 % sure of {interval(one)})"
    return f"{what[:1].upper()}{what[1:]}: {rates}{sure}"


def failing(one: RateChange, tried: tuple[int, int]) -> str:
    """How many opens failed, of how many."""
    sides = zip((one.before_count, one.after_count), tried, ("before", "after"), strict=True)
    told = (f"{count:,} of {of:,} {side}" if of else f"no opens {side}" for count, of, side in sides)
    line = ", ".join(told)
    return line[:1].upper() + line[1:]


def _values(group: Mapping[str, str]) -> str:
    return " ".join(printable(value, 60) for value in group.values())
