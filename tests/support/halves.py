"""Recordings whose halves are compared."""

from pathlib import Path

import numpy as np
from laboratory.recording import SECOND_NS, Recording

from tracekit import open_trace
from tracekit.analyze import Selection
from tracekit.analyze.diff import Diff, Part, diff


def halves(recording: Recording, path: Path) -> Diff:
    trace = open_trace(recording.write(path))
    half = trace.metadata.duration_ns // 2
    return diff(Part(trace, Selection(None, half)), Part(trace, Selection(half, None)))


def opened(begin: float, end: float, count: int, recording: Recording, ret: int, comm: str = "reader") -> None:
    at = np.sort(np.random.default_rng(count).uniform(begin, end, count) * SECOND_NS).astype(np.int64)
    duration = (20_000 * np.random.default_rng(count + 1).lognormal(0, 0.5, count)).astype(np.int64)
    recording.opens(at, duration, comm, "/srv/data", ret)


def started(seconds: np.ndarray, comm: str, recording: Recording) -> None:
    recording.processes((seconds * SECOND_NS).astype(np.int64), np.full(len(seconds), 3_000_000), comm, 1)
