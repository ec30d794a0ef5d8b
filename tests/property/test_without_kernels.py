"""The same reports without the library of kernels, as where there was no compiler."""

import os
import subprocess
import sys
from pathlib import Path

from tracekit.analyze.kernels import compiled

ROOT = Path(__file__).parents[2]
TESTS = (
    "tests/golden",
    "tests/property/test_analyze_pairing.py",
    "tests/unit/test_analyze_blocks.py",
    "tests/unit/test_analyze_selection.py",
    "tests/unit/test_analyze_spread.py",
)


def run(*command: str) -> str:
    environment = os.environ | {compiled.WITHOUT: "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    return done.stdout


def test_it_does_without() -> None:
    loaded = "from tracekit.analyze.kernels.columns import take; print(hasattr(take, '__wrapped__'))"
    assert run("-c", loaded) == "False\n"


def test_the_reports_are_the_same() -> None:
    assert " passed" in run("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *TESTS)
