"""Where workloads run and are recorded."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from loads import UnavailableError, last_line

from tracekit import open_trace

WORKLOAD = Path(__file__).with_name("workload.py")
#: Nothing that somebody keeps in the environment shows in a trace.
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}
Command = list[str]


@dataclass(frozen=True)
class Recorded:
    """A trace, and what is true of it.

    Attributes:
        truth: what a report should find and, by leaving it out, what it should not; times are CLOCK_BOOTTIME.
    """

    trace: Path
    truth: dict[str, Any]

    @property
    def has_every_io(self) -> bool:
        """Whether each I/O that the disk served is in the trace, from its start to its end.

        Some hardened kernels run no BPF program while certain protected tasks are on the CPU.
        """
        counts = open_trace(self.trace).counts
        seen = {counts.get("block_start", 0), counts.get("block_complete", 0)}
        return "ios" not in self.truth or seen == {self.truth["ios"]}


@dataclass
class Laboratory:
    """A folder that one scenario runs in.

    Attributes:
        folder: empty; everything of the scenario is in it.
        seed: of everything in it that is left to chance.
        python: runs the workloads.
        seconds: how long they run, where that is free.
    """

    folder: Path
    seed: int
    python: Path = field(default_factory=lambda: Path(sys.executable).resolve())
    seconds: float = 15.0

    @property
    def chance(self) -> np.random.Generator:
        """Always the same numbers for the same seed."""
        return np.random.default_rng(self.seed)

    def program(self, name: str, part: str, *arguments: object) -> Command:
        """A part of the workload as a program of that name: in a trace, `python3` would say nothing."""
        link = self.folder / name
        link.symlink_to(self.python)
        return [str(link), "-I", "-S", str(WORKLOAD), part, str(self._log(name)), *map(str, arguments)]

    def together(self, *commands: Command) -> Command:
        """All of these at the same time."""
        return self.program("everything", "together", *map(json.dumps, commands))

    def notes(self, name: str) -> list[dict[str, Any]]:
        """What a program noted while it ran."""
        return [json.loads(line) for line in self._log(name).read_text().splitlines()]

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def record(self, command: Sequence[str], options: Sequence[str] = ()) -> Path:
        """Record what a command does and all that it starts.

        Raises:
            UnavailableError: it failed, or cannot be recorded here.
        """
        trace = self.folder / "trace.parquet"
        recorder = [sys.executable, "-m", "tracekit", "record", "-o", str(trace), *options, "--", *command]
        done = subprocess.run(recorder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UnavailableError(f"recording {Path(command[0]).name} failed: {last_line(done.stderr)}")
        return trace


Scenario = Callable[[Laboratory], Recorded]
