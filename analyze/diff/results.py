"""What a comparison finds: frozen data. Times are integer nanoseconds."""

from dataclasses import dataclass

from tracekit.analyze.results import Report
from tracekit.analyze.selection import Selection
from tracekit.trace import Trace

ALL = Selection()


@dataclass(frozen=True)
class Part:
    """A recording, or a part of one."""

    trace: Trace
    selection: Selection = ALL


@dataclass(frozen=True)
class LatencyChange:
    """A percentile of a metric in one group, in both recordings.

    Attributes:
        share: 0.5, 0.9 or 0.99.
        ratio: after over before; with 95 % certainty from `low` to `high`.
        sure: whether it changed by more than chance and by enough to matter.
        perhaps: not sure, for of so many figures some differ as much by chance; by itself it would be.
    """

    metric: str
    group: dict[str, str]
    share: float
    before_count: int
    after_count: int
    before_ns: int
    after_ns: int
    ratio: float
    low: float
    high: float
    sure: bool
    perhaps: bool


@dataclass(frozen=True)
class RateChange:
    """How often something happens, in both recordings.

    Attributes:
        event: `exec`, `open`, `open_failed` or `block_issue`.
        ratio: after over before; with 95 % certainty from `low` to `high`; null where there is nothing on one side.
        sure: with `perhaps` as in `LatencyChange`.
    """

    event: str
    group: dict[str, str]
    before_count: int
    after_count: int
    before_per_second: float
    after_per_second: float
    ratio: float | None
    low: float | None
    high: float | None
    sure: bool
    perhaps: bool


@dataclass(frozen=True)
class Change:
    """Something that changed; `title` is one plain sentence.

    Attributes:
        kind: `rhythm`, `latency`, `mode`, `outliers`, `program`, `rate` or `failures`.
    """

    rank: int
    kind: str
    title: str
    detail: str = ""


@dataclass(frozen=True)
class Diff:
    """What changed between two recordings.

    Attributes:
        before: what is to be said of each by itself.
        compared: how many figures were.
        changes: the most telling first; none if they differ by no more than chance.
        unsure: what differs, and much, but may do so by chance: the reason stands with each.
        notes: what makes the two hard to compare.
    """

    before: Report
    after: Report
    compared: int
    changes: tuple[Change, ...]
    unsure: tuple[Change, ...]
    latency: tuple[LatencyChange, ...]
    rates: tuple[RateChange, ...]
    notes: tuple[str, ...]
