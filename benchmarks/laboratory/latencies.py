"""Latencies with modes and outliers that were put there, and without."""

from collections.abc import Callable

import numpy as np

from laboratory.recording import MS_NS, SECOND_NS, Ints, Recording

Chance = np.random.Generator
_SECONDS = 60.0
#: Values of a scenario, at most; so many or fewer on a logarithmic scale, from 300 on.
MOST = 1_000_000


def _opens(chance: Chance, duration_ns: Ints, resolution_ns: int = 1, **truth: object) -> Recording:
    recording = Recording(round(_SECONDS * SECOND_NS), resolution_ns, dict(truth))
    at = np.sort(chance.uniform(0, _SECONDS * SECOND_NS, len(duration_ns)).astype(np.int64))
    recording.opens(at, duration_ns, "reader", "/srv/data")
    return recording


def _size(chance: Chance, most: int) -> int:
    return int(np.exp(chance.uniform(np.log(300), np.log(most))))


def plain(chance: Chance, most: int = MOST) -> dict[str, Callable[[], Recording]]:
    """One mode, and no outliers."""
    count = _size(chance, most)
    scale = np.exp(chance.uniform(np.log(1e4), np.log(1e8)))
    shapes: dict[str, Callable[[], np.ndarray]] = {
        "lognormal": lambda: chance.lognormal(0, chance.uniform(0.1, 2), count) * scale,
        "exponential": lambda: chance.exponential(scale, count),
        "gamma": lambda: chance.gamma(np.exp(chance.uniform(np.log(0.5), np.log(30))), scale, count),
        "Pareto": lambda: (chance.pareto(chance.uniform(1, 4), count) + 1) * scale,
        "uniform": lambda: chance.uniform(0, scale, count),
    }

    def plainly(draw: Callable[[], np.ndarray]) -> Recording:
        return _opens(chance, draw().astype(np.int64), modes=[0], outliers=0)

    def coarsely() -> Recording:
        tick = int(10 ** chance.integers(3, 7))
        ticks = chance.choice(["exponential", "lognormal", "gamma"])
        usual = chance.uniform(2, 30)
        values = {
            "exponential": chance.exponential(usual, count),
            "lognormal": usual * chance.lognormal(0, 0.6, count),
            "gamma": chance.gamma(4, usual / 4, count),
        }[str(ticks)]
        return _opens(chance, np.floor(values).astype(np.int64) * tick, tick, modes=[0], outliers=0)

    found = {name: (lambda draw=draw: plainly(draw)) for name, draw in shapes.items()}
    return found | {"a coarse clock": coarsely}


def with_modes(chance: Chance, most: int = MOST) -> dict[str, Callable[[], Recording]]:
    """Two or three modes, an octave and a half apart at least."""

    def mixture(number: int) -> Recording:
        count = _size(chance, most) + 1500
        width = chance.uniform(0.15, 0.35)
        centre = np.exp(chance.uniform(np.log(1e4), np.log(1e6)))
        shares = chance.dirichlet(np.full(number, 5.0)) * 0.9 + 0.1 / number
        centres = centre * np.cumprod([1.0, *(2 ** chance.uniform(2.5, 5, number - 1))])
        each = chance.multinomial(count, shares / shares.sum())
        values = [at * chance.lognormal(0, width, size) for at, size in zip(centres, each, strict=True)]
        together = chance.permutation(np.concatenate(values)).astype(np.int64)
        return _opens(chance, together, modes=[int(at) for at in centres], outliers=0)

    return {"two modes": lambda: mixture(2), "three modes": lambda: mixture(3)}


def with_outliers(chance: Chance, most: int = MOST) -> dict[str, Callable[[], Recording]]:
    """A few values far above the rest: scattered, or all in one stall."""

    def apart(stall: bool) -> Recording:
        count = _size(chance, most) + 700
        values = chance.lognormal(np.log(1e6), chance.uniform(0.2, 0.6), count)
        number = int(np.clip(chance.poisson(6) + 1, 1, max(count * 0.004, 1)))
        low = values.max() * 2 ** chance.uniform(1.3, 4)
        outliers = low * chance.uniform(1, 1.5, number)
        recording = Recording(round(_SECONDS * SECOND_NS), truth={"outliers": number})
        where = chance.uniform(0, _SECONDS * 0.9, 1 if stall else number) * SECOND_NS
        at = where + chance.uniform(0, 50 * MS_NS, number)
        usual = np.sort(chance.uniform(0, _SECONDS * SECOND_NS, count).astype(np.int64))
        recording.opens(usual, values.astype(np.int64), "reader", "/srv/data")
        recording.opens(at.astype(np.int64), outliers.astype(np.int64), "reader", "/srv/data")
        return recording

    return {"outliers, scattered": lambda: apart(False), "outliers in one stall": lambda: apart(True)}
