"""Where a recording ends or forgets by itself, what it says then, and what becomes of events there is no room for."""

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from statistics import median

import pytest
from needs import small_disk
from recording import TRACEKIT, WORKLOAD, background, check_accounts

from tracekit import Trace, open_trace
from tracekit.files import journal_path
from tracekit.units import SECOND_NS

pytestmark = pytest.mark.kernel

DEADLINE_S = 60
WINDOW_NS = SECOND_NS // 10
STORM = {"open": (30_011, 30_011), "process": (2003, 2 * 2003), "block": (5003, 3 * 5003)}
PATTERN = "/none/limits/{}"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TRACEKIT, *arguments], capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def numbers(trace: Trace) -> list[int]:
    """The numbers of the workload's paths, in order."""
    start = PATTERN.removesuffix("{}")
    paths = trace.table("open", columns=["path"])["path"].to_pylist()
    return [int(path.removeprefix(start)) for path in paths if path and path.startswith(start)]


@pytest.mark.parametrize("family", STORM)
def test_a_ring_that_is_too_small(tmp_path: Path, family: str, loop_disk: tuple[Path, Path]) -> None:
    """Each event of a storm is written or lost, and none is both; rows say when."""
    output, (count, events) = tmp_path / "t.parquet", STORM[family]
    device = [loop_disk[0]] if family == "block" else []
    options = ("--ring-size", "4K", "--events", family, "--comm", "tk-storm")
    with background("-o", output, *options) as recorder:
        # Stopped, it cannot keep up whatever the machine: what comes meanwhile fills the ring.
        recorder.send_signal(signal.SIGSTOP)
        subprocess.run([*WORKLOAD, "storm", family, str(count), *device], check=True)
        recorder.send_signal(signal.SIGCONT)
        subprocess.run([*WORKLOAD, "storm", family, str(count), *device], check=True)
        time.sleep(1)
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(DEADLINE_S) == 0
        assert recorder.stderr is not None
        said = recorder.stderr.read()
    trace = open_trace(output)
    check_accounts(trace)
    counters = trace.metadata.counters[family]
    assert counters.lost > 0
    listed = trace.counts.get("process", 0)
    assert counters.written - listed + counters.lost == 2 * events
    rows = trace.pandas("lost")
    assert set(rows.lost_family) == {family}
    assert rows.lost.sum() == counters.lost
    assert (rows.lost > 0).all()
    windows = (rows.ts_ns - rows.start_ns).tolist()
    assert all(window > 0 for window in windows)
    assert (rows.start_ns.to_numpy()[1:] >= rows.ts_ns.to_numpy()[:-1]).all()
    assert rows.start_ns.min() >= trace.start_ns

    warned = re.search(r"WARNING: [\d,]+ (\w+) events were lost so far: the ring was full.*--ring-size ([^,)]+)", said)
    assert warned is not None, said
    assert warned[1] == family
    at_end = rf"WARNING: {counters.lost:,} {family} events \([\d.]+ %\) were lost: the ring was full; see --ring-size"
    assert re.search(at_end, said), said
    assert run("record", "-d", "0.2", "-o", tmp_path / "o", "--ring-size", warned[2]).returncode == 0


def test_windows_of_losses_are_fine(tmp_path: Path) -> None:
    """A storm that goes on: the recorder says within which tenth of a second it was blind, or finer."""
    output = tmp_path / "t.parquet"
    command = [*WORKLOAD, "storm", "open", "400009"]
    done = run("record", "-o", output, "--ring-size", "4K", "--events", "open", "--", *command)
    assert done.returncode == 0, done.stderr
    trace = open_trace(output)
    check_accounts(trace)
    rows = trace.pandas("lost")
    assert len(rows) > 3
    assert rows.lost.sum() == trace.metadata.counters["open"].lost
    assert median((rows.ts_ns - rows.start_ns).tolist()) <= WINDOW_NS


