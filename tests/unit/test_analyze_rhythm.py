"""Rhythms in trains of times."""

import numpy as np
import pytest
from shapes import SECOND_NS, no_rhythm, restarts

from tracekit.analyze.rhythm import Times, find_rhythm, usual_size

END_NS = 10 * SECOND_NS


def rhythm_of(times, start_ns, end_ns):
    return find_rhythm(Times.of(times), start_ns, end_ns)


def near(value, truth, part=0.02):
    return abs(value - truth) <= part * truth


@pytest.mark.parametrize("background", [0, 1, 5, 20])
@pytest.mark.parametrize("clock", [False, True])
def test_a_service_restarted_for_ever(background, clock):
    """Bursts of 30 in 50 ms, a pause of 0.97 s."""
    missed = 0
    for seed in range(10):
        times = restarts(np.random.default_rng(seed), background=background, clock=clock)
        found = rhythm_of(times, 0, END_NS)
        right = (
            found is not None
            and near(found.period_ns, 1.02e9)
            and near(found.pause_ns, 0.97e9, 0.02 if background < 5 else 0.04)
            and found.burst_size == 30
            and found.cycles in (9, 10)
        )
        missed += not right
    assert missed <= (0 if background < 5 else 1)


def test_bursts_in_much_background():
    found = [rhythm_of(restarts(np.random.default_rng(seed), background=100), 0, END_NS) for seed in range(10)]
    assert sum(one is not None and near(one.period_ns, 1.02e9) for one in found) >= 9


def test_bursts_cut_by_the_recording_do_not_count_in_their_size():
    whole = restarts(np.random.default_rng(3), seconds=9)
    found = rhythm_of(whole, 0, 9 * SECOND_NS)
    assert found is not None
    burst = np.flatnonzero(np.diff(whole) > 0.5 * SECOND_NS)
    # Begin within the first burst and end within the last one.
    part = whole[15 : burst[-1] + 21]
    cut = rhythm_of(part, int(part[0]) - 1000, int(part[-1]) + 1000)
    assert cut is not None
    assert cut.burst_size == 30
    assert near(cut.period_ns, 1.02e9)
    assert near(cut.pause_ns, 0.97e9)
    assert not cut.whole[0]
    assert not cut.whole[-1]


def turns(count, size, period_ms, begin_ms=1000):
    """Bursts of events 1 ms apart; the first begins at a time, the others follow at a distance."""
    every = begin_ms + period_ms * np.arange(count)[:, None] + np.arange(size)
    return (every.ravel() * 1_000_000).astype(np.int64)


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("step_ns", [1_000_000, 20_000])
def test_a_cluster_at_an_end_that_exceeds_the_bursts_is_no_part_of_one(at_end, step_ns):
    """A compiler's 300 starts, for longer than a burst or as fast as one, then a service's 14 times 10."""
    strangers = 1_000_000 + step_ns * np.arange(300)
    times, end_ns = np.concatenate((strangers, turns(14, 10, 1000))), 15 * SECOND_NS
    found = rhythm_of(np.sort(end_ns - times) if at_end else times, 0, end_ns)
    assert found is not None
    assert (found.cycles, found.burst_size, found.events) == (14, 10, 140)


def test_a_cluster_at_an_end_that_is_longer_than_the_bursts_is_no_part_of_one():
    times = np.concatenate((1_000_000 + 12_000_000 * np.arange(10), turns(14, 10, 1000)))
    found = rhythm_of(times, 0, 15 * SECOND_NS)
    assert found is not None
    assert (found.cycles, found.events, found.burst_duration_ns) == (14, 140, 9_000_000)


def test_another_period_at_an_end_is_no_cut_burst():
    times = np.concatenate((turns(20, 1, 500, 1), turns(20, 1, 2000, 11_501)))
    found = rhythm_of(times, 0, 51 * SECOND_NS)
    assert found is not None
    assert found.events == found.cycles == 20


def test_single_events_at_equal_distances():
    times = np.cumsum(np.random.default_rng(1).normal(10.1e9, 0.01e9, 12)).astype(np.int64)
    found = rhythm_of(times, 0, 130 * SECOND_NS)
    assert found is not None
    assert (found.burst_size, found.cycles) == (1, 12)
    assert near(found.period_ns, 10.1e9, 0.002)


