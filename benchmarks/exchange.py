"""How fast traces are exported and imported, and how much memory that takes.

Run as anybody: .venv/bin/python benchmarks/exchange.py [--millions 1,4]
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.compute as pc
from laboratory.large import write_large
from rich.console import Console
from rich.table import Table

from tracekit import Trace, open_trace

_MILLION = 1_000_000
_LOOK_S = 0.02
_TRACEKIT = [sys.executable, "-m", "tracekit"]
EXPORTS = {"csv": ".csv", "jsonl": ".jsonl", "arrow": ".arrow", "perfetto": ".pftrace"}


@dataclass(frozen=True)
class Run:
    """What one run of a command took."""

    wall_s: float
    memory_bytes: int


def run(command: list[str]) -> Run:
    """Run a command to its end, what it says thrown away; it must succeed."""
    begin, peak = time.monotonic(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        peak = max([peak, *(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))])
        time.sleep(_LOOK_S)
    _, said = process.communicate()  # a line or two, which no pipe is too small for
    if process.returncode:
        raise click.ClickException(f"{' '.join(command)} ended with {process.returncode}: {said.strip()}")
    return Run(time.monotonic() - begin, peak)


def perf_lines(trace: Trace) -> Iterator[bytes]:
    """Opens and block I/O as `perf script --ns -F comm,pid,tid,cpu,time,event,trace` prints them."""
    for rows in trace.batches("open", columns=("comm", "pid", "tid", "cpu", "ts_ns", "ret", "duration_ns", "flags")):
        enter = "dfd: 0xffffff9c, filename: 0x7ffe00000000, flags: 0x00080000, mode: 0x00000000"
        yield _lines(rows, "ts_ns", "syscalls:sys_enter_openat", enter)
        yield _lines(rows, "ts_ns", "syscalls:sys_exit_openat", "0x3")
    for event, payload in (
        ("block_issue", ("block:block_rq_issue", " R 4096 () ", " + 8 none,0,0 [fio]")),
        ("block_complete", ("block:block_rq_complete", " R () ", " + 8 none,0,0 [0]")),
    ):
        for rows in trace.batches(event, columns=("comm", "pid", "tid", "cpu", "ts_ns", "sector")):
            sector = pc.fill_null(rows.column("sector"), 0).cast(pa.string())
            rest = pc.binary_join_element_wise(f"8,0{payload[1]}", sector, payload[2], "")
            yield _lines(rows, "ts_ns", payload[0], rest)


def _lines(rows: pa.RecordBatch, time_column: str, event: str, rest: pa.Array | str) -> bytes:
    ts_ns = rows.column(time_column)
    seconds, below = pc.divide(ts_ns, 10**9), None
    below = pc.utf8_lpad(pc.subtract(ts_ns, pc.multiply(seconds, 10**9)).cast(pa.string()), 9, "0")
    plain = {name: pc.fill_null(rows.column(name), 1).cast(pa.string()) for name in ("pid", "tid", "cpu")}
    comm = pc.utf8_lpad(pc.coalesce(rows.column("comm").cast(pa.string()), "x"), 16)
    parts = (
        comm,
        " ",
        plain["pid"],
        "/",
        plain["tid"],
        " [",
        plain["cpu"],
        "] ",
        seconds.cast(pa.string()),
        ".",
        below,
    )
    made = pc.binary_join_element_wise(*parts, f": {event}: ", rest, "\n", "")
    return bytes(made.buffers()[2])


def tool_lines(trace: Trace) -> Iterator[bytes]:
    """Opens as bcc's `opensnoop -T` prints them."""
    yield b"TIME(s)       PID    COMM               FD ERR PATH\n"
    for rows in trace.batches("open", columns=("comm", "pid", "ts_ns", "path")):
        ts_ns = rows.column("ts_ns")
        seconds = pc.divide(ts_ns, 10**9)
        below = pc.utf8_lpad(pc.subtract(ts_ns, pc.multiply(seconds, 10**9)).cast(pa.string()), 9, "0")
        pid = pc.utf8_rpad(pc.fill_null(rows.column("pid"), 1).cast(pa.string()), 6)
        comm = pc.utf8_rpad(pc.coalesce(rows.column("comm").cast(pa.string()), "x"), 16)
        path = pc.coalesce(rows.column("path").cast(pa.string()), "")
        parts = (seconds.cast(pa.string()), ".", below, " ", pid, " ", comm, "    3   0 ", path, "\n", "")
        yield bytes(pc.binary_join_element_wise(*parts).buffers()[2])


def measure(trace: Path, folder: Path) -> Iterator[tuple[str, int, float, int, int]]:
    """Of each way its name, the rows, the seconds, the most memory and the size of the other tool's file."""
    rows = open_trace(trace).rows
    for name, ending in EXPORTS.items():
        made = folder / f"exported{ending}"
        took = run([*_TRACEKIT, "export", str(trace), "-o", str(made), "--force"])
        yield f"export {name}", rows, took.wall_s, took.memory_bytes, made.stat().st_size
        if name != "perfetto":
            took = run([*_TRACEKIT, "import", str(made), "-o", str(folder / "back.parquet"), "--force"])
            yield f"import {name}", rows, took.wall_s, took.memory_bytes, made.stat().st_size
        made.unlink()
    for name, lines in (("perf", perf_lines), ("opensnoop", tool_lines)):
        made = folder / f"{name}.txt"
        with made.open("wb") as file:
            file.writelines(lines(open_trace(trace)))
        count = int(subprocess.run(["wc", "-l", made], capture_output=True, text=True, check=True).stdout.split()[0])
        took = run([*_TRACEKIT, "import", str(made), "-o", str(folder / "back.parquet"), "--force"])
        yield f"import {name} (lines)", count, took.wall_s, took.memory_bytes, made.stat().st_size
        made.unlink()


@click.command()
@click.option("--millions", default="1,4", show_default=True, help="Sizes of the traces, in millions of events.")
def main(millions: str) -> None:
    """Export and import traces of several sizes."""
    table = Table("", "million", "seconds", "million a minute", "memory", "size", box=None)
    begin = time.monotonic()
    for size in (float(part) for part in millions.split(",")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            trace = folder / "trace.parquet"
            write_large(trace, int(size * _MILLION))
            for what, rows, seconds, memory, bytes_ in measure(trace, folder):
                speed = rows / _MILLION / seconds * 60
                cells = (
                    f"{rows / _MILLION:.1f}",
                    f"{seconds:.1f}",
                    f"{speed:.0f}",
                    f"{memory >> 20} MiB",
                    f"{bytes_ >> 20} MiB",
                )
                table.add_row(what, *cells)
    Console().print(table)
    click.echo(f"took {time.monotonic() - begin:.0f} s", err=True)


if __name__ == "__main__":
    main()
