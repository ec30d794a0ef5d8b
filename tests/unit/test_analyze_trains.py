"""Rhythms in more events than are kept."""

import numpy as np
import pytest

from tracekit.analyze.columns import Codes
from tracekit.analyze.groups import Train
from tracekit.analyze.patterns import event_patterns
from tracekit.analyze.rhythm import Times
from tracekit.analyze.trains import CELLS, COUNTED, TrainCollector, _LongCounts, conspicuous, thinned

SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS
COMMS, PATHS = [f"c{number}" for number in range(21)], [f"/p{number}" for number in range(101)]
NAMES = {"comm": COMMS, "path": PATHS}


def stream(count, planted_ns=(), seed=1):
    """Opens of an hour at chance times by twenty commands; the last command and path have those that are planted."""
    chance = np.random.default_rng(seed)
    planted = np.asarray(planted_ns, dtype=np.int64)
    times = np.concatenate((chance.integers(0, HOUR_NS, count), planted))
    order = np.argsort(times, kind="stable")
    comm = np.concatenate((chance.integers(0, 20, count), np.full(len(planted), 20)))
    path = np.concatenate((chance.integers(0, 100, count), np.full(len(planted), 100)))
    return times[order], {"comm": comm[order], "path": path[order]}


def beats(period_s, size=1, step_ms=1.0, until=1.0):
    chance = np.random.default_rng(2)
    begin = np.arange(0.6 * period_s, until * 3600 - 0.2 * period_s, period_s)
    begin = begin + chance.normal(0, 0.01 * period_s, len(begin))
    return np.sort((begin[:, None] + np.arange(size) * step_ms / 1000).ravel() * SECOND_NS).astype(np.int64)


def collected(times, codes, limit, chunk=50_000):
    collector = TrainCollector("open", 0, HOUR_NS, ("comm", "path"), limit=limit)
    for first in range(0, len(times), chunk):
        part = slice(first, first + chunk)
        collector.add(times[part], {name: values[part] for name, values in codes.items()})
        assert collector._kept <= limit
    return collector.patterns(NAMES)


def test_below_the_limit_it_is_as_if_all_were_there_at_once():
    times, codes = stream(20_000, beats(20, 30))
    groups = {name: Codes(values, tuple(NAMES[name])) for name, values in codes.items()}
    nothing = np.zeros(0, dtype=np.int64)
    whole = event_patterns(Train("open", Times.of(times), groups["comm"], nothing), groups, 0, HOUR_NS)
    assert whole
    assert collected(times, codes, limit=100_000, chunk=777) == whole


@pytest.mark.parametrize(
    ("period_s", "size"),
    [(0.02, 1), (1.0, 10), (30.0, 200), (600.0, 5000)],
)
def test_rhythms_of_all_lengths_are_told_once(period_s, size):
    planted = beats(period_s, size)
    times, codes = stream(400_000, planted)
    found = [one for one in collected(times, codes, limit=1 << 16) if one.kind != "steady"]
    assert [one.scope for one in found] == [{"comm": "c20"}]
    (one,) = found
    assert one.period_ns == pytest.approx(period_s * 1e9, rel=0.02)
    assert one.burst_size == pytest.approx(size, rel=0.02)
    assert one.cycles == pytest.approx(len(planted) / size, rel=0.02)
    assert one.end_ns - one.start_ns > 0.6 * HOUR_NS
    assert "by c20" in one.sentence


def test_a_rhythm_in_half_of_the_recording():
    times, codes = stream(400_000, beats(1.0, 10, until=0.5))
    (one,) = (one for one in collected(times, codes, limit=1 << 16) if one.kind != "steady")
    assert one.period_ns == pytest.approx(1e9, rel=0.02)
    assert one.end_ns == pytest.approx(0.5 * HOUR_NS, rel=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_chance_is_a_steady_rate_and_nothing_else(seed):
    times, codes = stream(400_000, seed=seed)
    (one,) = collected(times, codes, limit=1 << 16)
    assert (one.kind, one.scope, one.cycles) == ("steady", {"all": "open"}, 400_000)
    assert one.rate_per_second == pytest.approx(400_000 / 3600, rel=0.01)


def test_a_rate_that_wanders_is_nothing():
    chance = np.random.default_rng(4)
    rate = np.exp(np.cumsum(chance.normal(0, 0.2, 3600)))
    counts = chance.poisson(400_000 * rate / rate.sum())
    times = np.sort((np.repeat(np.arange(3600), counts) + chance.uniform(0, 1, counts.sum())) * SECOND_NS)
    codes = {"comm": np.zeros(len(times), dtype=np.int64), "path": np.full(len(times), -1)}
    assert collected(times.astype(np.int64), codes, limit=1 << 16) == ()


def test_chance_does_not_recur():
    counts = np.random.default_rng(1).poisson(np.repeat((0.1, 1.0, 20.0), 100)[:, None], (300, 2048))
    assert conspicuous(counts).max() < 6


def test_what_is_closer_than_the_resolution_is_one_element():
    times = thinned(np.array([1, 2, 3, 10, 30, 31]), 2)
    assert (times.begin_ns.tolist(), times.end_ns.tolist(), times.count.tolist()) == (
        [1, 10, 30],
        [3, 10, 31],
        [3, 1, 2],
    )
    assert len(thinned(np.zeros(0, dtype=np.int64), 2)) == 0


def test_nothing_at_all():
    assert TrainCollector("open", 0, HOUR_NS, ("comm", "path")).patterns(NAMES) == ()


def test_long_counts_are_of_each_group_and_of_the_others_together():
    counts, chance = _LongCounts(0, CELLS), np.random.default_rng(2)
    codes = chance.integers(-1, COUNTED + 20, 5000).astype(np.int32)
    cell = np.sort(chance.integers(100, 300, 5000))
    counts.add(codes, cell, np.arange(COUNTED + 20, dtype=np.int32))
    for code, found in counts.groups():
        assert (found == np.bincount(cell[codes == code], minlength=len(found))).all()
    assert (counts.everything() == np.bincount(cell, minlength=len(found))).all()
