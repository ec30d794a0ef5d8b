#!/usr/bin/env python3
"""The demonstration workload: a service that cannot start, restarted for ever, beside ordinary work on files.

Three processes: this one starts the other two and cleans up after them; `supervise` runs `start-service`, which
makes 30 short processes and fails, and does so again after a pause of a second; `file-worker` opens, reads and
writes files, some of which are missing. Needs nothing but Python.
"""

import argparse
import contextlib
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAUSE_SECONDS = 1.0
BLOCK = 4096
DATA_BLOCKS = 1024
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def main() -> int:
    """Run the workload for a while, or the part of it that is named."""
    parser = argparse.ArgumentParser(description="Make the machine do what the demonstration reports.")
    parser.add_argument("--seconds", type=float, default=12, help="how long (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to work; on a disk, if disks are to be seen")
    parser.add_argument("--log", type=Path, help="write a line `START_NS END_NS EXIT_CODE` for each attempt")
    parser.add_argument("--part", choices=("supervise", "file-worker"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    # Blocked, here and in what is started, and asked for where it is convenient: so everything is cleaned up.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    if options.part == "supervise":
        return supervise(options.folder, options.log)
    if options.part == "file-worker":
        return work_on_files(options.folder)
    return run(options.seconds, options.folder, options.log)


def run(seconds: float, parent: Path | None, log: Path | None) -> int:
    """Both parts at once, in a folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="workload-", dir=parent))
    parts: list[subprocess.Popen[bytes]] = []
    try:
        for part in ("supervise", "file-worker"):
            parts.append(start(part, folder, log))
        ended_by = signal.sigtimedwait(ENDING, seconds)
    finally:
        for part_process in parts:
            part_process.terminate()
        for part_process in parts:
            part_process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if ended_by is None else 128 + ended_by.si_signo


def start(part: str, folder: Path, log: Path | None) -> "subprocess.Popen[bytes]":
    """Start a part of the workload, as a program of that name: in a trace, `python3` would say nothing."""
    program = folder / part
    program.symlink_to(Path(sys.executable).resolve())
    command: list[str | Path] = [program, "-S", HERE / "workload.py", "--part", part, "--folder", folder]
    if log is not None:
        command += ["--log", log.absolute()]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def supervise(folder: Path, log: Path | None) -> int:
    """Start the service again whenever it has failed, which is always."""
    parent = os.getppid()
    while not told_to_end(parent, PAUSE_SECONDS):
        start_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        code = subprocess.run([HERE / "start-service", folder], stdout=subprocess.DEVNULL, check=False).returncode
        if log is not None:
            with log.open("a") as lines:
                lines.write(f"{start_ns} {time.clock_gettime_ns(time.CLOCK_BOOTTIME)} {code}\n")
    return 0


def work_on_files(folder: Path) -> int:
    """Read and write a file past the page cache, and look for configuration where there is none."""
    # Always the same, so that two recordings can be compared.
    chance = random.Random(1)
    data = folder / "data"
    data.write_bytes(os.urandom(BLOCK * DATA_BLOCKS))
    with mmap.mmap(-1, 4 * BLOCK) as page, open_direct(data) as descriptor:
        parent, turn = os.getppid(), 0
        while not told_to_end(parent, chance.uniform(0.005, 0.035)):
            turn += 1
            look_for_configuration(folder, turn)
            offset = chance.randrange(DATA_BLOCKS - 4) * BLOCK
            os.preadv(descriptor, [page], offset)
            os.pwritev(descriptor, [memoryview(page)[: BLOCK * chance.choice((1, 4))]], offset)
            if turn % 8 == 0:
                os.fsync(descriptor)
    return 0


def look_for_configuration(folder: Path, turn: int) -> None:
    """Open a few files; the first two are never there."""
    for name in ("worker.conf.local", "worker.conf"):
        with contextlib.suppress(FileNotFoundError):
            (folder / name).read_bytes()
    (folder / f"result-{turn % 10}").write_text(f"{turn}\n")
    (folder / f"result-{turn % 10}").read_text()


@contextlib.contextmanager
def open_direct(path: Path) -> Iterator[int]:
    """The file, past the page cache where its file system can do that."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_DIRECT)
    except OSError:
        descriptor = os.open(path, os.O_RDWR | os.O_SYNC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def told_to_end(parent: int, pause: float) -> bool:
    """Pause, and say whether to end: after a signal, or when the parent is gone, even by SIGKILL."""
    return signal.sigtimedwait(ENDING, pause) is not None or os.getppid() != parent


if __name__ == "__main__":
    sys.exit(main())
