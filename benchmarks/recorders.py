"""The recorders that are compared: how each is started, how one knows that it records, and how its losses are read."""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from loads import Load, UnavailableError, last_line
from machine import cpu_s, memory_bytes

from tracekit import open_trace

# Until a recorder records.
_PATIENCE_S = 15

#: What tracekit records by, family by family.
_TRACEPOINTS = {
    "open": tuple(
        f"syscalls:sys_{end}_{call}" for call in ("openat", "open", "openat2", "creat") for end in ("enter", "exit")
    ),
    "process": (
        *(f"sched:sched_process_{what}" for what in ("fork", "exec", "exit")),
        *(f"syscalls:sys_{end}_{call}" for call in ("execve", "execveat") for end in ("enter", "exit")),
    ),
    "block": tuple(f"block:block_{what}" for what in ("io_start", "rq_issue", "rq_complete", "rq_merge", "rq_requeue")),
}
_SCRIPTS = {"open": "opensnoop.bt", "process": "execsnoop.bt", "block": "biosnoop.bt"}


@dataclass(frozen=True)
class Recorded:
    """What is in a recorder's file: entries, entries lost, and the size in bytes."""

    entries: int
    lost: int
    bytes: int


class Recorder(ABC):
    """A program that records.

    Attributes:
        name: of the row.
        program: that must be there; None: it is there.
        package: that has it.
    """

    name: str
    program: str | None
    package: str

    def missing(self) -> str | None:
        """Why it cannot be run here, and what to do about it."""
        if self.program is None or shutil.which(self.program):
            return None
        return f"not installed: install {self.package}"

    @abstractmethod
    def start(self, load: Load, output: Path) -> "Running":
        """Start to record what a workload does."""

    @abstractmethod
    def await_recording(self, running: "Running", load: Load) -> None:
        """Return when events are being recorded."""

    @abstractmethod
    def read(self, load: Load, output: Path) -> Recorded:
        """What it recorded."""


