"""How fast a report is, and how much memory it takes: beside a bare scan of the file, DuckDB, and pandas.

Run as anybody: .venv/bin/python benchmarks/analyze.py [--millions 1,10,36] [--rounds 3]
"""

import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
from laboratory.large import write_large
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
_MILLION = 1_000_000
_LOOK_S = 0.02
#: Each contender by its name, and its command; the first is the one that others are measured against.
_CONTENDERS: dict[str, Callable[[Path], list[str]]] = {
    "bare scan": lambda trace: [sys.executable, str(HERE / "analyze_peers.py"), "scan", str(trace)],
    "bare scan, by family": lambda trace: [sys.executable, str(HERE / "analyze_peers.py"), "families", str(trace)],
    "tracekit report": lambda trace: [sys.executable, "-m", "tracekit", "report", str(trace), "--format", "json"],
    "DuckDB": lambda trace: [sys.executable, str(HERE / "analyze_peers.py"), "duckdb", str(trace)],
    "pandas": lambda trace: [sys.executable, str(HERE / "analyze_peers.py"), "pandas", str(trace)],
}


@dataclass(frozen=True)
class Run:
    """What one run of a command took."""

    wall_s: float
    cpu_s: float
    memory_bytes: int


def run(command: list[str]) -> Run:
    """Run a command to its end, its output thrown away; it must succeed."""
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    with ThreadPoolExecutor(1) as pool:
        peak = pool.submit(_peak_bytes, process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise click.ClickException(f"{' '.join(command)} ended with {process.returncode}")
    return Run(wall_s, usage.ru_utime + usage.ru_stime, max(peak.result(), usage.ru_maxrss * 1024))


def _peak_bytes(pid: int) -> int:
    """The most that a process and its children have resident until it ends; what they share counts for each."""
    most = 0
    while now := _resident_bytes(pid):
        most = max(most, now)
        time.sleep(_LOOK_S)
    return most


def _resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(_resident_bytes(int(child)) for child in children)


def _middle(values: list[float]) -> str:
    return f"{statistics.median(values):,.2f} ({min(values):,.2f}..{max(values):,.2f})"


def _table(title: str, events: int, runs: dict[str, list[Run]]) -> Table:
    table = Table(title=title)
    for index, name in enumerate(("", "seconds", "ns an event", "CPU seconds", "x bare scan", "memory MiB")):
        table.add_column(name, justify="right" if index else "left")
    bare = runs["bare scan"]
    for name, mine in runs.items():
        wall = [one.wall_s for one in mine]
        ratios = [one.wall_s / other.wall_s for one, other in zip(mine, bare, strict=True)]
        table.add_row(
            name,
            _middle(wall),
            f"{statistics.median(wall) / events * 1e9:,.0f}",
            f"{statistics.median(one.cpu_s for one in mine):,.2f}",
            _middle(ratios),
            f"{max(one.memory_bytes for one in mine) / (1 << 20):,.0f}",
        )
    return table


@click.command()
@click.option("--millions", default="1,10,36", show_default=True, help="Events of each trace, in millions.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1), help="Runs of each, in turn.")
@click.option("--without", default="", help="Contenders to leave out, with commas between.")
def main(millions: str, rounds: int, without: str) -> None:
    """Print how long each takes; medians, and the least and the most."""
    console = Console(width=120, highlight=False)
    left_out = [name.strip() for name in without.split(",")]
    contenders = {name: command for name, command in _CONTENDERS.items() if name not in left_out}
    # What a process has resident counts for the commands that it starts, until they run: so another one writes.
    with (
        tempfile.TemporaryDirectory(prefix="tracekit-analyze-", dir="/var/tmp") as folder,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
    ):
        for size in (float(part) for part in millions.split(",")):
            trace = Path(folder) / f"{size:g}.parquet"
            events = pool.submit(write_large, trace, round(size * _MILLION)).result()
            runs: dict[str, list[Run]] = {name: [] for name in contenders}
            for _ in range(rounds):
                for name, command in contenders.items():
                    runs[name].append(run(command(trace)))
            megabytes = trace.stat().st_size / (1 << 20)
            console.print(_table(f"{events:,} events, {megabytes:,.0f} MiB, {rounds} rounds", events, runs))
            trace.unlink()


if __name__ == "__main__":
    main()
