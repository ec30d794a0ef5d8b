"""Beats among other events."""

import numpy as np
import pytest

from tracekit.analyze.beats import find_chain, periods
from tracekit.analyze.rhythm import Times, find_rhythm

SECOND_NS = 1_000_000_000


def polled(seed, *, beside, missed=0.0, seconds=60, jitter=0.004):
    """An event each 0.7 s, of which some are missed; and others at chance times, so many for each."""
    chance = np.random.default_rng(seed)
    beats = 0.3 + 0.7 * np.arange(int(seconds / 0.7)) + chance.normal(0, 0.7 * jitter, int(seconds / 0.7))
    beats = beats[chance.uniform(0, 1, len(beats)) >= missed]
    times = np.concatenate((beats, chance.uniform(0, seconds, round(beside * seconds / 0.7))))
    return np.sort((times * SECOND_NS).astype(np.int64)), len(beats)


@pytest.mark.parametrize(("beside", "missed"), [(1, 0.0), (4, 0.0), (2, 0.1)])
def test_a_beat_among_others(beside, missed):
    found = 0
    for seed in range(10):
        times, beats = polled(seed, beside=beside, missed=missed)
        rhythm = find_rhythm(Times.of(times), 0, 60 * SECOND_NS)
        found += (
            rhythm is not None
            and rhythm.burst_size == 1
            and abs(rhythm.period_ns - 0.7e9) < 0.01e9
            and 0.8 * beats < rhythm.cycles < 1.1 * beats
        )
    assert found >= 9


def test_jitter_that_hides_the_period_more_than_its_multiples():
    for seed in range(5):
        times, _ = polled(seed, beside=0.8, seconds=400, jitter=0.02)
        rhythm = find_rhythm(Times.of(times), 0, 400 * SECOND_NS)
        assert rhythm is not None
        assert abs(rhythm.period_ns - 0.7e9) < 0.01e9


def test_bursts_of_a_few_among_others():
    times, _ = polled(3, beside=2)
    beats, _ = polled(3, beside=0)
    both = np.sort(np.concatenate((times, beats + 1_000_000, beats + 2_500_000)))
    rhythm = find_rhythm(Times.of(both), 0, 60 * SECOND_NS)
    assert rhythm is not None
    assert (rhythm.burst_size, rhythm.burst_duration_ns) == (3, 2_500_000)


def test_the_chain_is_that_of_the_beats():
    times, beats = polled(1, beside=1)
    near = [period for period in periods(times) if abs(period / 0.7e9 - 1) < 0.02]
    assert near
    chain = find_chain(times, near[0])
    assert chain is not None
    assert len(chain.rows) >= 0.95 * beats
    assert (np.diff(chain.rows) > 0).all()


@pytest.mark.parametrize("count", [12, 50, 200, 1000])
def test_chance_makes_no_chain(count):
    for seed in range(50):
        times = np.sort(np.random.default_rng([count, seed]).integers(0, 60 * SECOND_NS, count))
        assert all(find_chain(times, period) is None for period in periods(times))


def test_bursts_at_chance_times_make_no_chain():
    for seed in range(30):
        chance = np.random.default_rng(seed)
        begins = np.repeat(np.cumsum(chance.exponential(1.0, 60)), 8)
        times = np.sort(((begins + chance.exponential(0.01, len(begins))) * SECOND_NS).astype(np.int64))
        assert all(find_chain(times, period) is None for period in periods(times))


@pytest.mark.parametrize("times", [2, 4, 12])
@pytest.mark.parametrize("jitter", [0.01, 0.05, 0.15])
def test_each_nth_of_a_beat_makes_no_chain(times, jitter):
    chance = np.random.default_rng(times)
    beats = 1_250_000 * (np.arange(4000) + chance.normal(0, jitter, 4000))
    points = np.sort(np.concatenate((beats, chance.uniform(0, 5e9, 200)))).astype(np.int64)
    assert find_chain(points, times * 1_250_000) is None
    slow = np.sort(np.concatenate((beats[::times], chance.uniform(0, 5e9, 200)))).astype(np.int64)
    assert find_chain(slow, times * 1_250_000) is not None


def test_too_few_points():
    assert find_chain(np.arange(5, dtype=np.int64) * SECOND_NS, 1e9) is None