class Running:
    """A recorder that runs. Leaving its block ends it, whatever has happened.

    Attributes:
        pid: of its process.
        output: its file.
        started: monotonic seconds at which it was started.
        peak_bytes: the most memory that it was seen to have beside its rings.
        cpu_s: seconds of processor time of the whole command; known when it has ended.
        stop_s: seconds that it took to end, once asked to: to write its file, for one.
    """

    def __init__(
        self, command: list[str], output: Path, look_every_s: float = 0.2, pass_fds: tuple[int, ...] = ()
    ) -> None:
        """`output` is its file; its memory is looked at every `look_every_s` seconds."""
        self.output, self.peak_bytes, self.cpu_s, self.stop_s = output, 0, 0.0, 0.0
        self._over, self._look_every_s = threading.Event(), look_every_s
        self._said = output.with_name("said")
        for old in (output, output.with_name(f"{output.name}.old")):  # perf keeps one
            old.unlink(missing_ok=True)
        with self._said.open("wb") as said:
            self.started = time.monotonic()
            self._process = subprocess.Popen(command, stdout=said, stderr=said, pass_fds=pass_fds)
        self.pid = self._process.pid
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    def __enter__(self) -> "Running":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()

    def _sample(self) -> None:
        while not self._over.wait(self._look_every_s):
            self.peak_bytes = max(self.peak_bytes, memory_bytes(self.pid))

    def said(self) -> str:
        """What it has written to its terminal so far."""
        return self._said.read_text(errors="replace")

    def check(self, deadline: float) -> None:
        """It is still to begin.

        Raises:
            UnavailableError: it has ended, or the deadline, in monotonic seconds, is over.
        """
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            raise UnavailableError(f"does not start: {last_line(self.said())}")
        if time.monotonic() > deadline:
            raise UnavailableError(f"does not record after {_PATIENCE_S} s: {last_line(self.said())}")

    def stop(self) -> None:
        """Ask it to end as Ctrl-C does, wait until its file is there, and take its account.

        Raises:
            UnavailableError: it has failed.
        """
        asked = time.monotonic()
        os.kill(self.pid, signal.SIGINT)
        _, status, usage = os.wait4(self.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._over.set()
        self.stop_s = time.monotonic() - asked
        self.cpu_s = usage.ru_utime + usage.ru_stime
        # perf ends by the very signal.
        if self._process.returncode not in (0, -signal.SIGINT):
            raise UnavailableError(f"failed: {last_line(self.said())}")

    def cpu_so_far_s(self) -> float:
        """Seconds of processor time until now."""
        return cpu_s(self.pid)


class Tracekit(Recorder):
    """tracekit with its core loader. It says on stderr when it records."""

    name, program, package = "tracekit", None, ""

    def start(self, load: Load, output: Path) -> Running:
        return self.start_families(load.family, output)

    def start_families(self, families: str, output: Path, look_every_s: float = 0.2) -> Running:
        """Record these families of events."""
        command = [sys.executable, "-m", "tracekit", "record", "--backend", "core"]
        command += ["--events", families, "--force", "-o", str(output)]
        return Running(command, output, look_every_s)

    def await_recording(self, running: Running, load: Load | None = None) -> None:
        while "tracekit: recording" not in running.said():
            running.check(running.started + _PATIENCE_S)
            time.sleep(0.002)

    def read(self, load: Load, output: Path) -> Recorded:
        counters = open_trace(output).metadata.counters[load.family]
        return Recorded(counters.written, counters.lost, output.stat().st_size)


class Perf(Recorder):
    """`perf record` on the whole machine, at the tracepoints that tracekit uses, with buffers of 16 MiB for each CPU.

    It answers a `ping` on its control descriptor from the loop that drains the buffers, when all events are enabled.
    """

    name, program, package = "perf record", "perf", "linux-perf (Ubuntu: linux-tools-generic)"

    def __init__(self, counter: Path) -> None:
        """`counter` is the compiled `perfdata.c`."""
        self._counter = counter
        self._pipes: tuple[int, ...] = ()

    def start(self, load: Load, output: Path) -> Running:
        self.close()
        asked, ask = os.pipe()
        answer, answered = os.pipe()
        self._pipes = (asked, ask, answer, answered)
        os.write(ask, b"ping\n")
        events = ",".join(name for name in _TRACEPOINTS[load.family] if _is_there(name))
        command = ["perf", "record", "-a", "-m", "16M", "-e", events, "-o", str(output)]
        command += ["--control", f"fd:{asked},{answered}"]
        return Running(command, output, pass_fds=(asked, answered))

    def await_recording(self, running: Running, load: Load) -> None:
        answer = self._pipes[2]
        while not select.select([answer], [], [], 0.1)[0]:
            running.check(running.started + _PATIENCE_S)
        if not os.read(answer, 16).startswith(b"ack"):
            raise UnavailableError(f"does not start: {last_line(running.said())}")

    def close(self) -> None:
        """Let go of the control descriptors: not while it records, since perf then stops to."""
        for descriptor in self._pipes:
            os.close(descriptor)
        self._pipes = ()

    def read(self, load: Load, output: Path) -> Recorded:
        samples, lost = subprocess.check_output([self._counter, output], text=True).split()
        return Recorded(int(samples), int(lost), output.stat().st_size)


class Bpftrace(Recorder):
    """The script for these events that comes with bpftrace.

    Events are made as fast as can be until the first of them are in its output, which shows once it is a few KiB: its
    time to start is overstated by about as long as a hundred events take.
    """

    name, program, package = "bpftrace", "bpftrace", "bpftrace"

    def start(self, load: Load, output: Path) -> Running:
        name = _SCRIPTS[load.family]
        script = shutil.which(name) or f"/usr/share/bpftrace/tools/{name}"
        return Running(["bpftrace", script, "-o", str(output)], output)

    def await_recording(self, running: Running, load: Load) -> None:
        output = running.output
        while not output.exists() or output.stat().st_size < 2000:
            running.check(running.started + _PATIENCE_S)
            for _ in range(20):
                load.kick()

    def read(self, load: Load, output: Path) -> Recorded:
        text = output.read_bytes()
        lost = sum(int(count) for count in re.findall(rb"Lost (\d+) events", text))
        return Recorded(max(text.count(b"\n") - 2, 0), lost, len(text))


def _is_there(tracepoint: str) -> bool:
    folders = (Path("/sys/kernel/tracing/events"), Path("/sys/kernel/debug/tracing/events"))
    return any((folder / tracepoint.replace(":", "/")).is_dir() for folder in folders)
