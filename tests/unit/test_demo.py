"""The demonstration workload does what the demonstration claims, and leaves nothing behind."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "demo"
COMMANDS = ("id", "uname", "date", "mkdir", "cp", "sed", "grep", "rm", "dirname", "basename", "cat", "tail")


def test_an_attempt_is_thirty_processes(tmp_path: Path) -> None:
    # Every command is replaced by a script that notes its name before it does the same.
    programs, log = tmp_path / "bin", tmp_path / "log"
    programs.mkdir()
    for name in COMMANDS:
        script = programs / name
        script.write_text(f'#!/bin/sh\necho {name} >>{log}\nexec {shutil.which(name)} "$@"\n')
        script.chmod(0o755)
    folder = tmp_path / "folder"
    folder.mkdir()

    done = subprocess.run([DEMO / "start-service", folder], env={"PATH": str(programs)}, check=False)

    assert done.returncode == 1
    assert len(log.read_text().split()) + 1 == 30
    assert "service.conf is missing" in (folder / "service.log").read_text()


def workload(folder: Path, seconds: float) -> "subprocess.Popen[bytes]":
    (folder / "work").mkdir()
    command = [sys.executable, DEMO / "workload.py", "--folder", folder / "work", "--log", folder / "log"]
    return subprocess.Popen([*command, "--seconds", str(seconds)], start_new_session=True)


def left_over(session: int) -> list[int]:
    """Processes of the session that still run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(int(folder.name)) == session:
                found.append(int(folder.name))
    return found


def test_it_fails_once_a_second_and_cleans_up(tmp_path: Path) -> None:
    process = workload(tmp_path, 3.6)
    assert process.wait(30) == 0
    attempts = [[int(word) for word in line.split()] for line in (tmp_path / "log").read_text().splitlines()]
    assert 2 <= len(attempts) <= 3
    assert {code for _, _, code in attempts} == {1}
    for (_, end_ns, _), (start_ns, _, _) in itertools.pairwise(attempts):
        assert start_ns - end_ns >= 1_000_000_000
    assert list((tmp_path / "work").iterdir()) == []
    assert left_over(process.pid) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_cleans_up(number: signal.Signals, tmp_path: Path) -> None:
    process = workload(tmp_path, 60)
    deadline = time.monotonic() + 20
    while not list((tmp_path / "work").glob("*/service.log")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # As a terminal does it: to every process of the group.
    os.killpg(process.pid, number)
    assert process.wait(30) == 128 + number
    assert list((tmp_path / "work").iterdir()) == []
    assert left_over(process.pid) == []
