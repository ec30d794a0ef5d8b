"""Latencies and times of known shape, for tests of the detectors."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

SECOND_NS = 1_000_000_000

#: ms; the lower ends of power-of-two buckets, the first one from 0. Its author reads two modes, 0-1 and 32-63 ms,
#: and 11 outliers.
DISK_MS = {0: 16335, 2: 2272, 4: 3603, 8: 4328, 16: 3379, 32: 5815, 512: 11}
#: us. Its author reads two modes, 128-2047 us and 4-32 ms, and no outliers apart from the tail.
DISK_US = {
    64: 15, 128: 4475, 256: 14222, 512: 12303, 1024: 5649, 2048: 995, 4096: 1980, 8192: 3681, 16384: 1895,
    32768: 721, 65536: 394, 131072: 65, 262144: 17,
}  # fmt: skip


def spread(buckets: Mapping[int, int], unit_ns: int, seed: int) -> npt.NDArray[np.int64]:
    """Values that fill power-of-two buckets log-uniformly; the bucket from 0 is an octave, too."""
    chance = np.random.default_rng(seed)
    parts = []
    for low, count in buckets.items():
        first = low or 1
        parts.append(first * 2 ** chance.uniform(0, 1, count) * unit_ns)
    return np.concatenate(parts).astype(np.int64)


def plain_shapes(chance: np.random.Generator, count: int) -> dict[str, npt.NDArray[np.int64]]:
    """Distributions with one mode and without outliers."""
    shapes = {
        "narrow lognormal": chance.lognormal(13, 0.3, count),
        "lognormal": chance.lognormal(13, 1, count),
        "wide lognormal": chance.lognormal(13, 2, count),
        "exponential": chance.exponential(1e6, count),
        "gamma 0.5": chance.gamma(0.5, 1e6, count),
        "gamma 3": chance.gamma(3, 1e6, count),
        "Pareto 1": (chance.pareto(1, count) + 1) * 1e5,
        "Pareto 2.5": (chance.pareto(2.5, count) + 1) * 1e5,
        "uniform": chance.uniform(0, 1e6, count),
        "Weibull": chance.weibull(0.7, count) * 1e6,
        "us clock, exponential": np.round(chance.exponential(8, count)) * 1e3,
        "us clock, lognormal": np.floor(chance.lognormal(3, 0.5, count)) * 1e3,
        "4 ms clock": np.round(chance.exponential(3, count)) * 4e6,
    }
    return {name: values.astype(np.int64) for name, values in shapes.items()}


def restarts(
    chance: np.random.Generator,
    *,
    seconds: float = 10,
    background: float = 0,
    clock: bool = False,
) -> npt.NDArray[np.int64]:
    """Times of a service that is restarted for ever: bursts, pauses, and a background of so many a second."""
    size, burst, pause, jitter = 30, 0.05, 0.97, 0.01
    begin = first = chance.uniform(0, 1)
    times, turn = [], 0
    while begin < seconds:
        steps = chance.gamma(4, burst / (size - 1) / 4, size - 1)
        times.append(begin + np.concatenate(([0.0], np.cumsum(steps))))
        turn += 1
        wait = pause * (1 + chance.normal(0, jitter))
        begin = first + turn * (pause + burst) + chance.normal(0, jitter) if clock else times[-1][-1] + wait
    both = np.concatenate([*times, chance.uniform(0, seconds, chance.poisson(background * seconds))])
    return np.sort((both[both < seconds] * SECOND_NS).astype(np.int64))


def no_rhythm(chance: np.random.Generator, seconds: float = 10) -> dict[str, npt.NDArray[np.int64]]:
    """Times without a rhythm: chance, bursts at chance times, a parallel build, a rate that wanders."""
    found = {f"Poisson {n}": chance.uniform(0, seconds, n) for n in (5, 8, 20, 50, 200, 1000)}
    begins = chance.uniform(0, seconds, chance.integers(4, 15))
    found["aperiodic bursts"] = np.concatenate(
        [begin + np.cumsum(chance.exponential(0.003, chance.poisson(20) + 1)) for begin in begins]
    )
    found["build"] = np.concatenate([_build_job(chance, seconds) for _ in range(3)])
    rate = np.minimum(np.exp(np.cumsum(chance.normal(0, 0.3, 100))) * 5, 300)
    counts = chance.poisson(rate * seconds / 100)
    found["wandering rate"] = (np.repeat(np.arange(100), counts) + chance.uniform(0, 1, counts.sum())) * seconds / 100
    return {name: np.sort((times * SECOND_NS).astype(np.int64)) for name, times in found.items()}


def _build_job(chance: np.random.Generator, seconds: float) -> npt.NDArray[np.float64]:
    ends = np.cumsum(chance.lognormal(-1, 0.5, int(seconds * 5)))
    begins = np.concatenate(([0.0], ends[:-1]))
    all_of = np.concatenate((begins, begins + 0.002, begins + 0.005, ends - 0.02))
    return np.asarray(all_of[(all_of > 0) & (all_of < seconds)])
