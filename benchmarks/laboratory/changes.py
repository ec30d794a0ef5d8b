"""Recordings whose second half is like the first, and such in which something changes halfway."""

import errno
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
    found |= {"opens that fail": lambda: _failing(chance), "opens that fail in bursts": lambda: _failing_bursts(chance)}
    return {name: make for name, make in found.items() if not name.endswith(_UNSTEADY)}


def changed(chance: Chance) -> Scenarios:
    """One thing changes; its kind is in the truth."""
    return {
        "latencies a quarter longer": lambda: _longer(chance, 1.25),
        "latencies twice as long": lambda: _longer(chance, 2.0),
        "a new mode of 10 %": lambda: _mode(chance, 0, 0.1),
        "a new mode of 2 to 5 %": lambda: _mode(chance, 0, chance.uniform(0.02, 0.05)),
        "a mode of 10 % that goes": lambda: _mode(chance, 0.1, 0),
        "a mode that grows from 15 to 40 %": lambda: _mode(chance, 0.15, 0.4),
        "20 to 40 new outliers": lambda: _new_outliers(chance),
        "opens that begin to fail": lambda: _failing(chance, chance.uniform(0.05, 0.3)),
        "half as often again": lambda: _more(chance, 1.5),
        "a new program": lambda: _new_program(chance),
        "a rhythm that begins": lambda: _new_rhythm(chance),
    }


def _recording(kind: str | None) -> Recording:
    recording = Recording(_SECONDS * SECOND_NS, truth={"change": kind} if kind else {})
    recording.running(1, 0, "init")
    return recording


def _halves(chance: Chance, rate: float, more: float = 1.0) -> Iterator[Ints]:
    """Times at chance of each half, of the second `more` times as many."""
    half = _SECONDS * SECOND_NS / 2
    for at, factor in ((0, 1.0), (1, more)):
        yield np.sort(chance.uniform(at * half, (at + 1) * half, chance.poisson(rate * factor * _SECONDS / 2)))


def _rate(chance: Chance) -> float:
    return float(np.exp(chance.uniform(np.log(30), np.log(1000))))


def _opens(chance: Chance, recording: Recording, at: np.ndarray, scale: float = 1.0, failing: float = 0.0) -> None:
    duration = chance.lognormal(0, 0.8, len(at)) * 20_000 * scale
    ret = np.where(chance.uniform(0, 1, len(at)) < failing, -errno.ENOENT, 3)
    recording.opens(at.astype(np.int64), duration.astype(np.int64), "reader", "/srv/data", ret)


def _longer(chance: Chance, factor: float) -> Recording:
    recording = _recording("latency")
    for at, scale in zip(_halves(chance, max(_rate(chance), 100)), (1.0, factor), strict=True):
        _opens(chance, recording, at, scale)
    return recording


def _slow(chance: Chance, recording: Recording, at: np.ndarray, usual_ns: float) -> None:
    duration = chance.lognormal(0, 0.2, len(at)) * usual_ns
    recording.opens(at.astype(np.int64), duration.astype(np.int64), "reader", "/srv/data")


def _mode(chance: Chance, before: float, after: float) -> Recording:
    """A mode that has a part of the values, which may be none."""
    recording = _recording("mode")
    for at, share in zip(_halves(chance, max(_rate(chance), 200)), (before, after), strict=True):
        slow = chance.uniform(0, 1, len(at)) < share
        _opens(chance, recording, at[~slow])
        _slow(chance, recording, at[slow], 5 * MS_NS)
    return recording


def _new_outliers(chance: Chance) -> Recording:
    """So few of all that no percentile that is told moves with them."""
    recording = _recording("outliers")
    for at in _halves(chance, 1000):
        _opens(chance, recording, at)
    half = _SECONDS * SECOND_NS / 2
    _slow(chance, recording, chance.uniform(half, 2 * half, int(chance.integers(20, 41))), 100 * MS_NS)
    return recording


def _failing(chance: Chance, more: float | None = None) -> Recording:
    """Opens of which a part fails, and from the half on so much more of them."""
    recording = _recording("failures") if more is not None else _recording(None)
    part = chance.uniform(0, 0.02) if more is not None else chance.uniform(0.01, 0.5)
    for at, failing in zip(_halves(chance, _rate(chance)), (part, part + (more or 0)), strict=True):
        _opens(chance, recording, at, failing=failing)
    return recording


def _failing_bursts(chance: Chance) -> Recording:
    """A command that comes at chance times and looks for some files that are not there."""
    recording = _recording(None)
    for at in _halves(chance, _rate(chance)):
        _opens(chance, recording, at)
    begins = chance.uniform(0, _SECONDS * SECOND_NS, chance.poisson(np.exp(chance.uniform(np.log(1), np.log(60)))))
    looked = (begins[:, None] + np.cumsum(chance.exponential(MS_NS, (len(begins), 20)), axis=1)).ravel()
    duration = chance.lognormal(0, 0.8, len(looked)) * 5_000
    recording.opens(looked.astype(np.int64), duration.astype(np.int64), "searcher", "/srv/none", -errno.ENOENT)
    return recording


def _more(chance: Chance, factor: float) -> Recording:
    """Some of them may fail, as many of each hundred as before."""
    recording, failing = _recording("rate"), chance.choice([0.0, 0.2])
    for at in _halves(chance, _rate(chance), factor):
        _opens(chance, recording, at, failing=failing)
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
