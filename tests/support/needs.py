"""Tests that need what not every machine has."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest


def cannot_run(reason: str) -> NoReturn:
    """Skip the test that runs, but where it must run: there that is a failure."""
    if os.environ.get("TRACEKIT_REQUIRE_KERNEL") == "1":
        pytest.fail(f"this test must run here, but: {reason}", pytrace=False)
    pytest.skip(reason)


def must_have(program: str, package: str = "") -> None:
    """Only where there is such a program."""
    if shutil.which(program) is None:
        cannot_run(f"there is no {program}: install {package or program}")


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of this size (`40k`, `3m`) at a folder that is made for it."""
    if os.geteuid() != 0:
        cannot_run("only root mounts a small disk")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
