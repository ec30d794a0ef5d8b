"""Settings of the tests that need neither kernel nor command line."""

from pathlib import Path

import pytest

import tracekit
from tracekit.recording import Recording

SAMPLES = Path(__file__).parents[2] / "sample_traces"


@pytest.fixture(scope="module")
def disk() -> Recording:
    return tracekit.open_trace(SAMPLES / "disk-two-modes.parquet")


@pytest.fixture(scope="module")
def service() -> Recording:
    return tracekit.open_trace(SAMPLES / "service-restart.parquet")
