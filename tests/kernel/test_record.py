"""`tracekit record` and `tracekit recover` as a person runs them: how they begin, how they end, what they refuse."""

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest
from needs import small_disk
from recording import TRACEKIT, WORKLOAD, background, check_accounts

import tracekit.capture
from tracekit import open_trace
from tracekit.files import journal_path
from tracekit.units import SECOND_NS

pytestmark = pytest.mark.kernel

DEADLINE_S = 30


def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TRACEKIT, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload, no-any-return]


def wait_for(path: Path, size: int = 1) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.05)


def test_it_records_for_as_long_as_asked(tmp_path: Path) -> None:
    done = run("record", "-d", "1.5", "-o", tmp_path / "t.parquet")

    assert done.returncode == 0
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == (
        "tracekit: recording process starts and ends, block I/O and opens of files for 1.50 s (core loader). "
        "Ctrl-C ends it and keeps what is recorded."
    )
    assert lines[-1].endswith(f"Next: tracekit report {tmp_path / 't.parquet'}")
    trace = open_trace(tmp_path / "t.parquet")
    check_accounts(trace)
    assert 1.5 * SECOND_NS <= trace.metadata.duration_ns < 2.5 * SECOND_NS
    assert trace.metadata.complete
    assert trace.metadata.command is None
    assert len(trace.metadata.clock.anchors) == 2
    assert (tmp_path / "t.parquet").stat().st_mode & 0o777 == 0o600
    assert not journal_path(tmp_path / "t.parquet").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_normally(tmp_path: Path, number: signal.Signals) -> None:
    with background("-o", tmp_path / "t.parquet") as recorder:
        recorder.send_signal(number)
        assert recorder.wait(DEADLINE_S) == 0
    assert open_trace(tmp_path / "t.parquet").metadata.complete


def test_a_signal_is_passed_on_to_the_command(tmp_path: Path) -> None:
    with background("-o", tmp_path / "t.parquet", "--", "sleep", "1000") as recorder:
        recorder.send_signal(signal.SIGTERM)
        assert recorder.wait(DEADLINE_S) == 128 + signal.SIGTERM
    exits = open_trace(tmp_path / "t.parquet").pandas("exit")
    assert signal.SIGTERM in set(exits.exit_signal[exits.comm == "sleep"])


