"""Tests that need what not every machine has."""

import os
from typing import NoReturn

import pytest


def cannot_run(reason: str) -> NoReturn:
    """Skip the test that runs, but where it must run: there that is a failure."""
    if os.environ.get("TRACEKIT_REQUIRE_KERNEL") == "1":
        pytest.fail(f"this test must run here, but: {reason}", pytrace=False)
    pytest.skip(reason)
