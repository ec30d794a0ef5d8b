"""Programs whose doings are known, each a command: workload.py PART ARGUMENTS... Needs nothing but Python.

Each notes what it does when it does it, by CLOCK_BOOTTIME, as a line of JSON in a log. What they do is chosen by chance
from a seed, so that two runs differ in the machine's doing only.
"""

import contextlib
import ctypes
import json
import mmap
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = 4096
#: I/O keeps away from so much at either end of a disk: whoever sees a new one looks there for partitions.
EDGE_BYTES = 1 << 20


class Log:
    """Lines of JSON, written at once."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("a", buffering=1)  # noqa: SIM115  # open as long as the program runs

    def note(self, **what: Any) -> None:
        self._file.write(json.dumps(what) + "\n")


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


# --- processes ---------------------------------------------------------------------------------------------------


def respawn(log: str, seconds: str, seed: str, pause_s: str, *commands: str) -> None:
    """Run the commands, pause, and do so again: each round starts some time after the last one is over."""
    notes, chance, end = Log(log), random.Random(seed), time.monotonic() + float(seconds)
    while time.monotonic() < end:
        _round(notes, chance, commands)
        time.sleep(float(pause_s))


def by_clock(log: str, seconds: str, seed: str, period_s: str, *commands: str) -> None:
    """Run the commands at multiples of a period, however long they take."""
    notes, chance, begin = Log(log), random.Random(seed), time.monotonic()
    for turn in range(1, int(float(seconds) / float(period_s)) + 1):
        time.sleep(max(begin + turn * float(period_s) - time.monotonic(), 0))
        _round(notes, chance, commands)


def at_chance(log: str, seconds: str, seed: str, mean_s: str, *commands: str) -> None:
    """Run one of the commands after exponentially distributed pauses."""
    notes, chance, end = Log(log), random.Random(seed), time.monotonic() + float(seconds)
    while time.monotonic() < end:
        time.sleep(chance.expovariate(1 / float(mean_s)))
        _round(notes, chance, [chance.choice(commands)])


def _round(notes: Log, chance: random.Random, commands: "list[str] | tuple[str, ...]") -> None:
    """The commands one after another; noted is when each was started."""
    starts_ns = []
    for command in commands:
        words = [_chosen(word, chance) for word in command.split()]
        starts_ns.append(now_ns())
        # posix_spawn and not a fork of this program.
        os.waitpid(os.posix_spawnp(words[0], words, os.environ), 0)
    notes.note(starts_ns=starts_ns)


def _chosen(word: str, chance: random.Random) -> str:
    """A number by chance for `LOW..HIGH`, and any other word as it is."""
    low, dots, high = word.partition("..")
    with contextlib.suppress(ValueError):
        return f"{chance.uniform(float(low), float(high)):.4f}" if dots else word
    return word


# --- opens ------------------------------------------------------------------------------------------------------


def search(log: str, seed: str, rounds: str, mean_pause_s: str, names: str, *folders: str) -> None:
    """Look for each of the names in each of the folders, where none is; a random pause after each round."""
    notes, chance = Log(log), random.Random(seed)
    for _ in range(int(rounds)):
        for name in names.split(","):
            for folder in folders:
                with contextlib.suppress(FileNotFoundError):
                    os.close(os.open(f"{folder}/{name}", os.O_RDONLY))
        if float(mean_pause_s):
            time.sleep(chance.expovariate(1 / float(mean_pause_s)))
    paths = [f"{folder}/{name}" for name in names.split(",") for folder in folders]
    notes.note(failed=int(rounds) * len(paths), paths=dict.fromkeys(paths, int(rounds)))


def read_files(log: str, seconds: str, seed: str, mean_s: str, *files: str) -> None:
    """Open files that are there, after exponentially distributed pauses."""
    notes, chance, end, count = Log(log), random.Random(seed), time.monotonic() + float(seconds), 0
    while time.monotonic() < end:
        time.sleep(chance.expovariate(1 / float(mean_s)))
        Path(chance.choice(files)).read_bytes()
        count += 1
    notes.note(opened=count)


# --- block I/O --------------------------------------------------------------------------------------------------


def disk_io(log: str, device: str, seed: str, workers: str, count: str, mean_pause_s: str = "0") -> None:
    """Direct reads and writes of 4 KiB at random places by several threads, so many in all."""
    notes, disk = Log(log), os.open(device, os.O_RDWR | os.O_DIRECT)
    places = range(EDGE_BYTES // PAGE, (os.lseek(disk, 0, os.SEEK_END) - EDGE_BYTES) // PAGE)
    todo = iter(range(int(count)))

    def work(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        with mmap.mmap(-1, PAGE) as page:
            for _ in todo:
                if float(mean_pause_s):
                    time.sleep(chance.expovariate(1 / float(mean_pause_s)))
                done = chance.choice((os.preadv, os.pwritev))(disk, [page], chance.choice(places) * PAGE)
                assert done == PAGE

    _threads(int(workers), work)
    notes.note(ios=int(count))


def disk_bursts(log: str, device: str, seed: str, rounds: str, depth: str, mean_pause_s: str) -> None:
    """Rounds of several direct reads one after another, and as many at once, with exponentially distributed pauses."""
    notes, disk = Log(log), os.open(device, os.O_RDONLY | os.O_DIRECT)
    places = range(EDGE_BYTES // PAGE, (os.lseek(disk, 0, os.SEEK_END) - EDGE_BYTES) // PAGE)

    def read(chance: random.Random) -> None:
        with mmap.mmap(-1, PAGE) as page:
            assert os.preadv(disk, [page], chance.choice(places) * PAGE) == PAGE

    def work(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        for _ in range(int(rounds)):
            if number == 0:
                time.sleep(chance.expovariate(1 / float(mean_pause_s)))
                for _ in range(int(depth)):
                    read(chance)
            all_ready.wait()
            read(chance)
            all_ready.wait()

    all_ready = threading.Barrier(int(depth))
    _threads(int(depth), work)
    notes.note(ios=2 * int(rounds) * int(depth))


def _threads(count: int, work: Any) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- several ----------------------------------------------------------------------------------------------------


def together(_log: str, *commands: str) -> None:
    """Run several commands, each a list in JSON, at the same time; it ends when they have."""
    with _started(commands) as processes:
        codes = [process.wait() for process in processes]
    sys.exit(any(codes))


@contextlib.contextmanager
def _started(commands: tuple[str, ...]) -> Iterator["list[subprocess.Popen[bytes]]"]:
    processes = []
    try:
        for command in commands:
            processes.append(subprocess.Popen(json.loads(command), stdin=subprocess.DEVNULL))
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    PR_SET_PDEATHSIG = 1
    # Whatever becomes of who started it, it ends.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    globals()[sys.argv[1]](*sys.argv[2:])
