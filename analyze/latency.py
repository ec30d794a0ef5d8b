"""The distribution of a latency: percentiles, buckets, modes, outliers, and what sets them apart."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tracekit.analyze.columns import NULL, OTHERS, Bools, Ints
from tracekit.analyze.contrast import Field, Shares, sets_apart
from tracekit.analyze.histogram import Histogram
from tracekit.analyze.kernels.binning import COARSE, bin_of
from tracekit.analyze.modes import Hill, find_modes
from tracekit.analyze.outliers import episodes, looked_at, outlier_threshold
from tracekit.analyze.results import Latency, Mode, Outliers, SetsApart
from tracekit.analyze.spread import TIME_SLOTS, Frame, Spread
from tracekit.units import format_ns

PERCENTILES = (0.5, 0.9, 0.99, 0.999)
MAX_EVENTS = 100
_TIME_SHARE = 0.2
_IN_TIME = 0.8
#: How often a name occurs in all, of a column: for names that are too rare to be looked at one by one.
Occurrences = Callable[[str, str], int]


@dataclass(frozen=True)
class _Part:
    """What is known of one group of values, or of all.

    Attributes:
        shares: by attribute, how often each value, unknown first, occurs in each coarse bin.
        greatest: the columns of the greatest values, the greatest first.
        step: a number that all values are multiples of.
    """

    spread: Spread
    group: Mapping[str, str]
    histogram: Histogram
    shares: Mapping[str, Ints]
    greatest: Mapping[str, Any]
    step: int


def latencies(spread: Spread, resolution_ns: int, occurrences: Occurrences) -> list[Latency]:
    """All values of a metric, then each group of each grouping; nothing if there are none.

    Args:
        resolution_ns: step of the clock.
    """
    whole = _Part(
        spread,
        {},
        spread.values[0].whole(),
        {name: counts.sum(axis=0) for name, counts in spread.shares(0).items()},
        spread.greatest[0][0],
        int(np.gcd.reduce(spread.steps[0])),
    )
    if not whole.histogram.count:
        return []
    first = _Summary(whole, resolution_ns, occurrences).latency()
    parts = [_Summary(part, resolution_ns, occurrences).latency() for part in _parts(spread)]
    return [replace(first, omitted=sum(grouping.rare for grouping in spread.groupings)), *parts]


def _parts(spread: Spread) -> Iterator[_Part]:
    """The groups that have values, of groupings that make more than one."""
    for index, grouping in enumerate(spread.groupings):
        filled = np.flatnonzero(spread.values[index].counts.any(axis=1))
        if len(filled) < 2 and not grouping.rare:
            continue
        for number in (int(number) for number in filled if number < len(grouping.groups)):
            yield _Part(
                spread,
                dict(zip(grouping.fields, grouping.groups[number], strict=True)),
                spread.values[index][number],
                {name: counts[number] for name, counts in spread.shares(index).items()},
                spread.greatest[index + 1][number],
                int(spread.steps[index][number]),
            )


class _Summary:
    """Everything the report says about one part."""

    def __init__(self, part: _Part, resolution_ns: int, occurrences: Occurrences) -> None:
        self.part, self.occurrences = part, occurrences
        self.count = part.histogram.count
        self.step = max(resolution_ns, part.step, 1)
        self.values = part.greatest["value"]
        self.threshold = outlier_threshold(self.values[: looked_at(self.count)], self.count)

    def latency(self) -> Latency:
        """All of it."""
        histogram = self.part.histogram
        p50, p90, p99, p999 = self._percentiles()
        return Latency(
            self.part.spread.metric,
            dict(self.part.group),
            self.count,
            histogram.low or 0,
            histogram.high or 0,
            histogram.total // self.count,
            p50,
            p90,
            p99,
            p999,
            histogram.octaves(),
            self._modes(),
            self._outliers(),
        )

    def _percentiles(self) -> Iterator[int]:
        """Exact where the value is among the greatest, else to half a bin."""
        from_top = [self.count - max(math.ceil(round(share * self.count, 6)), 1) for share in PERCENTILES]
        for rank, near in zip(from_top, self.part.histogram.percentiles(PERCENTILES), strict=True):
            yield int(self.values[rank]) if rank < len(self.values) else near

    def _modes(self) -> tuple[Mode, ...]:
        usual = self.part.histogram.below(self.threshold)
        hills = find_modes(usual, self.step)
        several = sum(not hill.minor for hill in hills) > 1
        highest = self.part.histogram.high or 0
        if self.threshold is not None:
            highest = int(self.values[self.values < self.threshold][0])
        return tuple(self._mode(hill, several, highest) for hill in hills)

    def _mode(self, hill: Hill, several: bool, highest: int) -> Mode:
        low, high = max(hill.low, self.part.histogram.low or 0), min(hill.high, highest)
        peak = min(max(hill.peak, low), high)
        reasons = self._mode_reasons(hill) if several and not hill.minor else ()
        share = round(hill.count / self.count, 6)
        return Mode(round(low), round(peak), round(high), hill.count, share, hill.minor, reasons)

    def _mode_reasons(self, hill: Hill) -> tuple[SetsApart, ...]:
        last = len(COARSE) - 1
        ends = COARSE[np.minimum(bin_of(np.array([hill.valley_low, hill.valley_high]).astype(np.int64)), last)]
        usual = np.arange(int(COARSE[-1]) + 1)
        if self.threshold is not None:
            usual = usual[: int(COARSE[bin_of(np.array([self.threshold]))[0]])]
        inside = (usual >= ends[0]) & (usual < max(ends[1], ends[0] + 1))
        shares, count = {}, 0
        for name, counts in self.part.shares.items():
            within, without = counts[:, usual[inside]].sum(axis=1), counts[:, usual[~inside]].sum(axis=1)
            count = int(within.sum())
            if name != "time":
                shares[name] = Shares(self.part.spread.fields[name], within[1:], without[1:])
            elif within.any():
                shares |= self._time_by_slots(within[1:], without[1:])
        return sets_apart(count, shares)

    def _outliers(self) -> Outliers | None:
        if self.threshold is None:
            return None
        outside = self.values >= self.threshold
        values, start_ns = self.values[outside], self.part.greatest["start_ns"][outside]
        return Outliers(
            int(values.min()),
            int(values.min()),
            int(values.max()),
            len(values),
            round(len(values) / self.count, 6),
            episodes(start_ns, start_ns + values),
            sets_apart(len(values), self._outlier_shares(outside)),
            tuple(self._rows(np.flatnonzero(outside)[:MAX_EVENTS])),
        )

    def _outlier_shares(self, outside: Bools) -> dict[str, Shares]:
        found: dict[str, Shares] = {}
        for name, counts in self.part.shares.items():
            total = counts.sum(axis=1)[1:]
            if name == "time":
                found |= self._time_of(self.part.greatest["start_ns"][outside], total)
                continue
            codes = self.part.greatest[f"attribute {name}"][outside]
            within = np.bincount(codes[codes >= 0], minlength=len(total))
            field = self.part.spread.fields[name]
            found[name] = self._named(name, Shares(field, within, total - within), codes, outside)
        return found

    def _named(self, name: str, shares: Shares, codes: Ints, outside: Bools) -> Shares:
        """The same with the most frequent of the rare names, if most of these have one of those."""
        names = shares.field.names
        details = self.part.greatest.get(f"detail {name}")
        if details is None or names[-1:] != (OTHERS,):
            return shares
        rare = [one for one in details[outside][codes == len(names) - 1].tolist() if one is not None]
        if not rare:
            return shares
        best, count = max(sorted(Counter(rare).items()), key=lambda item: item[1])
        # How often it occurs in other groups is not known apart: the rest has it so often at most.
        other = min(max(self.occurrences(name, best) - count, 0), int(shares.outside[-1]))
        within, without = np.append(shares.inside, count), np.append(shares.outside, other)
        within[-2] -= count
        without[-2] -= other
        return Shares(Field((*names, best)), within, without)

    def _rows(self, positions: Ints) -> Iterator[dict[str, int | str | None]]:
        columns = {"ts_ns": self.part.greatest["start_ns"], "duration_ns": self.values}
        columns |= {
            name.removeprefix("detail "): column
            for name, column in self.part.greatest.items()
            if name.startswith("detail ")
        }
        for position in positions[np.argsort(columns["ts_ns"][positions], kind="stable")]:
            yield {name: _plain(column[position]) for name, column in columns.items()}

    # --- time ---

    def _time_by_slots(self, within: Ints, without: Ints) -> dict[str, Shares]:
        """The run of slots of time that has most more of some values than of the rest, if it is a small part of all."""
        frame, (inside, outside) = self.part.spread.frame, (int(within.sum()), int(without.sum()))
        more = np.concatenate(([0.0], np.cumsum(within / max(inside, 1) - without / max(outside, 1))))
        end = int(np.argmax(more - np.minimum.accumulate(more)))
        begin = end - int(np.argmin(more[end::-1]))
        if (end - begin) * frame.slot_ns > _TIME_SHARE * frame.duration_ns:
            return {}
        stretch = begin * frame.slot_ns, end * frame.slot_ns
        shares = (int(within[begin:end].sum()), inside), (int(without[begin:end].sum()), outside)
        return _time(frame, stretch, *shares)

    def _time_of(self, start_ns: Ints, total: Ints) -> dict[str, Shares]:
        """The shortest stretch with most of some values whose times are known; of the others only the slot is."""
        frame = self.part.spread.frame
        at_ns = np.sort(start_ns - frame.start_ns)
        low, high = _narrowest(at_ns)
        if high - low > _TIME_SHARE * frame.duration_ns:
            return {}
        edges = np.arange(TIME_SLOTS + 1) * frame.slot_ns
        within = np.diff(np.clip(edges, low, high)) / frame.slot_ns
        inside = int(((at_ns >= low) & (at_ns <= high)).sum())
        beside = max(int((total * within).sum()) - inside, 0)
        others = int(total.sum()) - len(at_ns)
        return _time(frame, (low, high), (inside, len(at_ns)), (min(beside, others), others))


def _narrowest(at_ns: Ints) -> tuple[int, int]:
    """The shortest stretch of time with nearly all of these times."""
    skipped = int((1 - _IN_TIME) * len(at_ns))
    begins, ends = at_ns[: skipped + 1], at_ns[len(at_ns) - skipped - 1 :]
    best = int(np.argmin(ends - begins))
    return int(begins[best]), int(ends[best])


def _time(
    frame: Frame, stretch_ns: tuple[int, int], inside: tuple[int, int], outside: tuple[int, int]
) -> dict[str, Shares]:
    """A stretch of time as an attribute; so many are in it, of so many, inside and outside of what is asked about."""
    begin, end = (format_ns(at_ns + frame.start_ns - frame.origin_ns) for at_ns in stretch_ns)
    field = Field((begin if begin == end else f"{begin} to {end}", "another time"))
    shares = (np.array([within, total - within]) for within, total in (inside, outside))
    return {"time": Shares(field, *shares)}


def _plain(value: Any) -> int | str | None:
    """As JSON has it; the integers of columns that have no other null are null at -1."""
    if isinstance(value, np.integer):
        return None if value == NULL else int(value)
    return value if value is None or isinstance(value, str) else int(value)
