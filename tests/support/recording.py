"""Recordings of a command, and what its process tree did."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tracekit import Trace

TRACEKIT = (sys.executable, "-m", "tracekit")
WORKLOAD = (sys.executable, "-I", str(Path(__file__).with_name("workload.py")))


@dataclass(frozen=True)
class Recording:
    """A trace of a command.

    Attributes:
        trace: what was recorded of the whole machine meanwhile.
        exit_code: what `tracekit record` returned.
        said: what it wrote to stderr.
    """

    trace: Trace
    exit_code: int
    said: str

    def tree(self, *events: str) -> pd.DataFrame:
        """Events of the command's processes and of all that they started, in time order."""
        forks = self.trace.pandas("fork", columns=["pid", "ppid"])
        pids = set(forks.pid[forks.ppid == self.recorder])
        while more := set(forks.pid[forks.ppid.isin(pids)]) - pids:
            pids |= more
        rows = self.trace.pandas(*events)
        return rows[rows.pid.isin(pids)].reset_index(drop=True)

    @property
    def recorder(self) -> int:
        """Process id of the recorder: it ran already, with the output among its arguments."""
        running = self.trace.pandas("process", columns=["pid", "argv"])
        output = str(self.trace.path)
        found = [
            pid for pid, argv in zip(running.pid, running.argv, strict=True) if argv is not None and output in argv
        ]
        assert len(found) == 1, found
        return int(found[0])


Recorder = Callable[..., Recording]


@contextmanager
def background(*arguments: str | Path, after: str = "Ctrl-C ends it") -> Iterator[subprocess.Popen[str]]:
    """`tracekit record` in the background, from when it has said that it records; killed at the end."""
    process = subprocess.Popen([*TRACEKIT, "record", *arguments], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert after in first, first
        yield process
    finally:
        process.kill()
        process.wait()


def check_accounts(trace: Trace) -> None:
    """Every event that was seen is accounted for, in the counters and in the rows."""
    rows = trace.table(columns=["event"]).num_rows - trace.table("lost").num_rows
    assert sum(counters.written for counters in trace.metadata.counters.values()) == rows
    for family, counters in trace.metadata.counters.items():
        assert counters.seen == counters.filtered + counters.written + counters.lost, (family, counters)
