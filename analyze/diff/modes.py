"""Modes of a latency that came, went or moved."""

import math
from dataclasses import dataclass

import numpy as np

from tracekit.analyze.columns import Ints
from tracekit.analyze.diff.chance import Ratio, share_ratio
from tracekit.analyze.diff.stretches import Group, edges
from tracekit.analyze.diff.telling import share
from tracekit.analyze.results import Latency, Mode
from tracekit.units import format_ns, format_share

#: Of what is new or gone, the other side has at most so much.
_NEXT_TO_NONE = 0.05
#: Hills whose peaks differ by less are the same one.
_SAME_PEAK = math.log(1.25)
#: What is in the range of a mode has become so many times as much, or as little.
_MATTERS = 1.5
_MOVED_SHARE = math.log(1.5)


@dataclass(frozen=True)
class _Hill:
    """A mode, and by how much its part of all values changed; `came` says which side has it, null that both do."""

    mode: Mode
    came: bool | None
    ratio: Ratio
    share_before: float
    share_after: float

    def is_sure(self, compared: int) -> bool:
        return self.ratio.is_sure(compared, _MATTERS) and self.came in (None, self.ratio.ratio > 1)


@dataclass(frozen=True)
class Shape:
    """The modes of a metric or a group of it that only one side has, or that may hold another part of it."""

    metric: str
    group: Group
    hills: tuple[_Hill, ...]

    @property
    def ratios(self) -> list[Ratio]:
        """What was compared."""
        return [hill.ratio for hill in self.hills]

    def told(self, compared: int) -> tuple[list[str], list[str]]:
        """What is said of those that came or went by more than chance, and of those that moved.

        Args:
            compared: so many comparisons there are.
        """
        sure = [hill for hill in self.hills if hill.is_sure(compared)]
        came, went = ([hill for hill in sure if hill.came is which] for which in (True, False))
        lines, moved = [_grew(hill) for hill in sure if hill.came is None], []
        for gone in went:
            there = next((hill for hill in came if _is_moved(gone, hill)), None)
            if there is None:
                lines.append(_went(gone))
            else:
                came.remove(there)
                peaks = (f"{format_ns(one.peak_ns)} ({format_share(one.share)})" for one in (gone.mode, there.mode))
                moved.append(f"the mode moved from {' to '.join(peaks)}")
        return [*map(_came, came), *lines], moved


def mode_changes(before: Latency, after: Latency, was: Ints, now: Ints) -> Shape:
    """What modes only one side has, and what became of the others, from counts by stretch and bin."""
    pairs = [(mode, _same_as(mode, after.modes)) for mode in before.modes]
    hills = [_hill(mode, mode, False, was, now) for mode, same in pairs if same is None]
    hills += [_hill(mode, mode, True, was, now) for mode in after.modes if _same_as(mode, before.modes) is None]
    if min(len(before.modes), len(after.modes)) > 1:
        hills += [_hill(mode, same, None, was, now) for mode, same in pairs if same is not None]
    return Shape(after.metric, tuple(sorted(after.group.items())), tuple(hills))


def _same_as(mode: Mode, others: tuple[Mode, ...]) -> Mode | None:
    return next((other for other in others if _is_same(mode, other)), None)


def _is_same(one: Mode, other: Mode) -> bool:
    if abs(math.log(max(one.peak_ns, 1) / max(other.peak_ns, 1))) < _SAME_PEAK:
        return True
    return one.low_ns <= other.peak_ns <= one.high_ns and other.low_ns <= one.peak_ns <= other.high_ns


def _hill(before: Mode, after: Mode, came: bool | None, was: Ints, now: Ints) -> _Hill:
    mine = [_within(mode, counts) for mode, counts in ((before, was), (after, now))]
    whole = [counts.sum(axis=1) for counts in (was, now)]
    ratio = share_ratio(mine[0], whole[0], mine[1], whole[1])
    if came is None:  # told as in a report: from valley to valley
        return _Hill(after, came, ratio, before.share, after.share)
    shares = (float(one.sum() / each.sum()) for one, each in zip(mine, whole, strict=True))
    return _Hill(after, came, ratio, *shares)


def _within(mode: Mode, counts: Ints) -> Ints:
    low, high = np.searchsorted(edges(), [mode.low_ns, mode.high_ns], side="right")
    within: Ints = counts[:, max(low - 1, 0) : high].sum(axis=1)
    return within


def _is_moved(gone: _Hill, come: _Hill) -> bool:
    return abs(math.log(gone.mode.share / come.mode.share)) < _MOVED_SHARE


def _range(mode: Mode) -> str:
    return f"{format_ns(mode.low_ns)} to {format_ns(mode.high_ns)}"


def _came(hill: _Hill) -> str:
    if hill.share_before > _NEXT_TO_NONE * hill.share_after:
        return _grew(hill)
    there, was = share(hill.mode.share), share(hill.share_before)
    return f"a new mode from {_range(hill.mode)}, {there} of the values ({was} before)"


def _went(hill: _Hill) -> str:
    if hill.share_after > _NEXT_TO_NONE * hill.share_before:
        return _grew(hill)
    there, left = share(hill.mode.share), share(hill.share_after)
    return f"the mode from {_range(hill.mode)} is gone, {there} of the values ({left} after)"


def _grew(hill: _Hill) -> str:
    how = "grew" if hill.share_after > hill.share_before else "fell"
    before, after = share(hill.share_before), share(hill.share_after)
    return f"the mode from {_range(hill.mode)} {how} from {before} to {after} of the values"
