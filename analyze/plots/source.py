"""What pictures are made of: latencies and times of events, as the report has them, a piece at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from tracekit.analyze.blocks import BlockStream, measured, read_blocks, spans
from tracekit.analyze.census import take_census
from tracekit.analyze.columns import NULL, Bools, Codes, Ints, encoded, ints, number_of
from tracekit.analyze.families import tell_processes
from tracekit.analyze.opens import read_opens
from tracekit.analyze.report.words import TITLES
from tracekit.analyze.results import LostWindow
from tracekit.analyze.selection import Selection
from tracekit.analyze.windows import Windows, read_windows
from tracekit.errors import UsageError
from tracekit.schema import ALL_EVENTS, FAMILY_OF
from tracekit.text import did_you_mean
from tracekit.trace import Trace
from tracekit.units import SECOND_NS, format_count, format_ns

ALL = Selection()
METRICS = tuple(TITLES)
#: Every event that has a time of its own.
TIMED_EVENTS = tuple(event for event in ALL_EVENTS if event not in ("process", "lost"))
#: What each of them is, for a title.
EVENTS_TOLD = {
    "fork": "new processes",
    "exec": "programs started",
    "exec_failed": "programs that could not start",
    "exit": "processes that ended",
    "block_start": "I/O submitted",
    "block_issue": "I/O handed to the device",
    "block_requeue": "I/O handed back by the device",
    "block_merge": "I/O merged with other",
    "block_complete": "I/O completed",
    "open": "files opened, or tried to",
}
_GROUPS = {"block": ("disk", "op", "comm"), "open": ("comm",), "process": ("comm",)}
_PAIRED = {"block_start": "start_ns", "block_issue": "issue_ns", "block_complete": "complete_ns"}
#: So many stretches of lost time a picture can show.
_WINDOWS = 500


class NothingToShowError(UsageError):
    """The trace, or the part of it that was selected, has nothing that this picture is about."""


@dataclass(frozen=True)
class About:
    """What a picture says of where it is from.

    Attributes:
        name: of the trace's file.
        began: wall-clock time at which the recording began; empty where unknown.
        part: what part of the recording is shown; empty for all of it.
        lost: stretches of time in which events of what is shown were lost, in seconds from the recording's start.
        lost_count: how many were.
    """

    name: str
    began: str
    duration_ns: int
    part: str
    lost: tuple[tuple[float, float], ...] = ()
    lost_count: int = 0

    @staticmethod
    def of(trace: Trace, selection: Selection, family: str | None = None) -> "About":
        """Of a trace, and of what was lost of a family in the part that was selected; of none for null."""
        start_ns, end_ns = selection.span(trace)
        mine = tuple(
            window
            for window in (read_windows(trace) if family else ())
            if window.family == family and window.start_ns < end_ns and window.end_ns > start_ns
        )
        lost = _stretches(mine, family or "", trace.start_ns, end_ns - start_ns)
        part = "; ".join(_part(selection))
        return About(
            trace.path.name, _began(trace), trace.metadata.duration_ns, part, lost, sum(one.lost for one in mine)
        )

    @property
    def warning(self) -> str:
        """What stands above a picture that misses events; empty if none are missing."""
        if not self.lost_count:
            return ""
        return f"(!) {format_count(self.lost_count)} events lost in the shaded time: this picture misses them"


def _stretches(
    windows: tuple[LostWindow, ...], family: str, origin_ns: int, span_ns: int
) -> tuple[tuple[float, float], ...]:
    """Lost time in seconds; what a picture could not show apart is one stretch."""
    joined = Windows.of(windows, family)
    if not len(joined.start_ns):
        return ()
    apart = joined.start_ns[1:] - joined.end_ns[:-1] > span_ns // _WINDOWS
    starts = joined.start_ns[np.append(True, apart)] - origin_ns
    ends = joined.end_ns[np.append(apart, True)] - origin_ns
    return tuple(
        (start / SECOND_NS, end / SECOND_NS) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    )


def _began(trace: Trace) -> str:
    if not trace.metadata.clock.anchors:
        return ""
    try:
        seconds = int(trace.metadata.clock.realtime_ns(trace.start_ns)) // SECOND_NS
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return ""


def _part(selection: Selection) -> Iterator[str]:
    if selection.start_ns is not None or selection.end_ns is not None:
        end = "the end" if selection.end_ns is None else format_ns(selection.end_ns)
        yield f"from {format_ns(selection.start_ns or 0)} to {end}"
    if selection.comm is not None:
        yield f"command {selection.comm}"
    if selection.disk is not None:
        yield f"disk {selection.disk}"


def nothing(trace: Trace, selection: Selection, what: str) -> NothingToShowError:
    """The error for a picture that would be empty."""
    part = "; ".join(_part(selection))
    return NothingToShowError(f"there is nothing to draw: no {what} in {trace.path}{f' ({part})' if part else ''}")


def suggest(name: str, known: tuple[str, ...], what: str) -> UsageError:
    """The error for a name that is none of those known."""
    return UsageError(f"there is no {what} {name!r}: {did_you_mean(name, known)}")


# --- latencies ---


@dataclass(frozen=True)
class Values:
    """Latencies, and when each began, in no order."""

    start_ns: Ints
    value_ns: Ints


def family_of(metric: str) -> str:
    """The family of events that a metric is measured on.

    Raises:
        UsageError: there is no such metric.
    """
    if metric not in METRICS:
        raise suggest(metric, METRICS, "metric")
    return metric.split(".")[0]


def usual_metric(trace: Trace) -> str:
    """What is measured where nobody says: I/O at the device, else opens, else lifetimes of processes."""
    counts = trace.counts
    return "block.device" if "block_issue" in counts else "open" if "open" in counts else "process.lifetime"


def values(trace: Trace, selection: Selection, metric: str, group: Mapping[str, str]) -> Iterator[Values]:
    """The latencies of a metric that the report is made of, a piece at a time.

    Args:
        group: fields, such as `disk`, `op` and `comm`, and the values that they have.

    Raises:
        UsageError: there is no such metric, or it has no such field.
    """
    family = family_of(metric)
    for name in group:
        if name not in _GROUPS[family]:
            raise UsageError(f"{metric} has no groups by {name!r}: it has some by {', '.join(_GROUPS[family])}")
    if family == "block":
        yield from _block_values(trace, selection, metric, group)
    elif family == "open":
        for opens in read_opens(trace, selection, take_census(trace, selection, "open")):
            chosen = (opens.duration_ns != NULL) & _in_group(opens, group, len(opens))
            yield Values(opens.ts_ns[chosen], opens.duration_ns[chosen])
    else:
        lives = tell_processes(trace, selection).lives
        chosen = (lives.lifetime_ns != NULL) & _in_group(lives, group, len(lives))
        yield Values(lives.started_ns[chosen], lives.lifetime_ns[chosen])


def _in_group(columns: object, group: Mapping[str, str], size: int) -> Bools:
    chosen = np.ones(size, dtype=np.bool_)
    for name, value in group.items():
        codes: Codes = getattr(columns, name)
        chosen &= codes.is_in(value)
    return chosen


def _block_values(trace: Trace, selection: Selection, metric: str, group: Mapping[str, str]) -> Iterator[Values]:
    windows = Windows.of(read_windows(trace), "block")
    stream = BlockStream(take_census(trace, selection, "block"), windows)
    for _, blocks in read_blocks(trace, selection, stream):
        begin, end, rival = next(one[1:] for one in spans(blocks) if one[0] == metric)
        chosen = measured(begin, end, rival, windows) & _in_group(blocks, group, len(blocks))
        yield Values(begin[chosen], np.maximum(end - begin, 0)[chosen])


# --- times ---


def usual_event(trace: Trace) -> str:
    """What is looked at where nobody says: starts of programs if there are some, else what there is most of."""
    counts = {event: trace.counts.get(event, 0) for event in ("exec", "block_issue", "open")}
    return "exec" if counts["exec"] >= 10 else max(counts, key=lambda event: counts[event])


def check_event(event: str) -> str:
    """The same event.

    Raises:
        UsageError: there is none of that name.
    """
    if event not in TIMED_EVENTS:
        raise suggest(event, TIMED_EVENTS, "event")
    return event


def times(trace: Trace, selection: Selection, event: str) -> Iterator[Ints]:
    """When an event happened, on the boot clock, a piece at a time.

    A command's block events are those of the I/O that it submitted, its others those that happened to itself.

    Raises:
        UsageError: there is no such event, or it cannot be said whose it was.
    """
    check_event(event)
    if FAMILY_OF[event] == "block" and selection.comm is not None:
        yield from _submitted_times(trace, selection, event)
        return
    selected = {"disk": selection.disk} if FAMILY_OF[event] == "block" else {"comm": selection.comm}
    wanted = {name: value for name, value in selected.items() if value is not None}
    start_ns, end_ns = selection.span(trace)
    edge = None if selection.end_ns is None else end_ns
    for rows in trace.batches(
        event, columns=["ts_ns", *wanted], start_ns=start_ns if selection.start_ns else None, end_ns=edge
    ):
        chosen = np.ones(len(rows), dtype=np.bool_)
        for name, value in wanted.items():
            names, codes = encoded(rows, name)
            number = number_of(names, value)
            chosen &= (codes == number) & (number != NULL)
        yield ints(rows, "ts_ns")[chosen]


def _submitted_times(trace: Trace, selection: Selection, event: str) -> Iterator[Ints]:
    if event not in _PAIRED:
        raise UsageError(f"whose {event} it is cannot be told: leave --comm out, or take {', '.join(_PAIRED)}")
    stream = BlockStream(take_census(trace, selection, "block"), Windows.of(read_windows(trace), "block"))
    for _, blocks in read_blocks(trace, selection, stream):
        found: Ints = getattr(blocks, _PAIRED[event])
        yield found[found != NULL]
