"""Whether two figures differ by more than chance: from how much each varies over its recording.

Latencies of one moment are like each other, and so are those of neighbours: a thousand slow ones in one stall are one
event. What can be taken as independent are stretches of a recording; their bootstrap tells how far a figure may be off.
"""

import math
from dataclasses import dataclass, replace
from functools import cache
from statistics import NormalDist

import numpy as np

from tracekit.analyze.columns import Floats, Ints
from tracekit.analyze.diff.stretches import STRETCHES, edges

#: How often the stretches are drawn anew.
_DRAWS = 400
#: Of all that is compared between two recordings that do not differ, anything is told so rarely.
FALSE_ALARMS = 0.002
_INTERVAL = 0.95
#: By chance all of what happens in some stretches is on one side so rarely that it is told.
_ONE_SIDED = 0.0005


@dataclass(frozen=True)
class Ratio:
    """One figure over another.

    Attributes:
        ratio: after over before.
        low: with `high` what it is with a certainty of 95 %.
        deviations: how many standard errors the ratio is from 1.
    """

    ratio: float
    low: float
    high: float
    deviations: float

    def is_sure(self, compared: int, least: float) -> bool:
        """Whether it is more than chance, of so many ratios that are compared, and surely by more than `least`."""
        return self.matters(least) and self.deviations > student(1 - FALSE_ALARMS / max(compared, 1) / 2)

    def matters(self, least: float) -> bool:
        """Whether, with a certainty of 95 % and by itself, it is a change by more than `least`."""
        return self.low > least or self.high < 1 / least


@cache
def student(share: float, freedom: int = STRETCHES - 1) -> float:
    """The quantile of Student's distribution, by the expansion of Cornish and Fisher (Abramowitz and Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(share)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def quantile_ratio(before: Ints, after: Ints, share: float) -> Ratio:
    """How a quantile changed, from counts of shape (stretches, wide bins), none of them empty."""
    (was, was_off), (now, now_off) = (_log_quantile(counts, share) for counts in (before, after))
    return _ratio(now - was, math.hypot(was_off, now_off))


def rate_ratio(before: Ints, after: Ints, length: float) -> Ratio:
    """How often something happens, from counts by stretch, neither of them all 0.

    Args:
        length: of a stretch after, over that of one before.
    """
    change = math.log(after.sum() / before.sum() / length)
    return _ratio(change, math.hypot(_off(before), _off(after)))


def share_ratio(before: Ints, before_all: Ints, after: Ints, after_all: Ints) -> Ratio:
    """How the part of something among all changed, from counts by stretch; there is something of all in both."""
    pairs = (before, before_all), (after, after_all)
    (was, was_off), (now, now_off) = (_log_share(*pair) for pair in pairs)
    # By how much the logarithm of next to nothing may be off says little about whether there was as much as now.
    return replace(_ratio(now - was, math.hypot(was_off, now_off)), deviations=_apart(*pairs))


def is_one_sided(counts: Ints, share: float) -> bool:
    """Whether it is more than chance that something is on one side only; one that comes and goes is one thing.

    Args:
        counts: by stretch of the side that has it; not all of them 0.
        share: of what could have been so that is on this side.
    """
    used = np.flatnonzero(counts)
    return bool(share ** len(used) < _ONE_SIDED and not is_brief(counts))


def is_brief(counts: Ints) -> bool:
    """Whether all of it happened in less than half of a recording."""
    used = np.flatnonzero(counts)
    return bool(used[-1] - used[0] < STRETCHES // 2)


def _ratio(change: float, off: float) -> Ratio:
    reach = student((1 + _INTERVAL) / 2) * off
    deviations = abs(change) / off if off > 0 else math.inf if change else 0.0
    return Ratio(math.exp(change), _exp(change - reach), _exp(change + reach), deviations)


def _exp(power: float) -> float:
    return math.exp(min(max(power, -700.0), 700.0))


@cache
def _drawn() -> Floats:
    """How often each stretch is drawn, of shape (draws, stretches); the same always."""
    chance = np.random.RandomState(1)
    return chance.multinomial(STRETCHES, np.full(STRETCHES, 1 / STRETCHES), _DRAWS).astype(np.float64)


def _log_quantile(counts: Ints, share: float) -> tuple[float, float]:
    """The logarithm of a quantile, and by how much it may be off: one standard error."""
    used = np.flatnonzero(counts.any(axis=0))
    counts = counts[:, used[0] : used[-1] + 1]
    log_edges = np.log(np.maximum(edges()[used[0] : used[-1] + 2], 1))
    whole = np.concatenate((np.ones((1, STRETCHES)), _drawn())) @ counts
    whole = whole[whole.sum(axis=1) > 0]
    upto = whole.cumsum(axis=1)
    rank = share * upto[:, -1:]
    at = (upto < rank).sum(axis=1)
    rows = np.arange(len(whole))
    within = 1 - (upto[rows, at] - rank[:, 0]) / whole[rows, at]
    found = log_edges[at] + within * (log_edges[at + 1] - log_edges[at])
    return float(found[0]), float(found[1:].std())


def _off(counts: Ints) -> float:
    """By how much the logarithm of a sum may be off; events that come by themselves vary as much as there are."""
    total = counts.sum()
    varied = max(counts.var(ddof=1) * len(counts), total)
    return float(math.sqrt(varied) / total)


def _apart(before: tuple[Ints, Ints], after: tuple[Ints, Ints]) -> float:
    """How many standard errors two shares are from each other, if they are the same and vary as the worse of both."""
    sizes = [int(whole.sum()) for _, whole in (before, after)]
    counts = [int(mine.sum()) for mine, _ in (before, after)]
    share = sum(counts) / sum(sizes)
    if share in (0, 1):
        return 0.0
    worse = max(1.0, _clumped(*before), _clumped(*after))
    off = math.sqrt(worse * share * (1 - share) * sum(1 / size for size in sizes))
    return abs(counts[1] / sizes[1] - counts[0] / sizes[0]) / off


def _clumped(mine: Ints, whole: Ints) -> float:
    """How many times as much a share varies as it would if each had it or not for itself."""
    size, share = whole.sum(), mine.sum() / whole.sum()
    if share in (0, 1):
        return 1.0
    drawn = _drawn() @ np.stack((mine, whole), axis=1)
    drawn = drawn[drawn[:, 1] > 0]
    return float((drawn[:, 0] / drawn[:, 1]).var() * size / (share * (1 - share)))


def _log_share(mine: Ints, whole: Ints) -> tuple[float, float]:
    weights = np.concatenate((np.ones((1, STRETCHES)), _drawn()))
    # Half a one more: what is not there at all has a logarithm, too.
    found = np.log((weights @ mine + 0.5) / (weights @ whole + 1))
    rare = 1 / math.sqrt(mine.sum() + 0.5)
    return float(found[0]), max(float(found[1:].std()), rare)