def test_the_beat_of_a_clock_and_of_a_loop_differ():
    chance = np.random.default_rng(1)
    clock = restarts(chance, seconds=60, clock=True)
    loop = restarts(chance, seconds=60)
    answers = [rhythm_of(times, 0, 60 * SECOND_NS) for times in (clock, loop)]
    assert [one is not None and one.clock for one in answers] == [True, False]


def test_no_rhythm_where_there_is_none():
    seeds = 40
    alarms = {}
    for seed in range(seeds):
        for name, times in no_rhythm(np.random.default_rng([7, seed])).items():
            alarms[name] = alarms.get(name, 0) + (rhythm_of(times, 0, END_NS) is not None)
    assert sum(alarms.values()) <= 0.01 * seeds * len(alarms), alarms


def test_moving_all_times_changes_nothing():
    times = restarts(np.random.default_rng(5), background=5)
    here, there = rhythm_of(times, 0, END_NS), rhythm_of(times + 10**15, 10**15, 10**15 + END_NS)
    assert here is not None
    assert there is not None
    assert (here.period_ns, here.pause_ns, here.burst_size, here.jitter) == (
        there.period_ns,
        there.pause_ns,
        there.burst_size,
        there.jitter,
    )


@pytest.mark.parametrize("times", [[], [5], [5, 5, 5, 5, 5], [1, 2, 3]])
def test_too_few_times(times):
    assert rhythm_of(np.array(times, dtype=np.int64), 0, END_NS) is None


def test_beats_that_were_missed():
    """A clock of which one beat in eight does not come: the period is that of the others, and it is still a clock."""
    chance = np.random.default_rng(5)
    beats = np.setdiff1d(np.arange(60), np.arange(4, 60, 8))
    times = (0.3 + 0.5 * beats + chance.normal(0, 0.002, len(beats))) * SECOND_NS
    found = rhythm_of(times.astype(np.int64), 0, 31 * SECOND_NS)
    assert found is not None
    assert near(found.period_ns, 0.5e9)
    assert (found.cycles, found.burst_size, found.clock) == (len(beats), 1, True)


@pytest.mark.parametrize("begin_s", [0.1, 1.0, 2.4])
def test_four_single_events_are_none_of_them_cut(begin_s):
    """However near to the beginning the first is: a single event has no part that could be missing."""
    times = (begin_s + 2.5 * np.arange(4) + np.array([0, 0.004, -0.003, 0.002])) * SECOND_NS
    found = rhythm_of(times.astype(np.int64), 0, 10 * SECOND_NS)
    assert found is not None
    assert (found.cycles, found.burst_size) == (4, 1)
    assert near(found.period_ns, 2.5e9)


@pytest.mark.parametrize("others", [0.0, 0.1, 0.6, 2.1])
def test_bursts_of_one_size_among_others(others):
    """Of 40 trains of 20 bursts nearly all are told as they are, and the rest to one."""
    chance = np.random.default_rng(1)
    told = np.array([usual_size(9 + chance.poisson(others, 20), others) for _ in range(40)])
    assert (told == 9).mean() >= 0.95
    assert np.abs(told - 9).max() <= 1


@pytest.mark.parametrize("others", [0.0, 0.5, 3.0])
def test_bursts_of_many_sizes_among_others(others):
    """The median is told, and not the size that happens to be most frequent."""
    chance = np.random.default_rng(2)
    told = [usual_size(chance.integers(20, 41, 60) + chance.poisson(others, 60), others) for _ in range(40)]
    assert abs(np.median(told) - 30) <= 1
    assert np.abs(np.array(told) - 30).max() <= 4


def test_one_burst_that_is_otherwise_does_not_change_the_usual_size():
    assert usual_size(np.array([9, 9, 10, 9, 11, 10, 9, 9, 10, 3, 9, 9]), 0.4) == 9
    assert usual_size(np.array([1, 1, 2, 1, 1]), 0.3) == 1
