"""Histogram, percentiles, modes and outliers."""

import math

import numpy as np
import pytest
from shapes import DISK_MS, DISK_US, plain_shapes, spread

from tracekit.analyze.histogram import Histogram, Histograms
from tracekit.analyze.kernels.binning import bin_of, low_edge
from tracekit.analyze.modes import find_modes, modes_of_buckets
from tracekit.analyze.outliers import episodes, looked_at, outlier_threshold

MS, US = 1_000_000, 1_000
SEEDS = range(8)


def buckets_of(hills, unit_ns):
    """The major modes as power-of-two buckets: (low, high) to the nearest power of two."""
    major = [hill for hill in hills if not hill.minor]
    return [tuple(2 ** round(math.log2(edge / unit_ns)) for edge in (hill.low, hill.high)) for hill in major]


def clock_step(values):
    return max(int(np.gcd.reduce(values)), 1)


# --- histogram -------------------------------------------------------------------------------------------------


def test_each_bin_begins_where_the_one_before_ends():
    values = np.concatenate([np.arange(20_000), (1 << np.arange(15, 63)) - 1, 1 << np.arange(15, 63), [2**63 - 1]])
    bins = bin_of(values)
    assert (low_edge(bins) <= values).all()
    assert (values[:-1] < low_edge(bins[:-1] + 1)).all()
    assert (bin_of(low_edge(bins)) == bins).all()
    width = (low_edge(bins[:-1] + 1) - low_edge(bins[:-1])) / np.maximum(low_edge(bins[:-1]), 1)
    assert width[values[:-1] >= 2048].max() <= 1 / 1024


def test_merging_in_any_order_is_the_same_as_one_histogram():
    values = np.random.default_rng(1).lognormal(15, 3, 10_000).astype(np.int64)
    parts = [Histogram.of(part) for part in np.array_split(values, 7)]
    for order in (parts, parts[::-1]):
        merged = Histogram.of(np.zeros(0, dtype=np.int64))
        for part in order:
            merged = merged.merge(part)
        whole = Histogram.of(values)
        assert (merged.counts == whole.counts).all()
        assert (merged.total, merged.low, merged.high) == (whole.total, whole.low, whole.high)


def test_the_sum_is_exact_beyond_64_bits():
    assert Histogram.of(np.full(4, 2**62, dtype=np.int64)).total == 4 * 2**62


def test_octaves_have_no_holes():
    found = Histogram.of(np.array([0, 1, 2, 3, 9, 9]))
    assert [(b.low_ns, b.high_ns, b.count) for b in found.octaves()] == [
        (0, 1, 1), (1, 2, 1), (2, 4, 2), (4, 8, 0), (8, 16, 2),
    ]  # fmt: skip
    assert Histogram.of(np.zeros(0, dtype=np.int64)).octaves() == ()


@pytest.mark.parametrize("count", [1, 2, 10, 300, 999, 1000, 1001, 100_000])
def test_percentiles_are_nearest_ranks_to_half_a_bin(count):
    values = np.random.default_rng(count).permutation(count) + 1
    shares = (0.001, 0.5, 0.9, 0.99, 0.999, 1.0)
    found, exact = (
        Histogram.of(values).percentiles(shares),
        [max(math.ceil(round(share * count, 6)), 1) for share in shares],
    )
    assert all(abs(one - other) <= other / 2048 for one, other in zip(found, exact, strict=True))
    assert found[-1] == count
    if count < 2048:
        assert list(found) == exact


def test_filled_together_they_are_what_each_is_alone():
    chance = np.random.default_rng(5)
    values, which = chance.lognormal(15, 3, 5000).astype(np.int64), chance.integers(0, 3, 5000)
    together = Histograms(4)
    for part in np.array_split(np.arange(5000), 3):
        together.add(which[part], values[part])
    for index in range(4):
        alone = Histogram.of(values[which == index])
        assert (together[index].counts == alone.counts).all()
        assert (together[index].total, together[index].low, together[index].high) == (
            alone.total,
            alone.low,
            alone.high,
        )
    assert together.whole().total == int(values.sum())


# --- modes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_first_published_histogram_from_values(seed):
    values = spread(DISK_MS, MS, seed)
    threshold = outlier_threshold(values, len(values))
    assert threshold is not None
    outside = values >= threshold
    assert outside.sum() == 11
    assert values[outside].min() >= 512 * MS
    hills = find_modes(Histogram.of(values[~outside]))
    assert buckets_of(hills, MS) == [(1, 2), (32, 64)]
    assert [2 ** round(math.log2(h.low / MS)) for h in hills if h.minor] in ([], [4], [8])


