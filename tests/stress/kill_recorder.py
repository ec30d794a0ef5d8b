"""Kill recorders at random moments, and see whether everything up to the last second comes back: needs root.

Much is opened and started meanwhile, and each thing has a number and a time. In turn the recorder is killed while it
starts, while it records, while it is a flight recorder, and while it writes the trace; or `tracekit recover` is killed
as well, twice. Each time `recover` must then give back every number up to one second before, and say how much there
was; a second `recover` must do no harm; and `report` on what is unfinished must say what to type.
"""

import argparse
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numbered_load import PATH

from tracekit import Trace, open_trace
from tracekit.files import journal_path
from tracekit.units import SECOND_NS, format_count, format_ns

TRACEKIT = (sys.executable, "-m", "tracekit")
LOAD = (sys.executable, "-I", str(Path(__file__).with_name("numbered_load.py")))
#: What each worker of the load does.
WORKERS = ("opens", "opens", "execs")
DEADLINE_S = 60
LAST = "2s"
LAST_NS = 2 * SECOND_NS
# A killed recorder may have lost so much.
MAY_BE_LOST_NS = SECOND_NS

_NUMBERED = re.compile(re.escape(PATH).replace(r"\{\}", r"(\d+)"))


class BrokenPromiseError(Exception):
    """Something did not hold."""


