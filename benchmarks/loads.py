"""The workloads: what runs on the measured CPU while the recorders record it."""

import contextlib
import json
import mmap
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SOURCES = Path(__file__).parent
_DISK_BYTES = 256 << 20


class UnavailableError(Exception):
    """Something cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Work:
    """What a workload has done: operations, and the nanoseconds that they took."""

    operations: int
    ns: int

    @property
    def ns_per_operation(self) -> float:
        return self.ns / self.operations


class Load(ABC):
    """A workload.

    Attributes:
        title: what it does.
        operation: what it counts.
        family: of tracekit's events that record it.
    """

    title: str
    operation: str
    family: str

    @abstractmethod
    def run(self, seconds: float) -> Work:
        """Work for so long, on the measured CPU."""

    @abstractmethod
    def kick(self) -> None:
        """Make one event of this kind, at once."""


class Opens(Load):
    """Opens, and closes, one path in a loop."""

    family, operation = "open", "open"

    def __init__(self, program: Path, path: Path, title: str, cpu: int) -> None:
        self.title, self._path = title, path
        self._command = ["taskset", "-c", str(cpu), str(program), "opens", str(path)]

    def run(self, seconds: float) -> Work:
        return _counted([*self._command, str(seconds)])

    def kick(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.close(os.open(self._path, os.O_RDONLY))


class Execs(Load):
    """Starts a program that does nothing, one after another."""

    title, family, operation = "a storm of execs", "process", "exec"

    def __init__(self, program: Path, cpu: int) -> None:
        self._true = shutil.which("true") or "/bin/true"
        self._command = ["taskset", "-c", str(cpu), str(program), "execs", self._true]

    def run(self, seconds: float) -> Work:
        return _counted([*self._command, str(seconds)])

    def kick(self) -> None:
        os.waitpid(os.posix_spawn(self._true, [self._true], {}), 0)


class Reads(Load):
    """Reads 4 KiB at random places of a loop device, eight at a time, past the page cache."""

    title, family, operation = "direct reads of 4 KiB, eight at a time, from a loop device", "block", "read"

    def __init__(self, device: str, cpu: int) -> None:
        self._device = device
        self._command = ["fio", "--name=reads", f"--filename={device}", "--rw=randread", "--bs=4k", "--direct=1"]
        self._command += ["--ioengine=libaio", "--iodepth=8", "--time_based", "--output-format=json"]
        self._command += [f"--cpus_allowed={cpu}"]

    def run(self, seconds: float) -> Work:
        said = _output([*self._command, f"--runtime={max(round(seconds), 1)}"])
        read = json.loads(said[said.index("{") :])["jobs"][0]["read"]
        return Work(read["total_ios"], read["runtime"] * 1_000_000)

    def kick(self) -> None:
        disk = os.open(self._device, os.O_RDONLY | os.O_DIRECT)
        with mmap.mmap(-1, 4096) as page:
            os.preadv(disk, [page], 0)
        os.close(disk)


def compiled(name: str, folder: Path) -> Path:
    """The program of a C file beside this one, compiled into a folder.

    Raises:
        UnavailableError: there is no compiler.
    """
    compiler = shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        raise UnavailableError("no C compiler: install clang")
    _output([compiler, "-O2", "-o", str(folder / name), str(_SOURCES / f"{name}.c")])
    return folder / name


@contextmanager
def loop_device(folder: Path) -> Iterator[str]:
    """A disk whose blocks are a file in a folder.

    Raises:
        UnavailableError: it cannot be made.
    """
    if shutil.which("fio") is None:
        raise UnavailableError("fio is not installed: install fio")
    image = folder / "disk"
    with image.open("wb") as disk:
        for _ in range(_DISK_BYTES >> 20):
            disk.write(os.urandom(1 << 20))
    device = _output(["losetup", "--find", "--show", str(image)]).strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=False)
        image.unlink()


def _counted(command: list[str]) -> Work:
    """What a command of `workloads.c` says that it did."""
    operations, ns = _output(command).split()
    return Work(int(operations), int(ns))


def _output(command: list[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise UnavailableError(f"{Path(command[0]).name} failed: {last_line(ended.stderr or ended.stdout)}")
    return ended.stdout


def last_line(text: str) -> str:
    """The last line that is not empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
