"""Processes, recorded from the kernel: exact counts and exact fields."""

import shutil
import signal
from pathlib import Path

import pytest
from recording import WORKLOAD, Recorder

pytestmark = pytest.mark.kernel

ENOENT = 2


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program with a name of its own."""
    return Path(shutil.copy("/bin/true", tmp_path / "tk-own-name"))


def test_execs_and_their_arguments(record: Recorder, program: Path) -> None:
    recording = record(*WORKLOAD, "execs", program, "23")

    execs = recording.tree("exec")
    ours = execs[execs.comm == "tk-own-name"]
    assert len(ours) == 23
    assert len(execs) == 24  # and the interpreter that started them
    assert set(ours.path) == {str(program)}
    hard = ["two words", "two\nlines", "\\xff\\xfe", "", "x" * 5000]
    assert [list(argv) for argv in ours.argv] == [[str(program), str(number), *hard] for number in range(23)]
    sizes = [len(str(program)) + 1 + len(str(number)) + 1 + 10 + 10 + 3 + 1 + 5001 for number in range(23)]
    assert list(ours.argv_bytes) == sizes
    parent = execs[execs.comm != "tk-own-name"].pid.iloc[0]
    assert set(ours.ppid) == {parent}
    assert set(ours.uid) == {0}
    assert list(ours.pid) == list(ours.tid)
    assert ours.ret.isna().all()
    assert ours.cgroup.notna().all()

    forks = recording.tree("fork")
    assert set(ours.pid) == set(forks.pid[forks.ppid == parent])
    exits = recording.tree("exit").set_index("pid")
    assert set(exits.exit_code) == {0}
    assert set(exits.index) == set(execs.pid)
    for fork in forks.itertuples():
        assert 0 <= fork.ts_ns - exits.start_ns[fork.pid] < 1_000_000_000


def test_arguments_beyond_the_limit_are_cut_and_counted(record: Recorder, program: Path) -> None:
    recording = record(*WORKLOAD, "long_arguments", program)

    exec_ = recording.tree("exec").query("comm == 'tk-own-name'").iloc[0]
    assert exec_.argv_bytes == len(str(program)) + 1 + 3000 * 10
    assert sum(len(argument) + 1 for argument in exec_.argv) in (16384, 16385)
    assert list(exec_.argv[:3]) == [str(program), "000000000", "000000001"]
    assert recording.trace.metadata.counters["process"].truncated >= 1


def test_execveat(record: Recorder, program: Path) -> None:
    execs = record(*WORKLOAD, "execveat", program).tree("exec")

    assert len(execs) == 2
    assert list(execs.argv.iloc[1]) == ["by-descriptor", "one"]
    assert execs.path.iloc[1].startswith("/dev/fd/")


def test_exec_from_a_thread(record: Recorder, program: Path) -> None:
    recording = record(*WORKLOAD, "thread_exec", program)

    execs = recording.tree("exec")
    assert [list(argv) for argv in execs.argv[1:]] == [["from-thread"]]
    assert execs.pid.iloc[1] == execs.tid.iloc[1]
    assert len(recording.tree("exec_failed")) == 0
    assert len(recording.tree("exit")) == 2


def test_failed_exec(record: Recorder, tmp_path: Path) -> None:
    missing = str(tmp_path / "no-such-program")
    recording = record(*WORKLOAD, "missing", missing)

    failed = recording.tree("exec_failed")
    assert list(failed.ret) == [-ENOENT, -ENOENT]
    assert list(failed.path) == [missing, missing]
    assert list(failed.argv.iloc[0][:2]) == ["never", "a b"]
    assert failed.argv_bytes.iloc[0] > 10 + sum(len(argument) + 1 for argument in failed.argv.iloc[0][:2])
    assert list(failed.argv.iloc[1]) == ["nor-this"]
    assert failed.argv_bytes.iloc[1] == len("nor-this") + 1
    assert len(recording.tree("exec")) == 1
    assert list(recording.tree("exit").exit_code) == [5, 0]


def test_exits(record: Recorder) -> None:
    recording = record(*WORKLOAD, "exits")

    exits = recording.tree("exit")
    assert list(zip(exits.exit_code, exits.exit_signal, strict=True)) == [
        (0, 0),
        (3, 0),
        (0, signal.SIGKILL),
        (7, 0),
        (0, 0),
    ]
    assert len(recording.tree("fork")) == len(exits)  # threads are no processes


def test_the_exit_code_of_the_command_is_returned(record: Recorder) -> None:
    assert record("sh", "-c", "exit 3").exit_code == 3
    assert record("sh", "-c", "kill -KILL $$", options=("--force",)).exit_code == 128 + signal.SIGKILL


def test_running_processes_are_listed(record: Recorder) -> None:
    recording = record("true")

    running = recording.trace.pandas("process")
    assert running.pid.is_unique
    first = running.set_index("pid").loc[1]
    assert first.ppid == 0
    assert first.start_ns < recording.trace.start_ns
    assert running.cpu.isna().all()
