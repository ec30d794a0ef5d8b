"""The programs that come with bpftrace, run on a known workload, and what they print imported."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from needs import cannot_run
from recording import TRACEKIT, WORKLOAD

from tracekit import Recording, open_trace

PROGRAMS = [
    Path(folder) for folder in ("/usr/sbin", "/usr/share/bpftrace/tools") if Path(folder, "opensnoop.bt").exists()
]
#: What biosnoop.bt prints comes from kprobes in many versions; for kernels without them here it comes from tracepoints.
BIOSNOOP = """
BEGIN { printf("%-12s %-7s %-16s %-6s %7s\\n", "TIME(ms)", "DISK", "COMM", "PID", "LAT(ms)"); }
tracepoint:block:block_io_start {
    @start[args->dev, args->sector] = nsecs;
    @pid[args->dev, args->sector] = pid;
    @comm[args->dev, args->sector] = comm;
}
tracepoint:block:block_io_done /@start[args->dev, args->sector] != 0/ {
    printf("%-12u %d:%-5d %-16s %-6d %7d\\n", elapsed / 1000000, args->dev >> 20, args->dev & 0xfffff,
        @comm[args->dev, args->sector], @pid[args->dev, args->sector],
        (nsecs - @start[args->dev, args->sector]) / 1000000);
    delete(@start[args->dev, args->sector]);
}
"""
OPENS, EXECS, READS = 101, 43, 47

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def _bpftrace() -> None:
    if shutil.which("bpftrace") is None or not PROGRAMS:
        cannot_run("there is no bpftrace with its programs")


@contextmanager
def running(program: str, printed: Path) -> Iterator[None]:
    """A program of bpftrace's, from when it sees events on."""
    path = PROGRAMS[0] / f"{program}.bt"
    if "kprobe:" in path.read_text() and not Path("/sys/kernel/tracing/kprobe_events").exists():
        path = printed.with_name(path.name)
        path.write_text(BIOSNOOP)
    with printed.open("wb") as file:
        # Its output is a file, and is flushed when it ends: a file that is opened over and over shows when it sees.
        command = ["bpftrace", "-B", "line", path]
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            for _ in range(600):
                said = printed.read_text(errors="replace")
                if process.poll() is not None or re.search(r"\bPID\b.*\n.+\n", said):
                    break
                subprocess.run(["cat", "/dev/null"], check=True)
                os.sync()
                time.sleep(0.1)
            assert process.poll() is None, said
            yield
        finally:
            process.terminate()
            process.wait()


def imported(printed: Path) -> Recording:
    output = printed.with_suffix(".parquet")
    done = subprocess.run([*TRACEKIT, "import", printed, "-o", output], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return open_trace(output)


def test_opensnoop(tmp_path: Path) -> None:
    printed, opened = tmp_path / "opens.txt", tmp_path / "opened"
    opened.touch()
    with running("opensnoop", printed):
        subprocess.run([*WORKLOAD, "many_opens", opened, str(OPENS)], check=True)
        time.sleep(1)
    rows = imported(printed).pandas("open", columns=["path", "ret", "pid"])
    # It prints the first 63 bytes of a path.
    ours = rows[rows.path == str(opened)[:63]]
    assert len(ours) == OPENS
    assert ours.pid.nunique() == 1
    assert (ours.ret >= 0).all()


def test_execsnoop(tmp_path: Path) -> None:
    with running("execsnoop", tmp_path / "execs.txt"):
        for number in range(EXECS):
            subprocess.run(["/bin/true", str(number)], check=True)
        time.sleep(1)
    argv = imported(tmp_path / "execs.txt").table("exec", columns=["argv"])["argv"].to_pylist()
    assert [one for one in argv if one[0] == "/bin/true"] == [["/bin/true", str(number)] for number in range(EXECS)]


def test_biosnoop(tmp_path: Path, loop_disk: tuple[Path, Path]) -> None:
    device, _ = loop_disk
    printed = tmp_path / "io.txt"
    with running("biosnoop", printed):
        subprocess.run([*WORKLOAD, "direct", str(device), str(READS)], check=True)
        time.sleep(1)
    io = imported(printed).block()
    number = device.stat().st_rdev
    ours = io[io.disk.isin([device.name, f"{number >> 8 & 0xFFF}:{number & 0xFF}"])]
    assert len(ours) >= 2 * READS
    assert (ours.total_ns >= 0).all()
