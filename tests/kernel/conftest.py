"""Recording a command with the real command line, by both loaders."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from recording import TRACEKIT, Recorder, Recording, check_accounts

from tracekit import open_trace


@pytest.fixture(scope="session", params=["core", "bcc"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each loader in turn."""
    return str(request.param)


@pytest.fixture
def record(backend: str, tmp_path: Path) -> Recorder:
    """Records a command, and gives the trace; fails if it lost events, or if the counters do not add up."""

    def run(*command: str | Path, options: tuple[str, ...] = ()) -> Recording:
        output = tmp_path / "recorded.parquet"
        arguments = [*TRACEKIT, "record", "-o", output, "--backend", backend, "--system", *options, "--", *command]
        done = subprocess.run(arguments, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        assert output.exists(), done.stderr
        trace = open_trace(output)
        check_accounts(trace)
        assert trace.metadata.backend == backend
        assert trace.table("lost").num_rows == 0
        return Recording(trace, done.returncode, done.stderr)

    return run


@contextlib.contextmanager
def _loop_disk(backing: Path) -> Iterator[Path]:
    """An empty disk of 64 MiB on a file."""
    with backing.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 64 << 20)
    shown = subprocess.run(["losetup", "--find", "--show", backing], check=True, capture_output=True, text=True)
    device = shown.stdout.strip()
    try:
        yield Path(device)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.fixture
def loop_disk(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """An empty disk of 64 MiB on a file: the device, and the file."""
    backing = tmp_path / "disk.img"
    with _loop_disk(backing) as device:
        yield device, backing


@pytest.fixture
def two_disks(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Two such disks."""
    with _loop_disk(tmp_path / "one.img") as one, _loop_disk(tmp_path / "other.img") as other:
        yield one, other
