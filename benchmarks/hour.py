"""An hour's recording of a machine at work: `tracekit record -d 3600`, as a user types it, under a mixed load.

Run as root: .venv/bin/python benchmarks/hour.py [--seconds 3600]
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import click
from loads import UnavailableError, compiled, loop_device
from machine import cpu_s, memory_bytes
from rich.console import Console
from rich.table import Table

from tracekit import open_trace
from tracekit.files import journal_path
from tracekit.metadata import Metadata

_LOOK_EVERY_S = 5.0
_MIB = 1 << 20
# Each second of the load: opens of a file and of one that is missing, programs started, reads of a disk.
_OPENS, _MISSING, _EXECS, _READS = 4000, 2000, 20, 1000


@dataclass
class Course:
    """How the recording went.

    Attributes:
        memory: bytes resident beside the rings, at regular times while it recorded.
        journal: bytes of the journal at the same times.
        writing_memory: the most while it wrote the trace.
        finish_s: from the end of the time asked for to the end of the command.
        cpu_s: of the whole command.
    """

    memory: list[int] = field(default_factory=list)
    journal: list[int] = field(default_factory=list)
    writing_memory: int = 0
    finish_s: float = 0.0
    cpu_s: float = 0.0


def _start_load(stack: ExitStack, folder: Path, seconds: float) -> None:
    """Programs that work at a steady rate until they are ended."""
    program = str(compiled("workloads", folder))
    device = stack.enter_context(loop_device(folder))
    present = folder / "present"
    present.touch()
    span = str(seconds + 60)
    commands = [
        [program, "opens", str(present), span, str(_OPENS)],
        [program, "opens", str(folder / "missing"), span, str(_MISSING)],
        [program, "execs", "/bin/true", span, str(_EXECS)],
        ["fio", "--name=reads", f"--filename={device}", "--rw=randread", "--bs=4k", "--direct=1", "--iodepth=4"],
    ]
    commands[-1] += ["--ioengine=libaio", f"--rate_iops={_READS}", "--time_based", f"--runtime={span}"]
    for command in commands:
        stack.callback(_end, subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True))


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _record(output: Path, seconds: int) -> Course:
    """Record for so long, and watch."""
    course = Course()
    command = [sys.executable, "-m", "tracekit", "record", "-d", str(seconds), "-o", str(output)]
    with subprocess.Popen(command) as recorder:
        while not journal_path(output).exists() and recorder.poll() is None:
            time.sleep(0.01)
        end = time.monotonic() + seconds
        try:
            while (left := end - time.monotonic()) > 0 and recorder.poll() is None:
                time.sleep(min(left, _LOOK_EVERY_S))
                course.memory.append(memory_bytes(recorder.pid))
                course.journal.append(sum(path.stat().st_size for path in journal_path(output).glob("*")))
            while recorder.returncode is None and not _has_ended(recorder.pid):
                course.writing_memory = max(course.writing_memory, memory_bytes(recorder.pid))
                time.sleep(0.1)
            course.finish_s = time.monotonic() - end
            course.cpu_s = cpu_s(recorder.pid)
        except BaseException:
            recorder.send_signal(signal.SIGINT)
            raise
    if recorder.returncode:
        raise click.ClickException(f"the recorder failed with exit code {recorder.returncode}")
    return course


def _has_ended(pid: int) -> bool:
    """Whether it has, while its account can still be read."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _show(course: Course, metadata: Metadata, size: int, console: Console) -> None:
    events = sum(counters.written for counters in metadata.counters.values())
    seconds = metadata.duration_ns / 1e9
    table = Table(title=f"A recording of {seconds:,.0f} s under a mixed load", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    rows = [("events", f"{events:,}"), ("events a second", f"{events / seconds:,.0f}")]
    rows += [(f"{family} events", f"{counters.written:,}") for family, counters in metadata.counters.items()]
    rows += [("lost", f"{sum(counters.lost for counters in metadata.counters.values()):,}")]
    quarter = max(len(course.memory) // 4, 1)
    for number, name in enumerate(("first", "second", "third", "last")):
        part = course.memory[number * quarter : (number + 1) * quarter] or course.memory[-1:]
        middle, most = statistics.median(part) / _MIB, max(part) / _MIB
        rows.append((f"memory beside the rings, {name} quarter: median (most)", f"{middle:.0f} ({most:.0f}) MiB"))
    rows += [
        ("memory while the trace is written, most", f"{course.writing_memory / _MIB:.0f} MiB"),
        ("journal, most", f"{max(course.journal) / _MIB:,.0f} MiB"),
        ("trace", f"{size / _MIB:,.0f} MiB"),
        ("bytes an event", f"{size / events:.1f}"),
        ("from the end of the time to the end of the command", f"{course.finish_s:.1f} s"),
        ("CPU of the recorder, everything included", f"{100 * course.cpu_s / seconds:.2f} % of one"),
        ("CPU an event", f"{course.cpu_s / events * 1e9:,.0f} ns"),
    ]
    for row in rows:
        table.add_row(*row)
    console.print(table)


@click.command()
@click.option("--seconds", default=3600, show_default=True, type=click.IntRange(min=10), help="How long to record.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where to work. Default: /tmp.")
def main(seconds: int, folder: Path | None) -> None:
    """Record a mixed load of about 10,000 events a second, and watch the recorder."""
    if os.geteuid() != 0:
        raise click.ClickException("recording takes root: run this with sudo")
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tracekit-bench-", dir=folder)))
        output = place / "hour.parquet"
        try:
            _start_load(stack, place, seconds)
        except UnavailableError as error:
            raise click.ClickException(str(error)) from None
        course = _record(output, seconds)
        _show(course, open_trace(output).metadata, output.stat().st_size, Console(width=100, highlight=False))


if __name__ == "__main__":
    main()
