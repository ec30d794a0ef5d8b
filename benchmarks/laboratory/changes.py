"""Recordings whose second half is like the first, and such in which something changes halfway."""

from collections.abc import Callable, Iterator

import numpy as np

from laboratory import latencies, rhythms, streams
from laboratory.recording import MS_NS, SECOND_NS, Ints, Recording
from laboratory.rhythms import Beat

Chance = np.random.Generator
Scenarios = dict[str, Callable[[], Recording]]
_MOST = 200_000
_SECONDS = 60
#: What is not the same in both halves.
_UNSTEADY = ("drift 10 %", "in the middle of it", "a rate that wanders", "a third to a fifth of it")


def steady(chance: Chance) -> Scenarios:
    """Nothing changes: scenarios of the other detectors that go on as they began."""
    found: Scenarios = {}
    for scenarios in (rhythms.with_rhythm, rhythms.without_rhythm, streams.with_rhythm, streams.without_rhythm):
        found |= scenarios(chance)
    for distributions in (latencies.plain, latencies.with_modes, latencies.with_outliers):
        found |= distributions(chance, _MOST)
    return {name: make for name, make in found.items() if not name.endswith(_UNSTEADY)}


def changed(chance: Chance) -> Scenarios:
    """One thing changes; its kind is in the truth."""
    return {
        "latencies a quarter longer": lambda: _longer(chance, 1.25),
        "latencies twice as long": lambda: _longer(chance, 2.0),
        "a new mode of 10 %": lambda: _new_mode(chance, 0.1),
        "half as often again": lambda: _more(chance, 1.5),
        "a new program": lambda: _new_program(chance),
        "a rhythm that begins": lambda: _new_rhythm(chance),
    }


def _recording(kind: str) -> Recording:
    recording = Recording(_SECONDS * SECOND_NS, truth={"change": kind})
    recording.running(1, 0, "init")
    return recording


def _halves(chance: Chance, rate: float, more: float = 1.0) -> Iterator[Ints]:
    """Times at chance of each half, of the second `more` times as many."""
    half = _SECONDS * SECOND_NS / 2
    for at, factor in ((0, 1.0), (1, more)):
        yield np.sort(chance.uniform(at * half, (at + 1) * half, chance.poisson(rate * factor * _SECONDS / 2)))


def _rate(chance: Chance) -> float:
    return float(np.exp(chance.uniform(np.log(30), np.log(1000))))


def _opens(chance: Chance, recording: Recording, at: np.ndarray, scale: float = 1.0) -> None:
    duration = chance.lognormal(0, 0.8, len(at)) * 20_000 * scale
    recording.opens(at.astype(np.int64), duration.astype(np.int64), "reader", "/srv/data")


def _longer(chance: Chance, factor: float) -> Recording:
    recording = _recording("latency")
    for at, scale in zip(_halves(chance, max(_rate(chance), 100)), (1.0, factor), strict=True):
        _opens(chance, recording, at, scale)
    return recording


def _new_mode(chance: Chance, share: float) -> Recording:
    recording = _recording("latency")
    for half, at in enumerate(_halves(chance, max(_rate(chance), 200))):
        slow = chance.uniform(0, 1, len(at)) < share * half
        _opens(chance, recording, at[~slow])
        if slow.any():
            duration = chance.lognormal(0, 0.2, int(slow.sum())) * 5 * MS_NS
            recording.opens(at[slow].astype(np.int64), duration.astype(np.int64), "reader", "/srv/data")
    return recording


def _more(chance: Chance, factor: float) -> Recording:
    recording = _recording("rate")
    for at in _halves(chance, _rate(chance), factor):
        _opens(chance, recording, at)
    return recording


def _new_program(chance: Chance) -> Recording:
    recording = _recording("program")
    for at in _halves(chance, 10):
        recording.processes(at.astype(np.int64), np.full(len(at), 3 * MS_NS), "old", 1)
    _, late = _halves(chance, float(chance.uniform(1, 20)))
    recording.processes(late.astype(np.int64), np.full(len(late), 3 * MS_NS), "new", 1)
    return recording


def _new_rhythm(chance: Chance) -> Recording:
    beat = Beat(chance.uniform(0.5, 2) * SECOND_NS, int(chance.integers(5, 60)), 0.05 * SECOND_NS)
    recording = rhythms.planted(beat, chance, seconds=_SECONDS, others_per_second=5, span=(0.51, 1.0))
    recording.truth = {"change": "rhythm"}
    return recording