@pytest.mark.parametrize("seed", SEEDS)
def test_second_published_histogram_from_values(seed):
    values = spread(DISK_US, US, seed)
    assert outlier_threshold(values, len(values)) is None
    assert buckets_of(find_modes(Histogram.of(values)), US) == [(128, 2048), (4096, 32768)]


def test_published_histograms_as_buckets():
    edges = np.array([0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024], dtype=np.float64)
    counts = np.array([DISK_MS.get(int(edge), 0) for edge in edges[:-1]])
    assert buckets_of(modes_of_buckets(edges, counts), 1) == [(1, 2), (32, 64)]
    edges = np.array([*DISK_US, 524288], dtype=np.float64)
    counts = np.array(list(DISK_US.values()))
    assert buckets_of(modes_of_buckets(edges, counts), 1) == [(128, 2048), (4096, 32768)]


@pytest.mark.parametrize("count", [300, 1000, 10_000, 100_000])
def test_plain_shapes_have_one_mode_and_no_outliers(count):
    wrong = []
    for seed in range(12 if count < 50_000 else 3):
        for name, values in plain_shapes(np.random.default_rng([seed, count]), count).items():
            if len(find_modes(Histogram.of(values), clock_step(values))) != 1:
                wrong.append((name, seed, "modes"))
            if outlier_threshold(values, len(values)) is not None:
                wrong.append((name, seed, "outliers"))
    assert wrong == []


@pytest.mark.parametrize("count", [300, 3000, 30_000])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_two_modes_are_found_where_they_are(count, share):
    for seed in SEEDS:
        chance = np.random.default_rng([seed, count])
        slow = chance.lognormal(np.log(20 * MS), 0.3, max(round(share * count), 30))
        values = np.concatenate([chance.lognormal(np.log(0.2 * MS), 0.4, count), slow]).astype(np.int64)
        hills = find_modes(Histogram.of(values))
        assert len(hills) == 2
        assert abs(hills[0].peak / MS - 0.2) < 0.06
        assert abs(hills[1].peak / MS - 20) < 6
        assert abs(hills[1].count - len(slow)) <= 0.02 * len(slow) + 1
        assert hills[0].count + hills[1].count == len(values)


def test_a_shoulder_does_not_make_the_highest_peak_minor():
    """Two near hills that overlap, and a small one far away: the highest is a mode whatever stands beside it."""
    chance = np.random.default_rng(1)
    parts = [(1.8, 0.2, 8000), (3.6, 0.35, 13_000), (350, 0.2, 500)]
    values = np.concatenate([chance.lognormal(np.log(at * US), width, count) for at, width, count in parts])
    hills = find_modes(Histogram.of(values.astype(np.int64)))
    highest = max(hills, key=lambda hill: hill.count)
    assert not highest.minor
    assert [hill.minor for hill in hills][-1] is False


def test_little_data_says_nothing():
    values = np.arange(1, 50) * MS
    assert find_modes(Histogram.of(values)) == ()
    assert find_modes(Histogram.of(np.zeros(0, dtype=np.int64))) == ()
    assert outlier_threshold(values[:20], 20) is None


# --- outliers --------------------------------------------------------------------------------------------------


def test_the_greatest_values_are_all_that_outliers_need():
    values = np.random.default_rng(2).lognormal(13, 0.5, 5000).astype(np.int64)
    values[:11] = 500 * MS
    greatest = np.sort(values)[-looked_at(5000) :]
    assert outlier_threshold(greatest, 5000) == outlier_threshold(values, 5000) == 500 * MS


@pytest.mark.parametrize("outliers", [1, 3, 11])
def test_outliers_beyond_a_gap(outliers):
    for seed in SEEDS:
        chance = np.random.default_rng(seed)
        values = np.concatenate([chance.lognormal(13, 0.5, 5000), chance.uniform(5e8, 6e8, outliers)]).astype(np.int64)
        threshold = outlier_threshold(values, len(values))
        assert threshold is not None
        assert (values >= threshold).sum() == outliers


@pytest.mark.parametrize(
    ("count", "slow", "are"), [(10_000, 60, False), (10_000, 45, True), (500, 10, True), (300, 10, False)]
)
def test_more_than_a_few_are_no_outliers(count, slow, are):
    values = np.concatenate([np.random.default_rng(1).lognormal(13, 0.5, count - slow), np.full(slow, 5e8)])
    assert (outlier_threshold(values.astype(np.int64), len(values)) is not None) == are


def test_outliers_of_one_stall_are_one_episode():
    start = np.array([100, 110, 120, 9000]) * MS
    found = episodes(start, start + 50 * MS)
    assert [(e.start_ns // MS, e.end_ns // MS, e.count) for e in found] == [(100, 170, 3), (9000, 9050, 1)]
    assert episodes(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)) == ()
