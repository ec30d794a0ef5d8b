"""Modes of a latency that came, went or moved."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tracekit.analyze.columns import Ints
from tracekit.analyze.diff.chance import Ratio, share_ratio
from tracekit.analyze.diff.stretches import Group, edges
from tracekit.analyze.results import Latency, Mode
from tracekit.units import format_ns, format_share

#: Hills whose peaks differ by less are the same one.
_SAME_PEAK = math.log(1.25)
#: What is in the range of a mode has become so many times as much, or as little.
_MATTERS = 1.5
_MOVED_SHARE = math.log(1.5)


@dataclass(frozen=True)
class _Hill:
    """A mode that one side has and the other has not, and by how much its part of all values changed."""

    mode: Mode
    came: bool
    ratio: Ratio
    share_before: float
    share_after: float

    def is_sure(self, compared: int) -> bool:
        return self.ratio.is_sure(compared, _MATTERS) and (self.ratio.ratio > 1) == self.came


@dataclass(frozen=True)
class Shape:
    """The modes of a metric or a group of it that only one side has."""

    metric: str
    group: Group
    hills: tuple[_Hill, ...]

    @property
    def ratios(self) -> list[Ratio]:
        """What was compared."""
        return [hill.ratio for hill in self.hills]

    def told(self, compared: int) -> Iterator[str]:
        """What is said of each that is more than chance, of so many comparisons."""
        sure = [hill for hill in self.hills if hill.is_sure(compared)]
        came, went = ([hill for hill in sure if hill.came is which] for which in (True, False))
        for gone in went:
            there = [hill for hill in came if _is_moved(gone, hill)]
            if there:
                came.remove(there[0])
                peaks = (format_ns(hill.mode.peak_ns) for hill in (gone, there[0]))
                yield f"the mode of {format_share(gone.mode.share)} moved from {' to '.join(peaks)}"
            else:
                yield f"the mode from {_range(gone.mode)} is gone, {_shares(gone)}"
        for hill in came:
            yield f"a new mode from {_range(hill.mode)}, {_shares(hill)}"


def mode_changes(before: Latency, after: Latency, was: Ints, now: Ints) -> Shape:
    """What modes only one side has, from counts by stretch and bin."""
    hills = [_hill(mode, False, was, now) for mode in before.modes if not _is_among(mode, after.modes)]
    hills += [_hill(mode, True, was, now) for mode in after.modes if not _is_among(mode, before.modes)]
    return Shape(after.metric, tuple(sorted(after.group.items())), tuple(hills))


def _is_among(mode: Mode, others: tuple[Mode, ...]) -> bool:
    near = (abs(math.log(max(mode.peak_ns, 1) / max(one.peak_ns, 1))) < _SAME_PEAK for one in others)
    return any(near) or any(one.low_ns <= mode.peak_ns <= one.high_ns for one in others)


def _hill(mode: Mode, came: bool, was: Ints, now: Ints) -> _Hill:
    low, high = np.searchsorted(edges(), [mode.low_ns, mode.high_ns], side="right")
    mine = [counts[:, max(low - 1, 0) : high].sum(axis=1) for counts in (was, now)]
    whole = [counts.sum(axis=1) for counts in (was, now)]
    ratio = share_ratio(mine[0], whole[0], mine[1], whole[1])
    shares = (float(one.sum() / each.sum()) for one, each in zip(mine, whole, strict=True))
    return _Hill(mode, came, ratio, *shares)


def _is_moved(gone: _Hill, come: _Hill) -> bool:
    return abs(math.log(gone.mode.share / come.mode.share)) < _MOVED_SHARE


def _range(mode: Mode) -> str:
    return f"{format_ns(mode.low_ns)} to {format_ns(mode.high_ns)}"


def _shares(hill: _Hill) -> str:
    return f"{format_share(hill.share_before)} of the values before, {format_share(hill.share_after)} after"