@dataclass
class Round:
    """One recording, killed once or more.

    Attributes:
        folder: where the trace is to be.
        moment: gives random numbers.
        until_ns: up to when, less a second, everything must come back; None: nothing must.
        since_ns: from when on.
        said: what the recorder said.
    """

    folder: Path
    moment: random.Random
    until_ns: int | None = None
    since_ns: int = 0
    said: list[str] = field(default_factory=list)

    @property
    def output(self) -> Path:
        """The trace that is to be."""
        return self.folder / "t.parquet"

    @contextmanager
    def recorder(self, *options: str, wait: bool = True) -> Iterator[subprocess.Popen[str]]:
        """A recorder; if wanted, from when it has said that it records."""
        command = [*TRACEKIT, "record", "-o", str(self.output), "--min-free", "0", *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                if wait:
                    assert process.stderr is not None
                    self.said.append(process.stderr.readline())
                    check("Ctrl-C ends it" in self.said[-1], f"the recorder said {self.said[-1]!r}")
                yield process
            finally:
                process.kill()

    def kill(self, process: subprocess.Popen[str], recording: bool = True) -> None:
        """Kill it now; what was recorded until now is what must come back."""
        now_ns = boot_ns()
        process.kill()
        process.wait()
        if recording and self.until_ns is None:
            self.until_ns = now_ns

    def sleep(self, least_s: float, most_s: float) -> None:
        """Wait for a random time."""
        time.sleep(self.moment.uniform(least_s, most_s))

    def wait_for_temporary(self, process: subprocess.Popen[str]) -> None:
        """Wait until a trace is being written, or the process has ended."""
        deadline = time.monotonic() + DEADLINE_S
        while process.poll() is None and not list(self.folder.glob(".t.parquet.*.tmp")):
            check(time.monotonic() < deadline, "no trace was being written")
            time.sleep(0.001)


def while_it_starts(this: Round) -> None:
    """Kill a recorder that may not have begun to record."""
    with this.recorder(wait=False) as process:
        this.sleep(0, 2)
        this.kill(process, recording=False)


def while_it_records(this: Round) -> None:
    """Kill it within the first seconds."""
    with this.recorder() as process:
        this.sleep(0, 3)
        this.kill(process)


def while_it_forgets(this: Round) -> None:
    """Kill a flight recorder."""
    with this.recorder("--last", LAST) as process:
        this.sleep(0.5, 5)
        this.kill(process)
    assert this.until_ns is not None
    this.since_ns = this.until_ns - LAST_NS


def while_it_writes(this: Round) -> None:
    """Kill it while it makes the journal into a trace, or just afterwards."""
    with this.recorder() as process:
        this.sleep(1, 2.5)
        this.until_ns = boot_ns()
        process.send_signal(signal.SIGINT)
        this.wait_for_temporary(process)
        this.sleep(0, 0.5)
        this.kill(process)


def while_it_recovers(this: Round) -> None:
    """Kill it, and then what recovers it, twice."""
    while_it_records(this)
    for _ in range(2):
        with subprocess.Popen([*TRACEKIT, "recover", this.output], stderr=subprocess.PIPE, text=True) as process:
            this.wait_for_temporary(process)
            this.sleep(0, 0.3)
            this.kill(process)


KINDS: tuple[Callable[[Round], None], ...] = (
    while_it_records,
    while_it_writes,
    while_it_recovers,
    while_it_forgets,
    while_it_starts,
)


def boot_ns() -> int:
    """The clock that stamps events, now."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def check(holds: bool, otherwise: str) -> None:
    """Fail unless something holds."""
    if not holds:
        raise BrokenPromiseError(otherwise)


def tracekit(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command of tracekit to its end."""
    return subprocess.run([*TRACEKIT, *arguments], capture_output=True, text=True, timeout=DEADLINE_S, check=False)


@contextmanager
def load(folder: Path) -> Iterator[list[Path]]:
    """Something to record; the logs of its workers."""
    logs = [folder / f"log{worker}" for worker in range(len(WORKERS))]
    with ExitStack() as undo:
        for worker, what in enumerate(WORKERS):
            process = subprocess.Popen([*LOAD, what, str(logs[worker]), str(worker)])
            undo.callback(process.wait)
            undo.callback(process.kill)
        deadline = time.monotonic() + DEADLINE_S
        while not all(log.exists() and log.stat().st_size for log in logs):
            check(time.monotonic() < deadline, "the load did not begin")
            time.sleep(0.01)
        yield logs


def recovered(this: Round) -> Trace | None:
    """The trace, once what is unfinished has been recovered; None where nothing had been recorded yet."""
    unfinished = not this.output.exists()
    if unfinished and journal_path(this.output).exists():
        report = tracekit("report", this.output)
        check(report.returncode == 2, f"report ended with {report.returncode}")
        check(f"tracekit recover {this.output}" in report.stderr, f"report said {report.stderr!r}")
    first = tracekit("recover", this.output)
    lines = first.stderr.splitlines()
    if this.until_ns is None and first.returncode in (2, 3):
        check(len(lines) == 1, first.stderr)
        check("no unfinished recording" in lines[0] or "nothing can be recovered" in lines[0], first.stderr)
        check(not this.output.exists(), "a trace of nothing")
        return None
    # It may have been killed after its work was done.
    done = not unfinished and first.returncode == 2 and "no unfinished recording" in first.stderr
    check(done or first.returncode == 0, f"recover ended with {first.returncode}: {first.stderr}")
    trace = open_trace(this.output)
    if not done:
        events = sum(counters.written for counters in trace.metadata.counters.values())
        check(f"recovered {format_count(events)} events of" in lines[0], f"recover said {first.stderr!r}")
        check("could not be read" not in first.stderr, first.stderr)
    before = this.output.read_bytes()
    second = tracekit("recover", this.output)
    check(second.returncode == 2 and len(second.stderr.splitlines()) == 1, f"a second recover: {second.stderr!r}")
    check(this.output.read_bytes() == before, "a second recover has changed the trace")
    left = [path.name for path in this.folder.iterdir() if path != this.output]
    check(not left, f"left over: {', '.join(left)}")
    return trace


def numbers(trace: Trace, worker: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The numbers of a worker that are in a trace, and the times that go with them."""
    if WORKERS[worker] == "opens":
        texts = trace.table("open", columns=["path"])["path"].to_pylist()
    else:
        texts = [(argv or [""])[-1] for argv in trace.table("exec", columns=["argv"])["argv"].to_pylist()]
    found = [match.groups() for text in texts if text and (match := _NUMBERED.fullmatch(text))]
    mine = [(int(number), int(time_ns)) for who, number, time_ns in found if int(who) == worker]
    both = np.array(mine, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def times_of(log: Path) -> npt.NDArray[np.int64]:
    """When each number of a log was about to be done."""
    times = np.fromfile(log, np.int64)
    return times if times.all() else times[: int(np.argmin(times))]


def check_numbers(this: Round, trace: Trace, logs: list[Path]) -> tuple[int, int]:
    """That nothing is missing in between: how many numbers there are, and how much before the end is not there.

    What a ring had no room for must be counted as lost; where that has happened, the account says where the end is.
    """
    for family, counts in trace.metadata.counters.items():
        check(counts.seen == counts.filtered + counts.written + counts.lost, f"{family}: {counts}")
    lost = sum(counts.lost for counts in trace.metadata.counters.values())
    total, missing, gap_ns = 0, 0, 0
    for worker, log in enumerate(logs):
        times = times_of(log)
        found, stamps = numbers(trace, worker)
        order = np.argsort(found)
        found, stamps = found[order], stamps[order]
        steps = np.diff(found)
        check(bool((steps > 0).all()), f"worker {worker}: a number came twice")
        check(bool((times[found] == stamps).all()), f"worker {worker}: a time is not that of its number")
        total += found.size
        missing += int((steps - 1).sum())
        if this.until_ns is None:
            continue
        since_ns = max(this.since_ns, trace.start_ns)
        wanted = np.flatnonzero((times >= since_ns) & (times <= this.until_ns))
        if lost:
            gap_ns = max(gap_ns, this.until_ns - trace.end_ns)
        elif wanted.size:
            check(not found.size or found[0] <= wanted[0], f"worker {worker}: the beginning is missing")
            first_missing = int(found[-1]) + 1 if found.size else int(wanted[0])
            if first_missing <= wanted[-1]:
                gap_ns = max(gap_ns, this.until_ns - int(times[first_missing]))
    check(missing <= lost, f"{missing} numbers are missing in between, and {lost} events were counted as lost")
    check(gap_ns <= MAY_BE_LOST_NS, f"the last {format_ns(gap_ns)} are missing")
    return total, gap_ns


def play(kind: Callable[[Round], None], moment: random.Random) -> tuple[str, int]:
    """One round: what came back, and how much before the end did not."""
    with tempfile.TemporaryDirectory(prefix="tracekit-kill-") as temporary:
        folder = Path(temporary) / "recording"
        folder.mkdir()
        this = Round(folder, moment)
        with load(Path(temporary)) as logs:
            kind(this)
        trace = recovered(this)
        if trace is None:
            return "it had not begun to record", 0
        total, gap_ns = check_numbers(this, trace, logs)
        return f"{format_count(total)} numbers of {format_ns(trace.metadata.duration_ns)} came back", gap_ns


def main() -> int:
    """Play the rounds; 1 if anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("rounds", type=int, nargs="?", default=100, help="how many recorders to kill (100)")
    parser.add_argument("--seed", type=int, default=None, help="of the random moments; it is printed")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    say(f"{options.rounds} rounds, --seed {seed}")
    failures, worst_ns = 0, 0
    for number in range(options.rounds):
        kind = KINDS[number % len(KINDS)]
        name = kind.__name__.replace("_", " ")
        try:
            result, gap_ns = play(kind, random.Random(f"{seed} {number}"))
        except (BrokenPromiseError, subprocess.TimeoutExpired) as problem:
            failures += 1
            say(f"round {number + 1}, {name}: FAILED: {problem}")
        else:
            worst_ns = max(worst_ns, gap_ns)
            say(f"round {number + 1}, {name}: {result}; missing before the end: {format_ns(gap_ns)}")
    say(f"{failures} of {options.rounds} rounds failed; the worst gap is {format_ns(worst_ns)}")
    return 1 if failures else 0


def say(text: str) -> None:
    """Tell whoever watches."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if shutil.which("true") is None:
        sys.exit("there is no program `true` to start")
    sys.exit(main())
