"""Rhythms in more events than memory holds: a collector that keeps all while they are few, and then what matters.

Beyond its limit the events are a row of chapters. In each, counts of the busiest groups in windows of three widths say
which of them may have a rhythm, and only these are looked at. Longer rhythms than a chapter holds show in counts over
the whole recording, of the groups that were among the busiest first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tracekit.analyze.columns import Codes, Ints
from tracekit.analyze.groups import Thin, Train
from tracekit.analyze.kernels import columns as kernels
from tracekit.analyze.patterns import (
    MIN_SPAN,
    STEADY_SHARE,
    event_patterns,
    steady_pattern,
    told_once,
    without_echoes,
)
from tracekit.analyze.results import Pattern
from tracekit.analyze.rhythm import MIN_CYCLES, Times
from tracekit.analyze.sentences import resay

#: Groups of each field that are looked at in a chapter, and that are counted over the whole recording.
BUSIEST, COUNTED = 30, 60
#: Counts over the whole recording are of so many cells of equal length.
CELLS = 32_768
#: A rhythm of fewer cells is that of the cells.
LEAST_CELLS = 32
#: A chapter, and these parts of it, are cut into so many bins: a rhythm shows at 8 to 512 of them, if so many events
#: of its group are there.
_BINS, _ZOOMS, _SHORTEST, _LONGEST, _LEAST_EVENTS = 2048, (1, 16, 256, 2048), 8, 512, 48
#: Within a window that may have a rhythm, events are told apart by this part of a bin.
_FINER = 8
#: An autocorrelation exceeds those around it by so many of the standard deviations of chance: of 40,000 Poisson
#: trains that were simulated, with 0.05 to 50 events in a bin, none did, and one exceeded 5.5.
_CONSPICUOUS = 6.0
#: So many groups of a chapter are looked at, the most conspicuous ones first.
_LOOKED_AT = 6
#: What is seen in a part of a chapter goes on all the time, if its group has nearly as many events as that makes.
_ENOUGH = 1.2
_SAME_PERIOD = 0.03
_Codes32 = npt.NDArray[np.int32]


@dataclass
class _Chunk:
    times_ns: Ints
    codes: dict[str, _Codes32]

    def __len__(self) -> int:
        return len(self.times_ns)

    def part(self, rows: slice) -> "_Chunk":
        return _Chunk(self.times_ns[rows], {name: codes[rows] for name, codes in self.codes.items()})


@dataclass(frozen=True)
class _Suspect:
    """A group of a chapter that may have a rhythm, and the window in which that shows."""

    conspicuous: float
    field: str
    code: int
    count: int
    zoom: int


class TrainCollector:
    """Takes the events of one kind, a chunk at a time, and finds their rhythms in bounded memory.

    Args:
        event: what each is.
        start_ns: when the recording began.
        duration_ns: how long it is.
        fields: by what events are grouped, the more telling first.
        limit: of how many events all are kept; there are as many, or fewer, in a chapter.
    """

    def __init__(
        self, event: str, start_ns: int, duration_ns: int, fields: tuple[str, ...], limit: int = 1 << 20
    ) -> None:
        self.event, self.start_ns, self.duration_ns = event, start_ns, max(duration_ns, 1)
        self.fields, self.limit, self.events = fields, limit, 0
        self._room = _Chunk(np.empty(limit, dtype=np.int64), {name: np.empty(limit, dtype=np.int32) for name in fields})
        self._kept = 0
        self._chapters: list[list[Pattern]] = []
        self._long = {name: _LongCounts(self.start_ns, self.duration_ns) for name in fields}

    def add(self, times_ns: Ints, codes: Mapping[str, Ints]) -> None:
        """A chunk of events.

        Args:
            times_ns: sorted, none before those of the last chunk.
            codes: of each field the number of its value; -1 is unknown.
        """
        done = 0
        while done < len(times_ns):
            if self._kept == self.limit:
                self._close_chapter()
            size = min(self.limit - self._kept, len(times_ns) - done)
            there, here = slice(self._kept, self._kept + size), slice(done, done + size)
            self._room.times_ns[there] = times_ns[here]
            for name in self.fields:
                self._room.codes[name][there] = codes[name][here]
            self._kept, done = self._kept + size, done + size
        self.events += len(times_ns)

    def patterns(self, names: Mapping[str, Sequence[str]]) -> tuple[Pattern, ...]:
        """The patterns of all events so far; beyond the limit without the chain of a typical burst.

        Args:
            names: of each field the value of each number.
        """
        if not self._chapters:
            return self._of_all(names)
        self._close_chapter()
        found = tuple(one for one in self._joined() if one.end_ns - one.start_ns >= MIN_SPAN * self.duration_ns)
        found += without_echoes(found, tuple(self._long_rhythms()))
        found += tuple(self._steady(found))
        return tuple(self._named(one, names) for one in found)

    def _of_all(self, names: Mapping[str, Sequence[str]]) -> tuple[Pattern, ...]:
        whole = self._room.part(slice(self._kept))
        groups = {name: Codes(codes.astype(np.int64), tuple(names[name])) for name, codes in whole.codes.items()}
        label = groups.get("comm", next(iter(groups.values())))
        train = Train(self.event, Times.of(whole.times_ns), label, np.zeros(0, dtype=np.int64))
        return event_patterns(train, groups, self.start_ns, self.start_ns + self.duration_ns)

    # --- chapters ----------------------------------------------------------------------------------------------

    def _close_chapter(self) -> None:
        if not self._kept:
            return
        chapter, self._kept = self._room.part(slice(self._kept)), 0
        suspects, windows = [], list(_windows(chapter.times_ns))
        for name in self.fields:
            busiest, counts = _busiest(chapter.codes[name])
            self._long[name].add(chapter.codes[name], chapter.times_ns, busiest)
            suspects += _suspects(windows, name, chapter.codes[name], busiest, counts)
        self._chapters.append(self._rhythms(chapter, suspects))

    def _rhythms(self, chapter: _Chunk, suspects: list[_Suspect]) -> list[Pattern]:
        suspects.sort(key=lambda one: (-one.conspicuous, self.fields.index(one.field)))
        thin: list[Thin] = []
        looked_at: set[tuple[int, int]] = set()
        counts = {(one.field, str(one.code)): one.count for one in suspects}
        for one in suspects:
            # Groups of as many events are the same, told by another field.
            if (one.count, one.zoom) not in looked_at and len(looked_at) < _LOOKED_AT:
                looked_at.add((one.count, one.zoom))
                scope = {one.field: str(one.code)}
                thin.append(Thin(scope, self.fields.index(one.field), _in_window(chapter, one)))
        frame = int(chapter.times_ns[0]), int(chapter.times_ns[-1])
        found = told_once(self.event, thin, self.events)
        return [_stretched(one, frame, counts[next(iter(one.scope.items()))]) for one in found]

    def _joined(self) -> list[Pattern]:
        """The patterns of chapters, those of neighbours that are the same as one."""
        found: list[Pattern] = []
        for chapter in self._chapters:
            for one in chapter:
                before = [other for other in found if self._goes_on(other, one)]
                if before:
                    found[found.index(before[-1])] = _join(before[-1], one)
                else:
                    found.append(one)
        return [replace(one, share=round(one.events / self.events, 4)) for one in found]

    def _goes_on(self, one: Pattern, later: Pattern) -> bool:
        same = abs(one.period_ns - later.period_ns) <= _SAME_PERIOD * one.period_ns
        apart = later.start_ns - one.end_ns
        return one.scope == later.scope and same and apart <= max(MIN_SPAN * self.duration_ns, 2 * one.period_ns)

    # --- the whole recording -----------------------------------------------------------------------------------

    def _long_rhythms(self) -> list[Pattern]:
        thin = [
            Thin({name: str(code)}, rank, self._long_train(counts))
            for rank, name in enumerate(self.fields)
            for code, counts in self._long[name].groups()
        ]
        found = told_once(self.event, thin, self.events, (self.start_ns, self.start_ns + self.duration_ns))
        least = LEAST_CELLS * self.duration_ns / CELLS
        long = [one for one in found if one.period_ns >= least]
        return [one for one in long if one.end_ns - one.start_ns >= MIN_SPAN * self.duration_ns]

    def _cells(self, counts: Ints) -> Times:
        cell = np.flatnonzero(counts)
        middle = self.start_ns + ((cell + 0.5) * (self.duration_ns / CELLS)).astype(np.int64)
        return Times(middle, middle, counts[cell])

    def _long_train(self, counts: Ints) -> Times:
        """Neighbouring cells with events are one element."""
        cells = self._cells(counts)
        first = np.concatenate(([0], np.flatnonzero(cells.gaps > 1.5 * self.duration_ns / CELLS) + 1))
        last = np.append(first[1:], len(cells)) - 1
        return Times(cells.begin_ns[first], cells.end_ns[last], np.add.reduceat(cells.count, first))

    def _steady(self, rhythms: tuple[Pattern, ...]) -> list[Pattern]:
        """The largest group of a steady rate, if it is in no rhythm; else all, if these are steady."""
        every = self._long[self.fields[0]].everything()
        groups = [({"all": self.event}, every)]
        for name in self.fields:
            groups += [({name: str(code)}, counts) for code, counts in self._long[name].groups()]
        told = [one.scope for one in rhythms]
        for scope, counts in sorted(groups, key=lambda group: -int(group[1].sum())):
            if counts.sum() < STEADY_SHARE * self.events:
                break
            found = steady_pattern(self.event, scope, self._cells(counts), self.events, self.duration_ns, CELLS)
            if scope not in told and found is not None:
                return [found]
        return []

    def _named(self, one: Pattern, names: Mapping[str, Sequence[str]]) -> Pattern:
        scope = {name: names[name][int(code)] if name in names else code for name, code in one.scope.items()}
        return resay(replace(one, scope=scope))


class _LongCounts:
    """Events of each group in cells of equal length; the groups that were the first among the busiest."""

    def __init__(self, start_ns: int, duration_ns: int) -> None:
        self._start_ns, self._cells = start_ns, CELLS / duration_ns
        self._row: dict[int, int] = {}
        self._counts = np.zeros((COUNTED + 1, CELLS), dtype=np.int64)

    def add(self, codes: _Codes32, times_ns: Ints, busiest: _Codes32) -> None:
        """Count events; `busiest` are the groups that may be taken in."""
        for code in busiest.tolist():
            if len(self._row) < COUNTED:
                self._row.setdefault(code, len(self._row))
        # The others have a row, too.
        begin = np.full(int(codes.max(initial=0)) + 2, COUNTED * CELLS)
        known = [code for code in self._row if code < len(begin) - 1]
        begin[known] = [self._row[code] * CELLS for code in known]
        counts = self._counts.reshape(-1)
        kernels.count_in_time(codes, begin, times_ns, self._start_ns, self._cells, CELLS - 1, counts)

    def groups(self) -> list[tuple[int, Ints]]:
        """The code and the counts of each group."""
        return [(code, self._counts[row]) for code, row in self._row.items()]

    def everything(self) -> Ints:
        """The counts of all events."""
        return np.asarray(self._counts.sum(axis=0))


def thinned(times_ns: Ints, resolution_ns: int) -> Times:
    """A train of events of which those closer than a resolution are one element."""
    if not len(times_ns):
        return Times.of(times_ns)
    first = np.concatenate(([0], np.flatnonzero(np.diff(times_ns) > resolution_ns) + 1))
    last = np.append(first[1:], len(times_ns)) - 1
    return Times(times_ns[first], times_ns[last], last - first + 1)


def _busiest(codes: _Codes32) -> tuple[_Codes32, Ints]:
    """The most frequent codes, the most frequent first, and how often each occurs; -1 is none."""
    counts = np.zeros(int(codes.max(initial=0)) + 2, dtype=np.int64)
    kernels.count_codes(codes, counts)
    counts = counts[1:]
    order = np.argsort(-counts, kind="stable")[:BUSIEST]
    chosen = order[counts[order] >= 4 * MIN_CYCLES]
    return chosen.astype(np.int32), counts[chosen]


def _window(times_ns: Ints, zoom: int) -> slice:
    """The part of a chapter, from its middle on, that is shorter by a factor."""
    if zoom == 1:
        return slice(0, len(times_ns))
    begin = int(times_ns[0] + times_ns[-1]) // 2
    end = begin + int(times_ns[-1] - times_ns[0]) // zoom
    return slice(*np.searchsorted(times_ns, (begin, end)).tolist())


def _in_window(chapter: _Chunk, one: _Suspect) -> Times:
    """The events of a group in the window in which it shows a rhythm, as finely as that takes."""
    rows = _window(chapter.times_ns, one.zoom)
    width = int(chapter.times_ns[-1] - chapter.times_ns[0]) // (one.zoom * _BINS * _FINER)
    return thinned(chapter.times_ns[rows][chapter.codes[one.field][rows] == one.code], width)


def _stretched(one: Pattern, chapter: tuple[int, int], count: int) -> Pattern:
    """What was seen in a small part of a chapter, as of the whole of it if its group has the events for that."""
    begin, end = chapter
    cycles = round((end - begin) / one.period_ns)
    if one.end_ns - one.start_ns > MIN_SPAN * (end - begin) or cycles * one.burst_size > _ENOUGH * count:
        return one
    return replace(one, start_ns=begin, end_ns=end, cycles=cycles, events=cycles * one.burst_size, beats_ns=())


def _windows(times_ns: Ints) -> Iterator[tuple[int, Ints, slice]]:
    """Of each zoom the times in its window, and their rows, while there are enough events."""
    for zoom in _ZOOMS:
        rows = _window(times_ns, zoom)
        times = times_ns[rows]
        if len(times) < _LEAST_EVENTS or times[-1] == times[0]:
            return
        yield zoom, times, rows


def _suspects(
    windows: list[tuple[int, Ints, slice]], field: str, codes: _Codes32, busiest: _Codes32, total: Ints
) -> list[_Suspect]:
    """The busiest groups in whose counts something recurs; `total` is how many events they have."""
    row_of = np.full(int(codes.max(initial=0)) + 2, len(busiest) * _BINS)
    row_of[busiest] = np.arange(len(busiest)) * _BINS
    found = []
    for zoom, times, rows in windows:
        counts = np.zeros((len(busiest) + 1, _BINS), dtype=np.int64)
        start_ns, cells = int(times[0]), _BINS / (int(times[-1] - times[0]) + 1)
        kernels.count_in_time(codes[rows], row_of, times, start_ns, cells, _BINS - 1, counts.reshape(-1))
        counts = counts[:-1]
        enough = np.flatnonzero(counts.sum(axis=1) >= _LEAST_EVENTS)
        much = conspicuous(counts[enough])
        found += [
            _Suspect(float(much[i]), field, int(busiest[group]), int(total[group]), zoom)
            for i, group in enumerate(enough)
            if much[i] >= _CONSPICUOUS
        ]
    return found


def conspicuous(counts: Ints) -> npt.NDArray[np.float64]:
    """By how many standard deviations of chance the autocorrelation of each row exceeds that at other lags, at most."""
    # The root makes few large counts matter less.
    values = np.sqrt(counts)
    values -= values.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(values, 2 * counts.shape[1], axis=1)) ** 2
    correlation = np.fft.irfft(power, axis=1)[:, : counts.shape[1]]
    correlation = correlation / np.maximum(correlation[:, :1], 1e-9)
    lag = np.arange(_SHORTEST, _LONGEST)
    beside = np.maximum(lag // 6, 2)
    higher = correlation[:, lag] - (correlation[:, lag - beside] + correlation[:, lag + beside]) / 2
    return np.asarray(higher.max(axis=1, initial=0) / np.sqrt(1.5 / counts.shape[1]))


def _join(one: Pattern, later: Pattern) -> Pattern:
    """Two stretches of the same rhythm as one."""
    cycles = one.cycles + later.cycles

    def mean(name: str) -> float:
        return float((getattr(one, name) * one.cycles + getattr(later, name) * later.cycles) / cycles)

    usual = max(one, later, key=lambda each: each.cycles)
    return replace(
        usual,
        start_ns=one.start_ns,
        end_ns=later.end_ns,
        cycles=cycles,
        events=one.events + later.events,
        period_ns=round(mean("period_ns")),
        pause_ns=round(mean("pause_ns")),
        jitter=round(mean("jitter"), 6),
        clock=one.clock if one.clock == later.clock else None,
        beats_ns=(),
    )
