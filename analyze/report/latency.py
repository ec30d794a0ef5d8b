"""Latencies as text: buckets with bars, percentiles, modes, outliers, and a line for each group."""

from collections.abc import Sequence
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tracekit.analyze.results import Bucket, Episode, Latency, Mode, Outliers, Report, SetsApart
from tracekit.text import printable
from tracekit.units import format_count, format_ns, format_share

TITLES = {
    "block.device": ("Block I/O at the device", "issue to completion"),
    "block.queue": ("Block I/O in the queue", "submission to issue"),
    "block.total": ("Block I/O in all", "submission to completion"),
    "open": ("Opens", "entry to return"),
    "process.lifetime": ("Process lifetimes", "start to exit"),
}
EPISODES = 3
_BAR = 40
#: Queues that add less than this part of the device's time are a line.
_NEGLIGIBLE = 0.1


def latency_sections(report: Report, width: int, top: int) -> list[Any]:
    """All latencies, metric by metric; those that say little in a line; of groups the slowest."""
    whole = {one.metric: one for one in report.latency if not one.group}
    if not whole:
        return []
    lines: list[Any] = [Text(""), Text("LATENCY", style="bold cyan")]
    for index, (metric, one) in enumerate(whole.items()):
        if index:
            lines.append(Text(""))
        lines += _short(one) if _says_little(one, whole) else _full(one, report, width)
        lines += lost_line(one.lost)
        lines += _groups([item for item in report.latency if item.metric == metric and item.group], one, top)
    return lines


def lost_line(lost: int) -> list[Any]:
    """What stands below figures that miss events."""
    events = f"{format_count(lost)} event{'s' if lost > 1 else ''}"
    return [_indented(Text(f"(!) {events} lost meanwhile: these figures miss them", style="red"))] if lost else []


def _says_little(one: Latency, whole: dict[str, Latency]) -> bool:
    """A queue that is next to nothing, and a total that is then the device's."""
    queue, device = whole.get("block.queue"), whole.get("block.device")
    if one.metric not in ("block.queue", "block.total") or queue is None or device is None:
        return False
    return queue.p99_ns <= _NEGLIGIBLE * device.p99_ns and queue.outliers is None


def _title(one: Latency) -> Text:
    name, meaning = TITLES[one.metric]
    text = Text(name, style="bold")
    text.append(f" ({meaning}): {format_count(one.count)}", style="not bold")
    return text


def _figures(one: Latency) -> str:
    named = (("p50", one.p50_ns), ("p90", one.p90_ns), ("p99", one.p99_ns), ("p99.9", one.p999_ns), ("max", one.max_ns))
    return "   ".join(f"{name} {format_ns(value)}" for name, value in named)


def _short(one: Latency) -> list[Any]:
    return [_title(one), _indented(Text(_figures(one)))]


def _full(one: Latency, report: Report, width: int) -> list[Any]:
    lines = [_title(one), _indented(Text(_figures(one))), _indented(_buckets(one.histogram, width))]
    if one.modes:
        lines += [_indented(Text(line.strip()), 2 + len(line) - len(line.lstrip())) for line in _mode_lines(one.modes)]
    if one.outliers is not None:
        told = _outlier_lines(one.outliers, report)
        lines += [_indented(Text(line.strip()), 2 + len(line) - len(line.lstrip())) for line in told]
    return lines


