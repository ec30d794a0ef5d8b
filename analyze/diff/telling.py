"""Changes in sentences."""

from collections.abc import Mapping, Sequence

from tracekit.analyze.diff.results import LatencyChange, RateChange
from tracekit.analyze.diff.stretches import Group
from tracekit.analyze.report.words import TITLES
from tracekit.text import printable
from tracekit.units import format_count, format_ns

WHAT = {"exec": "starts of", "open": "opens", "block_issue": "I/O issued"}
_TOLD = 3


def named(metric: str, group: Mapping[str, str]) -> str:
    """A metric, and of what."""
    name, parts = TITLES[metric][0], " ".join(printable(value, 40) for value in group.values())
    return f"{name}, {parts}" if parts else name


def rate(per_second: float) -> str:
    """So many a second, to three digits."""
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"


def times(ratio: float) -> str:
    """A ratio, to three digits."""
    return f"x {ratio:,.3g}" if ratio < 1000 else f"x {ratio:,.0f}"


def latency_change(
    metric: str, group: Group, changed: Sequence[LatencyChange], groups: Sequence[LatencyChange], modes: Sequence[str]
) -> tuple[str, str]:
    """What changed of a metric or one of its groups.

    Args:
        changed: its percentiles that did.
        groups: those of its groups, if it is the whole.
        modes: what is said of its modes.
    """
    told = [*map(_moved, changed), *modes]
    more = sorted(groups, key=lambda one: -max(one.ratio, 1 / one.ratio))[:_TOLD]
    most = ", ".join(f"{_values(one.group)} {_percentile(one)} {times(one.ratio)}" for one in more)
    also = f"Also {'; '.join(told[1:])}" if told[1:] else ""
    detail = ". ".join(part for part in (also, f"Most for {most}" if most else "") if part)
    return f"{named(metric, dict(group))}: {told[0]}", detail


def _moved(one: LatencyChange) -> str:
    figures = f"{format_ns(one.before_ns)} to {format_ns(one.after_ns)}"
    return f"{_percentile(one)} from {figures} ({times(one.ratio)}, 95 % sure of {one.low:,.3g} to {one.high:,.3g})"


def _percentile(one: LatencyChange) -> str:
    return f"p{one.share * 100:.0f}"


def program_change(one: RateChange) -> tuple[str, str]:
    """A program that came or went."""
    path = printable(one.group["path"], 80)
    if one.before_count:
        return f"{path} no longer runs; before, it was started {_often(one.before_count, one.before_per_second)}", ""
    return f"{path} is new: it was started {_often(one.after_count, one.after_per_second)}, and never before", ""


def _often(count: int, per_second: float) -> str:
    return f"{format_count(count)} time{'s' if count > 1 else ''} ({rate(per_second)} a second)"


def rate_change(one: RateChange, changed: Sequence[RateChange]) -> tuple[str, str]:
    """What is done more or less often, and of all of it by whom most."""
    what = f"{WHAT[one.event]} {_values(one.group)}".strip()
    rates = f"from {rate(one.before_per_second)} to {rate(one.after_per_second)} a second"
    sure = "" if one.ratio is None else f" ({times(one.ratio)}, 95 % sure of {one.low:,.3g} to {one.high:,.3g})"
    groups = [] if one.group else [other for other in changed if other.group and other.event == one.event]
    groups.sort(key=lambda other: -abs(other.after_per_second - other.before_per_second))
    told = [
        f"{_values(other.group)} from {rate(other.before_per_second)} to {rate(other.after_per_second)}"
        for other in groups[:_TOLD]
    ]
    return f"{what[:1].upper()}{what[1:]}: {rates}{sure}", f"Most of it: {', '.join(told)}" if told else ""


def _values(group: Mapping[str, str]) -> str:
    return " ".join(printable(value, 60) for value in group.values())