def test_so_many_events(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    command = [*WORKLOAD, "numbered", PATTERN, "50021"]
    done = run("record", "-o", output, "--max-events", "10007", "--events", "open,block", "--", *command)
    assert done.returncode == 0, done.stderr
    assert "ending, since it has 10,007 events (--max-events)." in done.stderr
    trace = open_trace(output)
    check_accounts(trace)
    assert trace.metadata.complete
    assert sum(counters.written for counters in trace.metadata.counters.values()) == 10_007
    found = numbers(trace)
    assert found == list(range(len(found)))


def test_so_many_events_of_every_kind(tmp_path: Path) -> None:
    """The list of the processes that ran already is not counted."""
    output = tmp_path / "t.parquet"
    with subprocess.Popen([*WORKLOAD, "execs", "/bin/true", "1000000"]) as load:
        time.sleep(0.3)
        done = run("record", "-o", output, "--max-events", "5003")
        load.kill()
    assert done.returncode == 0, done.stderr
    trace = open_trace(output)
    check_accounts(trace)
    listed = trace.table("process").num_rows
    assert sum(counters.written for counters in trace.metadata.counters.values()) - listed == 5003


def test_so_much_disk(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    with background("-o", output, "--max-size", "8M", "--", *WORKLOAD, "many_paths", "100000000") as recorder:
        assert recorder.stderr is not None
        said = recorder.stderr.readline()
        assert re.search(r"ending, since it takes [\d.]+ MiB of disk \(--max-size 8.0 MiB\)\.", said)
        while "still runs" not in said:
            said = recorder.stderr.readline()
        trace = open_trace(output)
        recorder.send_signal(signal.SIGTERM)
        assert recorder.wait(DEADLINE_S) == 128 + signal.SIGTERM
    check_accounts(trace)
    assert trace.metadata.complete
    assert output.stat().st_size < 8 << 20


def test_so_much_of_the_disk_stays_free(tmp_path: Path) -> None:
    least = 20 << 20
    with small_disk(tmp_path / "small", "40m") as folder:
        output = folder / "t.parquet"
        command = [*WORKLOAD, "many_paths", "100000000"]
        with subprocess.Popen(command) as load:
            done = run("record", "-o", output, "--min-free", "20M")
            load.kill()
        assert done.returncode == 0, done.stderr
        assert "ending, since the disk must keep 20.0 MiB free (--min-free)." in done.stderr
        disk = os.statvfs(folder)
        assert disk.f_bavail * disk.f_frsize >= least
        kept = tmp_path / "t.parquet"
        kept.write_bytes(output.read_bytes())
    trace = open_trace(kept)
    check_accounts(trace)
    assert trace.metadata.complete


def resident_bytes(pid: int) -> int:
    """Memory of a process that no file stands behind; rings are mapped, so not counted."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def test_a_flight_recorder(tmp_path: Path) -> None:
    """It keeps the last seconds in bounded disk, memory and files, and writes them on the way and at the end."""
    output, last_ns = tmp_path / "t.parquet", 2 * SECOND_NS
    folder = journal_path(output)
    with (
        subprocess.Popen([*WORKLOAD, "numbered", PATTERN, "101", "1000000", "0.005"]) as load,
        background("-o", output, "--last", "2s", after="keeps the last 2.00 s") as recorder,
    ):
        at_work: list[tuple[int, int, int]] = []
        seen: set[str] = set()
        deadline = time.monotonic() + DEADLINE_S
        while len(seen) < 14:  # twice as many segments as it holds
            assert time.monotonic() < deadline
            names = [path.name for path in folder.iterdir()]
            seen |= {name for name in names if name.endswith(".account")}
            sizes = [path.stat().st_size for path in folder.iterdir() if path.exists()]
            files = len(list(Path(f"/proc/{recorder.pid}/fd").iterdir()))
            at_work.append((sum(sizes), files, resident_bytes(recorder.pid)))
            if len(seen) == 8 and recorder.stderr is not None and not list(tmp_path.glob("t-*.parquet")):
                recorder.send_signal(signal.SIGUSR1)
                while "wrote" not in (said := recorder.stderr.readline()):
                    assert said
            assert len([name for name in names if name.endswith(".account")]) <= 12
            time.sleep(0.1)
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(DEADLINE_S) == 0
        load.kill()
    (snapshot,) = tmp_path.glob("t-*.parquet")
    for path in (snapshot, output):
        trace = open_trace(path)
        check_accounts(trace)
        assert trace.metadata.complete
        assert last_ns <= trace.metadata.duration_ns <= last_ns + 2 * SECOND_NS
        found = numbers(trace)
        assert found == list(range(found[0], found[0] + len(found)))
        assert found[0] > 0
        assert trace.counts["process"] > 10
        assert path.stat().st_mode & 0o777 == 0o600
    assert open_trace(snapshot).end_ns < open_trace(output).end_ns
    half = len(at_work) // 2
    for early, late in zip(zip(*at_work[:half], strict=True), zip(*at_work[half:], strict=True), strict=True):
        assert max(late) <= 2 * max(early)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([snapshot.name, output.name])


def test_a_flight_recorder_with_little_disk(tmp_path: Path) -> None:
    """It forgets more, rather than ending."""
    output, most = tmp_path / "t.parquet", 4 << 20
    sizes = []
    with (
        subprocess.Popen([*WORKLOAD, "many_paths", "100000000"]) as load,
        background("-o", output, "--last", "1h", "--max-size", "4M", after="keeps the last") as recorder,
    ):
        deadline = time.monotonic() + DEADLINE_S
        while not (journal_path(output) / "00000012.account").exists():
            assert time.monotonic() < deadline
            with contextlib.suppress(FileNotFoundError):
                sizes.append(sum(path.stat().st_size for path in journal_path(output).iterdir()))
            time.sleep(0.05)
        assert recorder.poll() is None
        load.kill()
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(DEADLINE_S) == 0
    trace = open_trace(output)
    check_accounts(trace)
    # A flush of a storm is as large as it is: what is forgotten makes room for the next.
    assert max(sizes) < 4 * most
