"""The distribution of a latency: percentiles, buckets, modes, outliers, and what sets them apart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tracekit.analyze import contrast
from tracekit.analyze.columns import Bools, Codes, Ints
from tracekit.analyze.histogram import Histogram, percentiles
from tracekit.analyze.modes import Hill, find_modes
from tracekit.analyze.outliers import apart, episodes, outlier_threshold
from tracekit.analyze.results import Latency, Mode, Outliers, SetsApart
from tracekit.units import format_ns

PERCENTILES = (0.5, 0.9, 0.99, 0.999)
MAX_EVENTS = 100
MAX_COMMANDS = 10
MIN_COMMAND_COUNT = 30
_TIME_SHARE = 0.2
_IN_TIME = 0.8


@dataclass(frozen=True)
class Sample:
    """Values of one metric and what is known of each.

    Attributes:
        rows: makes the row of an outlier from the positions of some of these values.
        attributes: by field; may set modes and outliers apart.
    """

    metric: str
    values: Ints
    start_ns: Ints
    attributes: Mapping[str, Codes]
    rows: Callable[[Ints], list[dict[str, int | str | None]]]

    def only(self, chosen: Bools) -> "Sample":
        """The part of the sample where `chosen` is true."""
        where = np.flatnonzero(chosen)
        attributes = {name: codes[where] for name, codes in self.attributes.items()}
        return replace(
            self,
            values=self.values[where],
            start_ns=self.start_ns[where],
            attributes=attributes,
            rows=lambda positions: self.rows(where[positions]),
        )


@dataclass(frozen=True)
class Frame:
    """What the recording says about its times."""

    start_ns: int
    duration_ns: int
    resolution_ns: int


def summarize(sample: Sample, group: Mapping[str, str], frame: Frame) -> Latency | None:
    """Everything the report says about one sample; null if it is empty."""
    values = sample.values
    if not len(values):
        return None
    histogram = Histogram.of(values)
    outside = apart(values, outlier_threshold(values))
    p50, p90, p99, p999 = percentiles(values, PERCENTILES)
    return Latency(
        sample.metric,
        dict(group),
        len(values),
        int(values.min()),
        int(values.max()),
        histogram.total // len(values),
        p50,
        p90,
        p99,
        p999,
        histogram.octaves(),
        _modes(sample, ~outside, frame),
        _outliers(sample, outside, frame),
    )


def by_groups(sample: Sample, splits: Sequence[tuple[str, ...]], frame: Frame) -> list[Latency]:
    """The whole sample, then each of its groups by each of the `splits`; a split into one group is none."""
    whole = summarize(sample, {}, frame)
    if whole is None:
        return []
    parts: list[Latency | None] = []
    omitted = 0
    for split in splits:
        groups, others = _groups(sample, split)
        omitted += others
        parts += [summarize(sample.only(chosen), group, frame) for group, chosen in groups]
    return [replace(whole, omitted=omitted), *(part for part in parts if part is not None)]


def _groups(sample: Sample, fields: tuple[str, ...]) -> tuple[list[tuple[dict[str, str], Bools]], int]:
    """The groups by some fields, and how many others there are: rare commands."""
    columns = [sample.attributes[name] for name in fields]
    key = np.zeros(len(sample.values), dtype=np.int64)
    for column in columns:
        key = key * (len(column.names) + 1) + column.codes + 1
    keys, counts = np.unique(key, return_counts=True)
    if fields == ("comm",):
        keys = keys[np.argsort(-counts, kind="stable")][:MAX_COMMANDS]
        keys = np.sort([k for k in keys if (key == k).sum() >= MIN_COMMAND_COUNT])
    if len(counts) < 2:
        return [], 0
    found = []
    for one in keys:
        chosen = key == one
        first = int(np.flatnonzero(chosen)[0])
        names = [column.name(int(column.codes[first])) for column in columns]
        if all(name is not None for name in names):
            found.append(({f: n or "" for f, n in zip(fields, names, strict=True)}, chosen))
    return found, len(counts) - len(keys)


def _modes(sample: Sample, usual: Bools, frame: Frame) -> tuple[Mode, ...]:
    values = sample.values[usual]
    step = max(frame.resolution_ns, int(np.gcd.reduce(values)) if len(values) else 1, 1)
    hills = find_modes(Histogram.of(values), step)
    several = sum(not hill.minor for hill in hills) > 1
    return tuple(_mode(hill, sample, usual, several, frame) for hill in hills)


def _mode(hill: Hill, sample: Sample, usual: Bools, several: bool, frame: Frame) -> Mode:
    inside = usual & (sample.values >= hill.valley_low) & (sample.values < hill.valley_high)
    reasons: tuple[SetsApart, ...] = ()
    if several and not hill.minor:
        attributes = dict(sample.attributes) | _time(sample, inside, frame)
        reasons = contrast.sets_apart(inside[usual], {name: codes[usual] for name, codes in attributes.items()})
    low, high = max(hill.low, int(sample.values.min())), min(hill.high, int(sample.values[usual].max()))
    peak = min(max(hill.peak, low), high)
    count = int((usual & (sample.values >= round(low)) & (sample.values <= round(high))).sum())
    share = round(count / len(sample.values), 6)
    return Mode(round(low), round(peak), round(high), count, share, hill.minor, reasons)


def _outliers(sample: Sample, outside: Bools, frame: Frame) -> Outliers | None:
    if not outside.any():
        return None
    values, where = sample.values[outside], np.flatnonzero(outside)
    start_ns = sample.start_ns[outside]
    slowest = np.sort(where[np.lexsort((where, -values))][:MAX_EVENTS])
    return Outliers(
        int(values.min()),
        int(values.min()),
        int(values.max()),
        len(values),
        round(len(values) / len(sample.values), 6),
        episodes(start_ns, start_ns + values),
        contrast.sets_apart(outside, dict(sample.attributes) | _time(sample, outside, frame)),
        tuple(sample.rows(slowest)),
    )


def _time(sample: Sample, inside: Bools, frame: Frame) -> dict[str, Codes]:
    """As an attribute, the stretch of time in which most of some events lie, if it is a small part of the recording."""
    at_ns = sample.start_ns - frame.start_ns
    if not inside.any():
        return {}
    low, high = _narrowest(np.sort(at_ns[inside]))
    if high - low > _TIME_SHARE * frame.duration_ns:
        return {}
    begin, end = format_ns(low), format_ns(high)
    return {"time": contrast.span(at_ns, low, high, begin if begin == end else f"{begin} to {end}")}


def _narrowest(at_ns: Ints) -> tuple[int, int]:
    """The shortest stretch of time with nearly all of these times."""
    skipped = int((1 - _IN_TIME) * len(at_ns))
    begins, ends = at_ns[: skipped + 1], at_ns[len(at_ns) - skipped - 1 :]
    best = int(np.argmin(ends - begins))
    return int(begins[best]), int(ends[best])
