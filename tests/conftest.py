"""What all tests share: the mark `kernel`, for tests that record from the running kernel."""

import functools
import os
import sys

import pytest


@functools.cache
def why_no_recording() -> str | None:
    """Why this machine cannot record; None if it can."""
    if sys.platform != "linux":
        return "recording needs Linux"
    from tracekit.capture.loading import find_out
    from tracekit.errors import TracekitError
    from tracekit.schema import RECORDED_FAMILIES

    try:
        find_out(RECORDED_FAMILIES)
    except TracekitError as error:
        return str(error)
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kernel") is None:
        return
    reason = why_no_recording()
    if reason is None:
        return
    if os.environ.get("TRACEKIT_REQUIRE_KERNEL") == "1":
        pytest.fail(f"this test must run here, but: {reason}", pytrace=False)
    pytest.skip(reason)
