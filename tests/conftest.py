"""What all tests share: the marks `kernel` and `browser`, for tests that record from the kernel or look at a page.

Hypothesis tries the same examples each time, so that a failure is of the change that is tested; with `pytest
--hypothesis-profile=exploring` it tries others.
"""

import functools
import sys

import pytest
from hypothesis import HealthCheck, settings
from needs import cannot_run

# On a busy machine a slow example says nothing about the code.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
settings.register_profile("tracekit", UNHURRIED, derandomize=True)
settings.register_profile("exploring", UNHURRIED)
settings.load_profile("tracekit")


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


def why_no_browser() -> str | None:
    """Why this machine cannot look at a page; None if it can."""
    from pages import why_no_browser as why

    return why()


_NEEDS = {"kernel": why_no_recording, "browser": why_no_browser}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark, why in _NEEDS.items():
        reason = why() if item.get_closest_marker(mark) else None
        if reason is not None:
            cannot_run(reason)