def _buckets(buckets: Sequence[Bucket], width: int) -> Table:
    """One line a bucket; a stretch of three or more empty ones is one line."""
    table = Table.grid(padding=(0, 1))
    for justify in ("right", "left", "right", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    most = max(bucket.count for bucket in buckets)
    bar = max(min(width - 40, _BAR), 10)
    index = 0
    while index < len(buckets):
        empty = _empty_run(buckets, index)
        if empty >= 3:
            table.add_row(
                format_ns(buckets[index].low_ns), "to", format_ns(buckets[index + empty - 1].high_ns), "none", ""
            )
            index += empty
            continue
        one = buckets[index]
        marks = "#" * max(round(bar * one.count / most), 1 if one.count else 0)
        table.add_row(format_ns(one.low_ns), "to", format_ns(one.high_ns), f"{one.count:,}", Text(f"|{marks:<{bar}}|"))
        index += 1
    return table


def _empty_run(buckets: Sequence[Bucket], index: int) -> int:
    length = 0
    while index + length < len(buckets) and not buckets[index + length].count:
        length += 1
    return length


def _mode_lines(modes: Sequence[Mode]) -> list[str]:
    if len(modes) == 1:
        return [f"one mode: {_range(modes[0])}, most often {format_ns(modes[0].peak_ns)}"]
    major = sum(not mode.minor for mode in modes)
    minor = f" and {len(modes) - major} minor" if major < len(modes) else ""
    lines = [f"{major} mode{'s' if major > 1 else ''}{minor}, where dense, and the share from valley to valley:"]
    for mode in modes:
        kind = " (minor)" if mode.minor else ""
        lines.append(f"  {_range(mode)}: {format_share(mode.share)}{kind}")
        lines += _because(mode.sets_apart)
    return lines


def _range(mode: Mode) -> str:
    return f"{format_ns(mode.low_ns)} to {format_ns(mode.high_ns)}"


def _because(reasons: Sequence[SetsApart]) -> list[str]:
    """At most one line: what these have in common."""
    parts = [
        f"{r.field.replace('_', ' ')} {printable(r.value, 40)} ({format_share(r.share_inside)},"
        f" others {format_share(r.share_outside)})"
        for r in reasons[:3]
    ]
    return [f"    set apart by {', '.join(parts)}"] if parts else []


def _outlier_lines(out: Outliers, report: Report) -> list[str]:
    low, high = format_ns(out.low_ns), format_ns(out.high_ns)
    size = low if low == high else f"{low} to {high}"
    lines = [f"{format_count(out.count)} outlier{'s' if out.count > 1 else ''} ({format_share(out.share)}), {size}:"]
    # One that would be left out takes no more room than to say so.
    shown = EPISODES if len(out.episodes) > EPISODES + 1 else EPISODES + 1
    lines += [_episode(one, report.trace.start_ns) for one in out.episodes[:shown]]
    rest = len(out.episodes) - shown
    more = [f"  and {rest:,} more episodes"] if rest > 0 else []
    return [*lines, *more, *_because(out.sets_apart)]


def _episode(one: Episode, origin_ns: int) -> str:
    start, end = (format_ns(at - origin_ns) for at in (one.start_ns, one.end_ns))
    when = f"at {start}" if start == end else f"from {start} to {end}"
    return f"  {format_count(one.count)} {when} into the recording"


def _groups(groups: Sequence[Latency], whole: Latency, top: int) -> list[Any]:
    """A line for each group that was kept (of commands the busiest), the slowest first."""
    if not groups:
        return []
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for index, title in enumerate(("of these", "count", "p50", "p99", "max", "modes", "out")):
        table.add_column(title, justify="right" if index else "left", no_wrap=True)
    shown = top if len(groups) + whole.omitted > top + 1 else top + 1
    for one in sorted(groups, key=lambda item: (-item.p99_ns, sorted(item.group.items())))[:shown]:
        table.add_row(*(Text(cell) for cell in _group_row(one)))
    rest = max(len(groups) - shown, 0) + whole.omitted
    more = [_indented(Text(f"and {rest:,} more", style="dim"))] if rest else []
    return [_indented(table), *more]


def _by(one: Latency) -> str:
    name = printable(one.group["comm"], 24)
    return f"by {name}" if one.metric.startswith("block") else name


def _group_row(one: Latency) -> tuple[str, ...]:
    major = sum(not mode.minor for mode in one.modes)
    return (
        printable(" ".join(one.group.values()), 24) if "comm" not in one.group else _by(one),
        format_count(one.count),
        format_ns(one.p50_ns),
        format_ns(one.p99_ns),
        format_ns(one.max_ns),
        str(major) if major else "",
        format_count(one.outliers.count) if one.outliers else "",
    )


def _indented(what: Any, by: int = 2) -> Padding:
    return Padding(what, (0, 0, 0, by))