def test_the_command_may_go_on_and_can_still_be_ended(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    with background("-d", "0.5", "-o", output, "--", "sleep", "1000") as recorder:
        wait_for(output)
        assert recorder.poll() is None
        assert recorder.stderr is not None
        said = [recorder.stderr.readline() for _ in range(3)]
        assert "sleep still runs; waiting for it to end" in said[-1]
        recorder.send_signal(signal.SIGTERM)
        assert recorder.wait(DEADLINE_S) == 128 + signal.SIGTERM
    assert open_trace(output).metadata.duration_ns < 2 * SECOND_NS


def test_a_command_that_will_not_end_is_killed_when_asked_again(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    with background("-o", output, "--", "sh", "-c", "trap '' TERM INT; sleep 1000 & wait; wait") as recorder:
        time.sleep(0.5)
        for _ in range(3):
            recorder.send_signal(signal.SIGTERM)
            time.sleep(0.3)
        assert recorder.wait(DEADLINE_S) == 128 + signal.SIGKILL
    trace = open_trace(output)
    check_accounts(trace)
    execs = trace.pandas("exec")
    for pid in execs.pid[execs.comm == "sleep"]:
        os.kill(pid, signal.SIGKILL)


def test_a_terminal_that_goes_away_ends_nothing(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*TRACEKIT, "record", "-d", "2", "-o", tmp_path / "t.parquet"]
    with subprocess.Popen(command, stderr=theirs) as process:
        os.close(theirs)
        assert b"recording" in read(ours)
        os.close(ours)
        assert process.wait(DEADLINE_S) == 0
    assert open_trace(tmp_path / "t.parquet").metadata.complete


def test_an_argument_that_is_no_text(tmp_path: Path) -> None:
    command = [*map(os.fsencode, TRACEKIT), b"record", b"-o", bytes(tmp_path / "t.parquet"), b"--", b"true", b"\xff"]
    assert subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
    assert open_trace(tmp_path / "t.parquet").metadata.command == ("true", "\\xff")


def test_in_a_pid_namespace_it_says_what_to_do(tmp_path: Path) -> None:
    command = ["unshare", "--pid", "--fork", "--mount-proc", *TRACEKIT, "record", "-d", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert "--pid=host" in done.stderr


def test_only_what_is_asked_for_is_recorded(tmp_path: Path) -> None:
    assert run("record", "-o", tmp_path / "t.parquet", "--events", "open", "--", "true").returncode == 0
    trace = open_trace(tmp_path / "t.parquet")
    assert set(trace.counts) == {"open"}
    assert trace.metadata.events == ("open",)
    assert trace.metadata.command == ("true",)


def test_on_a_terminal_a_line_lives(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*TRACEKIT, "record", "-d", "2.5", "-o", tmp_path / "t.parquet"]
    with subprocess.Popen(command, stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"}) as process:
        os.close(theirs)
        shown = b""
        while chunk := read(ours):
            shown += chunk
        assert process.wait() == 0
    assert b"0:00:01 left  process" in shown
    assert b"lost 0" in shown


def read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the other side is closed
        return b""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["-d", "soon"], "'soon' is not a duration"),
        (["-d", "0"], "must be above zero"),
        (["-o", "no/such/folder/t.parquet"], "no/such/folder does not exist"),
        (["-o", "there.parquet"], "there.parquet exists already"),
        (["-o", "."], "folder"),
        (["--events", "process,network"], "there are no 'network' events"),
        (["--events", ","], "no events to record"),
        (["--backend", "kprobes"], "kprobes"),
        (["--", "no-such-command"], "'no-such-command' was not found"),
        (["--", "./no-program"], "'./no-program' cannot be executed"),
        (["--force", "-o", "/dev/null"], "/dev/null is no regular file"),
        (["-o", "n" * 240], "too long"),
    ],
)
def test_nonsense_is_refused_before_anything_is_attached(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    (tmp_path / "there.parquet").write_text("precious")
    (tmp_path / "no-program").write_bytes(b"\0\0\0\0")
    (tmp_path / "no-program").chmod(0o755)
    done = run("record", *arguments, cwd=tmp_path)

    assert done.returncode == 2
    assert complaint in done.stderr.splitlines()[-1]
    assert len(done.stderr.splitlines()) == 1 + (arguments[-1] == "./no-program")
    assert (tmp_path / "there.parquet").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["no-program", "there.parquet"]


def test_force_overwrites(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("old")
    assert run("record", "-o", tmp_path / "t.parquet", "--force", "--", "true").returncode == 0
    assert open_trace(tmp_path / "t.parquet").metadata.complete


def test_without_privilege(tmp_path: Path) -> None:
    command = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", *TRACEKIT, "record", "-d", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert "recording needs root" in done.stderr
    assert "sudo" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_tracefs_is_mounted_if_nobody_has(tmp_path: Path) -> None:
    script = 'umount /sys/kernel/tracing /sys/kernel/debug/tracing 2>/dev/null; exec "$@"'
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
        *TRACEKIT,
        "record",
        "-o",
        tmp_path / "t.parquet",
        "--",
        "true",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "tracefs was not mounted: mounted it at" in done.stderr


def test_without_btf_nothing_is_guessed(tmp_path: Path) -> None:
    script = 'mount -t tmpfs tmpfs /sys/kernel/btf && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *TRACEKIT, "record", "-d", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert "no BTF" in done.stderr


def test_auto_says_why_it_takes_bcc(tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(b"no object")
    program = Path(tracekit.capture.__file__).parent / "bpf" / "process.bpf.o"
    script = f'mount --bind damaged {program} && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *TRACEKIT, "record", "--", "true"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "note: taking the bcc loader, since reading the process programs failed" in done.stderr
    assert open_trace(tmp_path / "trace.parquet").metadata.backend == "bcc"


def test_kill_and_recover(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    with background("-o", output, "--", *WORKLOAD, "many_opens", "/dev/null", "100000000") as recorder:
        wait_for(
            journal_path(output) / "00000000.open.arrows", 5_000_000
        )  # several writes, of which the last may be torn
        recorder.kill()
        recorder.wait()

    refused = run("report", output)
    assert refused.returncode == 2
    assert f"tracekit recover {output}" in refused.stderr
    refused = run("record", "-o", output, "-d", "1")
    assert refused.returncode == 2
    assert f"tracekit recover {output}" in refused.stderr

    done = run("recover", output)
    assert done.returncode == 0, done.stderr
    assert f"Next: tracekit report {output}" in done.stderr
    trace = open_trace(output)
    check_accounts(trace)
    assert not trace.metadata.complete
    opens = trace.table("open", columns=["ts_ns", "path"])
    assert opens.num_rows > 10_000
    assert opens["ts_ns"].to_pylist() == sorted(opens["ts_ns"].to_pylist())
    assert not journal_path(output).exists()

    again = run("recover", output)
    assert again.returncode == 2
    assert open_trace(output).counts == trace.counts


def test_a_full_disk_ends_it_and_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "3m") as folder:
        output = folder / "t.parquet"
        done = run("record", "-o", output, "--min-free", "0", "--", *WORKLOAD, "many_paths", "300000")
        assert done.returncode == 1
        assert f"tracekit recover {output}" in done.stderr.splitlines()[-1]
        assert "No space left on device" in done.stderr.splitlines()[-1]

        subprocess.run(["mount", "-o", "remount,size=100m", folder], check=True)
        assert run("recover", output).returncode == 0
        check_accounts(open_trace(output))


def test_a_journal_in_use_is_left_alone(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    with background("-o", output) as recorder:
        for arguments in (["recover", output], ["record", "-d", "1", "--force", "-o", output]):
            refused = run(*arguments)
            assert refused.returncode == 2, refused.stderr
            assert "still runs" in refused.stderr
        recorder.send_signal(signal.SIGTERM)
        assert recorder.wait(DEADLINE_S) == 0
    assert open_trace(output).metadata.complete
