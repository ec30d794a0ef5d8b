"""What a recording survives, and what is left where it cannot: a readable trace, or one clear line."""

import contextlib
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from needs import cannot_run, small_disk
from recording import TRACEKIT, WORKLOAD, background, check_accounts

from tracekit import Trace, open_trace
from tracekit.capture.finish import recover
from tracekit.files import journal_path
from tracekit.schema import RECORDED_FAMILIES
from tracekit.units import SECOND_NS

pytestmark = pytest.mark.kernel

DEADLINE_S = 60
KILL_RECORDER = Path(__file__).parents[1] / "stress" / "kill_recorder.py"
CPU = Path("/sys/devices/system/cpu/cpu1/online")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TRACEKIT, *arguments], capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def shell(*commands: tuple[str | Path, ...]) -> tuple[str, ...]:
    """A command that runs one after another."""
    return "sh", "-c", " && ".join(shlex.join(map(str, command)) for command in commands)


def wait_until(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


def bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def numbers(trace: Trace, pattern: str) -> list[int]:
    """The numbers of the paths of this pattern that were opened, in order."""
    start, end = pattern.split("{}")
    paths = trace.table("open", columns=["path"])["path"].to_pylist()
    return [int(path[len(start) : len(path) - len(end)]) for path in paths if path and path.startswith(start)]


def test_killed_recorders_give_back_everything() -> None:
    """The same as `make stress`, but a round of each kind only."""
    done = subprocess.run([sys.executable, KILL_RECORDER, "4"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 of 4 rounds failed" in done.stdout


def test_a_trace_that_was_written_before_its_journal_went(tmp_path: Path) -> None:
    """Whoever wrote it was killed in between: nothing is written again, and what is left goes."""
    output, copy = tmp_path / "t.parquet", tmp_path / "copy"
    with background("-o", output) as recorder:
        recorder.kill()
        recorder.wait()
    shutil.copytree(journal_path(output), copy)
    assert run("recover", output).returncode == 0
    before = output.read_bytes(), output.stat().st_ino
    shutil.move(copy, journal_path(output))
    (tmp_path / ".t.parquet.journal.123.tmp").mkdir()
    os.link(output, tmp_path / ".t.parquet.123.tmp")
    os.link(output, tmp_path / ".t-20260102T030405Z.parquet.123.tmp")

    done = run("recover", output)
    assert done.returncode == 0, done.stderr
    assert "recovered" in done.stderr
    assert (output.read_bytes(), output.stat().st_ino) == before
    assert list(tmp_path.iterdir()) == [output]


def test_flipped_bits_cost_what_they_hit(tmp_path: Path) -> None:
    """Of a real journal of several segments: what comes back was recorded, or nothing does and one line says why."""
    output = tmp_path / "t.parquet"
    pattern = "/none/flipped/{}"
    command = [*WORKLOAD, "numbered", pattern, "5003", "1000", "0.7"]
    with background("-o", output, "--last", "10s", "--", *command) as recorder:
        wait_until(lambda: (journal_path(output) / "00000001.open.arrows").exists(), "there was no second segment")
        recorder.kill()
        recorder.wait()
    chance = random.Random(3)
    names = sorted(path.name for path in journal_path(output).iterdir() if path.name != "lock")
    assert len([name for name in names if name.endswith("account")]) >= 2
    shutil.copytree(journal_path(output), journal_path(tmp_path / "whole"))
    undamaged = open_trace(recover(tmp_path / "whole", None, force=False)[0])
    whole = sorted(numbers(undamaged, pattern))
    for turn, name in enumerate(names):
        damaged = tmp_path / f"{turn}"
        shutil.copytree(journal_path(output), journal_path(damaged))
        file = journal_path(damaged) / name
        raw = bytearray(file.read_bytes())
        at = chance.randrange(8 * (len(raw) - 1))  # an account whose last line end is hit looks cut off there
        raw[at // 8] ^= 1 << at % 8
        file.write_bytes(raw)
        done = run("recover", damaged)
        if done.returncode != 0:
            assert (done.returncode, len(done.stderr.splitlines())) == (3, 1), done.stderr
            continue
        trace = open_trace(damaged)
        check_accounts(trace)
        left = sorted(numbers(trace, pattern))
        if "could not be read" in done.stderr:
            assert len(left) <= len(whole)
            assert set(left) <= set(whole)
            family = name.split(".")[1]
            if family in RECORDED_FAMILIES:
                written = {one.metadata.counters[family].written for one in (trace, undamaged)}
                assert max(written) - min(written) == trace.metadata.counters[family].lost_damaged > 0
                lost = trace.pandas("lost")
                assert lost.lost[lost.lost_family == family].sum() == trace.metadata.counters[family].lost
        else:  # what was written last, and no line of the account vouches for yet
            assert not name.startswith("00000000.")
            assert left == whole


def test_a_disk_that_is_full_when_the_trace_is_written(tmp_path: Path) -> None:
    pattern, count = "/none/written/{}", 60_013
    with small_disk(tmp_path / "small", "40m") as folder:
        output = folder / "t.parquet"
        steps: tuple[tuple[str | Path, ...], ...] = (
            (*WORKLOAD, "numbered", pattern, str(count)),
            ("sleep", "1.5"),  # until it is in the journal
            (*WORKLOAD, "fill", folder / "filler", str(100_000)),
        )
        done = run("record", "-o", output, "--min-free", "0", "--events", "open", "--", *shell(*steps))
        assert done.returncode == 1, done.stderr
        assert len(done.stderr.splitlines()) == 2
        assert "No space left on device" in done.stderr.splitlines()[-1]
        assert done.stderr.endswith(f"when that is mended, type 'tracekit recover {output}'\n")
        assert sorted(path.name for path in folder.iterdir()) == [".t.parquet.journal", "filler"]

        still = run("recover", output)
        assert still.returncode == 1
        assert len(still.stderr.splitlines()) == 1
        assert sorted(path.name for path in folder.iterdir()) == [".t.parquet.journal", "filler"]

        (folder / "filler").unlink()
        assert run("recover", output, "-o", tmp_path / "t.parquet").returncode == 0
        assert list(folder.iterdir()) == []
    trace = open_trace(tmp_path / "t.parquet")
    check_accounts(trace)
    assert numbers(trace, pattern) == list(range(count))


def test_a_disk_without_room_for_the_first_byte(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "64k") as folder:
        refused = run("record", "-d", "1", "-o", folder / "t.parquet")
        assert refused.returncode == 2
        assert "to stay free: choose another output with -o" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        assert list(folder.iterdir()) == []

        subprocess.run([*WORKLOAD, "fill", folder / "filler", "0"], check=True)
        done = run("record", "-d", "1", "-o", folder / "t.parquet", "--min-free", "0")
        assert done.returncode == 1, done.stderr
        assert "cannot be made: No space left on device; choose another output with -o" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert [path.name for path in folder.iterdir()] == ["filler"]


def test_a_folder_that_is_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "deleted"
    folder.mkdir()
    with background("-o", folder / "t.parquet") as recorder:
        subprocess.run(["rm", "-rf", folder], check=True)
        assert recorder.wait(DEADLINE_S) == 1
        assert recorder.stderr is not None
        said = recorder.stderr.read().splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"tracekit: recording ended early: the folder {folder} was moved or deleted; ")
    assert not folder.exists()


def test_a_folder_that_is_moved_keeps_what_was_recorded(tmp_path: Path) -> None:
    folder, moved = tmp_path / "here", tmp_path / "there"
    folder.mkdir()
    pattern, count = "/none/moved/{}", 5003
    command = [*WORKLOAD, "numbered", pattern, str(count), "1", "1000"]
    with background("-o", folder / "t.parquet", "--", *command) as recorder:
        wait_until(lambda: bytes_in(journal_path(folder / "t.parquet")) > 80_000, "nothing was recorded")
        folder.rename(moved)
        assert recorder.wait(DEADLINE_S) == 1
        assert recorder.stderr is not None
        assert f"the folder {folder} was moved or deleted; where it is now, " in recorder.stderr.read()
    assert run("recover", moved / "t.parquet").returncode == 0
    trace = open_trace(moved / "t.parquet")
    check_accounts(trace)
    found = numbers(trace, pattern)
    assert found == list(range(len(found)))
    assert found


def test_ctrl_c_again_and_again_leaves_a_whole_trace(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    command = [*WORKLOAD, "many_paths", "100000000"]
    with (
        subprocess.Popen(command) as load,
        background("-o", output) as recorder,
    ):
        wait_until(lambda: bytes_in(journal_path(output)) > 1_000_000, "nothing was recorded")
        deadline = time.monotonic() + DEADLINE_S
        while recorder.poll() is None:
            assert time.monotonic() < deadline
            recorder.send_signal(signal.SIGINT)
            time.sleep(0.03)
        load.kill()
        assert recorder.returncode == 0
    trace = open_trace(output)
    check_accounts(trace)
    assert trace.metadata.complete
    assert list(tmp_path.iterdir()) == [output]


def test_the_third_ctrl_c_ends_a_command_that_will_not_end(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    script = "trap '' INT TERM; while :; do read line < /dev/zero; done"
    with background("-o", output, "--", "bash", "-c", script) as recorder:
        time.sleep(0.3)
        for _ in range(3):
            assert recorder.poll() is None
            recorder.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert recorder.wait(DEADLINE_S) == 128 + signal.SIGKILL
    check_accounts(open_trace(output))


def test_an_interrupt_that_comes_from_no_keyboard_reaches_the_command(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    with subprocess.Popen(
        [*TRACEKIT, "record", "-o", output, "--", "sleep", "600"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as recorder:
        assert recorder.stderr is not None
        assert "Ctrl-C ends it" in recorder.stderr.readline()
        time.sleep(0.2)
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(DEADLINE_S) == 128 + signal.SIGINT
    check_accounts(open_trace(output))


def test_two_recorders_record_the_same(tmp_path: Path) -> None:
    pattern, count = "/none/both/{}", 10_007
    outputs = [tmp_path / "one.parquet", tmp_path / "other.parquet"]
    with background("-o", outputs[0]) as one, background("-o", outputs[1]) as other:
        subprocess.run([*WORKLOAD, "numbered", pattern, str(count)], check=True)
        for recorder in (one, other):
            recorder.send_signal(signal.SIGINT)
        for recorder in (one, other):
            assert recorder.wait(DEADLINE_S) == 0
    for output in outputs:
        trace = open_trace(output)
        check_accounts(trace)
        assert numbers(trace, pattern) == list(range(count))


def test_of_two_recorders_of_one_trace_one_records(tmp_path: Path) -> None:
    """Started at once, so that either may be first."""
    output = tmp_path / "t.parquet"
    command: list[str | Path] = [*TRACEKIT, "record", "-d", "1.5", "-o", output]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate(timeout=DEADLINE_S)[1]: process.returncode for process in both}
    assert sorted(said.values())[0] == 0
    refused = next(text for text, code in said.items() if code != 0)
    assert len(refused.splitlines()) == 1
    assert any(reason in refused for reason in ("still runs", "an unfinished recording", "cannot be made: File exists"))
    check_accounts(open_trace(output))
    assert list(tmp_path.iterdir()) == [output]


@contextlib.contextmanager
def online() -> Iterator[bool]:
    """Whether a CPU can be taken offline here; it is online afterwards."""
    try:
        CPU.write_text("0")
    except OSError:
        yield False
        return
    CPU.write_text("1")
    try:
        yield True
    finally:
        CPU.write_text("1")


def test_a_cpu_that_goes_and_comes(tmp_path: Path) -> None:
    """What it has recorded before and after is there. Where none can be taken offline, the work moves away and back."""
    output = tmp_path / "t.parquet"
    cpus = sorted(os.sched_getaffinity(0))
    away, home = cpus[0], 1 if 1 in cpus else cpus[-1]
    patterns = [f"/none/{when}/{{}}" for when in ("before", "without", "after")]
    with online() as possible, background("-o", output) as recorder:
        for pattern, cpu in zip(patterns, (home, away, home), strict=True):
            if possible:
                CPU.write_text("1" if cpu == home else "0")
            command = ["taskset", "--cpu-list", str(cpu), *WORKLOAD, "numbered", pattern, "10007"]
            subprocess.run(command, check=True)
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(DEADLINE_S) == 0
    trace = open_trace(output)
    check_accounts(trace)
    for pattern in patterns:
        assert numbers(trace, pattern) == list(range(10007))
    opens = trace.pandas("open", columns=["cpu", "path"])
    assert set(opens.cpu[opens.path.str.startswith("/none/before/", na=False)]) == {home}
    assert set(opens.cpu[opens.path.str.startswith("/none/without/", na=False)]) == {away}


@contextlib.contextmanager
def clock_set_back(by_s: int) -> Iterator[None]:
    """The wall clock is so much behind for a moment, and then as it would have been."""

    def offset_ns() -> int:
        return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def set_offset_ns(offset_ns: int) -> None:
        time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_BOOTTIME) + offset_ns)

    right_ns = offset_ns()
    try:
        set_offset_ns(right_ns)
    except PermissionError:
        cannot_run("the clock cannot be set here")
    try:
        set_offset_ns(right_ns - by_s * SECOND_NS)
        yield
    finally:
        set_offset_ns(right_ns)


def test_a_clock_that_is_set_back_changes_no_duration_and_no_order(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    pattern, count = "/none/clock/{}", 10_007
    began_ns = time.time_ns()
    with background("-o", output) as recorder:
        subprocess.run([*WORKLOAD, "numbered", pattern, str(count)], check=True)
        time.sleep(1)
        with clock_set_back(7):
            recorder.send_signal(signal.SIGINT)
            # The end is written down before the trace is.
            wait_until(lambda: recorder.poll() is not None or any(tmp_path.glob(".*.tmp")), "it did not end")
        assert recorder.wait(DEADLINE_S) == 0
    trace = open_trace(output)
    check_accounts(trace)
    first, last = trace.metadata.clock.anchors
    assert first.realtime_ns > last.realtime_ns
    assert first.boot_ns + SECOND_NS < last.boot_ns
    assert trace.metadata.duration_ns == last.boot_ns - first.boot_ns
    assert numbers(trace, pattern) == list(range(count))
    times = trace.table("open", columns=["ts_ns"])["ts_ns"].to_pylist()
    assert times == sorted(times)
    assert abs(int(trace.metadata.clock.realtime_ns(trace.start_ns)) - began_ns) < 60 * SECOND_NS
    shown = run("report", output)
    assert shown.returncode == 0, shown.stderr
