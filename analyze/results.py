"""What an analysis finds: frozen data, in the terms of the report's JSON. Times are integer nanoseconds."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracekit.analyze.columns import Ints


@dataclass(frozen=True)
class LostWindow:
    """`lost` events of `family` were dropped in (`start_ns`, `end_ns`]."""

    start_ns: int
    end_ns: int
    family: str
    lost: int


@dataclass(frozen=True)
class Quality:
    """What the recording lacks, and so how far the rest is to be trusted.

    Attributes:
        io: how many I/O the report is about, those without issue or completion included.
    """

    lost: int | None
    lost_windows: tuple[LostWindow, ...]
    unmatched_issues: int
    unmatched_completions: int
    in_flight_at_end: int
    notes: tuple[str, ...]
    complete: bool = True
    io: int = 0

    @property
    def whole(self) -> bool:
        """Whether the recording ended normally and is not known to have lost anything."""
        return self.complete and not self.lost


@dataclass(frozen=True)
class SetsApart:
    """An attribute value that these events have in common and the rest have not."""

    field: str
    value: str
    share_inside: float
    share_outside: float


@dataclass(frozen=True)
class Bucket:
    """`count` values in `low_ns` <= x < `high_ns`."""

    low_ns: int
    high_ns: int
    count: int


@dataclass(frozen=True)
class Mode:
    """A hill of the distribution: `count` values between the valleys around it, most of them in its range.

    The range ends where the density has fallen three quarters of the way from the peak to the valley.
    """

    low_ns: int
    peak_ns: int
    high_ns: int
    count: int
    share: float
    minor: bool
    sets_apart: tuple[SetsApart, ...] = ()


@dataclass(frozen=True)
class Episode:
    """Outliers that happened together."""

    start_ns: int
    end_ns: int
    count: int


@dataclass(frozen=True)
class Outliers:
    """Values apart from the rest and from its tail; `events` are the rows of the slowest hundred."""

    threshold_ns: int
    low_ns: int
    high_ns: int
    count: int
    share: float
    episodes: tuple[Episode, ...]
    sets_apart: tuple[SetsApart, ...]
    events: tuple[dict[str, int | str | None], ...]


@dataclass(frozen=True)
class Latency:
    """The distribution of one metric over one group of events.

    Attributes:
        omitted: of the whole, how many groups are not in the report: rare commands.
        lost: events of its family that were lost meanwhile.
        requeued: of all I/O in total, how many the driver gave back, so that they were issued again.
        requeued_ns: how long these took from first issue to last, which is neither in the queue nor at the device.
    """

    metric: str
    group: dict[str, str]
    count: int
    min_ns: int
    max_ns: int
    mean_ns: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    p999_ns: int
    histogram: tuple[Bucket, ...]
    modes: tuple[Mode, ...]
    outliers: Outliers | None
    omitted: int = 0
    lost: int = 0
    requeued: int = 0
    requeued_ns: int = 0


@dataclass(frozen=True)
class Pattern:
    """A rhythm in the times of events: bursts, single events at equal distances, or a steady stream.

    Of a steady stream each event is a cycle, and the period is the mean distance between them.

    Attributes:
        period_ns: from the start of a burst to the start of the next; median.
        pause_ns: from the last event of a burst to the first of the next; median.
        burst_size: events in a whole burst; median.
        jitter: robust standard deviation of the period, over the period.
        clock: true if it keeps the beat of a clock, false if each round starts when the last one is over, null
            where that cannot be told.
        chain: the commands of a typical burst, in order.
        failing: commands of the chain that exit with the same nonzero code in (nearly) each burst, and the code.
        lost: events of its family that were lost meanwhile.
        lifetimes: how long each command of the chain lives, in nanoseconds; the median.
        beats_ns: when the first bursts began, as far as that was kept.
    """

    kind: str
    event: str
    scope: dict[str, str]
    start_ns: int
    end_ns: int
    cycles: int
    period_ns: int
    pause_ns: int
    burst_size: int
    burst_duration_ns: int
    rate_per_second: float
    jitter: float
    events: int
    share: float
    clock: bool | None
    chain: tuple[str, ...]
    exit_codes: dict[str, int]
    sentence: str
    failing: dict[str, str] = field(default_factory=dict)
    lost: int = 0
    lifetimes: dict[str, int] = field(default_factory=dict)
    beats_ns: tuple[int, ...] = field(default=(), compare=False, repr=False)

    @property
    def place(self) -> tuple[bool, bool, int, int, list[tuple[str, str]]]:
        """What sorts rhythms into the order in which they are told."""
        return self.kind == "steady", self.event != "exec", -self.events, self.start_ns, sorted(self.scope.items())


@dataclass(frozen=True)
class Sizes:
    """Percentiles of a quantity that is no time."""

    p50: int
    p90: int
    p99: int
    max: int


@dataclass(frozen=True)
class ProcessUse:
    """Processes that started, of one path or of one parent."""

    name: str
    count: int
    failed: int
    lifetime_p50_ns: int | None
    lifetime_max_ns: int | None


@dataclass(frozen=True)
class BlockUse:
    """I/O issued to, as, or by one disk, op or command."""

    name: str
    count: int
    bytes: int
    sequential_share: float | None
    size: Sizes
    queue_depth: Sizes


@dataclass(frozen=True)
class OpenUse:
    """Opens of one path, or by one command."""

    name: str
    count: int
    failed: dict[str, int]
    p50_ns: int | None
    p99_ns: int | None


@dataclass(frozen=True)
class Workload:
    """Who does what: per family, per way of grouping, the busiest first.

    Attributes:
        omitted: how many are left out, by family and grouping; about so many, where there are very many.
        lost: events of each family that were lost, where some were.
    """

    process: dict[str, tuple[ProcessUse, ...]] = field(default_factory=dict)
    block: dict[str, tuple[BlockUse, ...]] = field(default_factory=dict)
    open: dict[str, tuple[OpenUse, ...]] = field(default_factory=dict)
    omitted: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Where:
    """Which raw events a finding rests on.

    Attributes:
        events: their names.
        start_ns: of the first, from the start of the recording; null for that of what was looked at.
        end_ns: likewise of the last.
        fields: columns and the values that they have.
        lives: of processes three rows: their pids, when each began, and when it ended, from the start of the
            recording; null for all. A pid may be used again.
        metric: a latency that is at least `low_ns` and at most `high_ns`.
        failed: only what returned an error.
        rhythm: that they make, if it is about one.
    """

    events: tuple[str, ...]
    start_ns: int | None = None
    end_ns: int | None = None
    fields: tuple[tuple[str, str | None], ...] = ()
    lives: "Ints | None" = field(default=None, compare=False)
    metric: str | None = None
    low_ns: int = 0
    high_ns: int = 0
    failed: bool = False
    rhythm: Pattern | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Finding:
    """Something worth telling; `title` is one plain sentence, `where` tells the events behind it."""

    rank: int
    kind: str
    title: str
    detail: str
    evidence: dict[str, int | float | str | None]
    where: Where


@dataclass(frozen=True)
class TraceFacts:
    """Which recording this is about; `start_time` and `duration_ns` are of the part that was looked at.

    Attributes:
        path: the file; null where who reads the report does not have it.
    """

    path: str | None
    format: int
    kernel: str | None
    start_time: str | None
    start_ns: int
    duration_ns: int
    events: dict[str, int]
    complete: bool


@dataclass(frozen=True)
class Report:
    """Everything that was worked out of one recording."""

    trace: TraceFacts
    quality: Quality
    latency: tuple[Latency, ...]
    patterns: tuple[Pattern, ...]
    workload: Workload
    findings: tuple[Finding, ...]
