"""What a recording needs of root, what it gives up, whose its files are, and links that others could have planted."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from recording import TRACEKIT, WORKLOAD, background, check_accounts
from workload import NOBODY

from tracekit import open_trace
from tracekit.capture.finish import recover
from tracekit.files import journal_path, putting

pytestmark = pytest.mark.kernel

DEADLINE_S = 60
CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, KILL, PERFMON, BPF = 0, 1, 2, 3, 5, 38, 39


def mask(*capabilities: int) -> int:
    return sum(1 << capability for capability in capabilities)


def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=DEADLINE_S, check=False, **options)  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user reaches."""
    folder = Path(tempfile.mkdtemp(prefix="tracekit-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def theirs(shared: Path) -> Path:
    """A folder of another user."""
    folder = shared / "theirs"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    return folder


def capabilities(process: int) -> dict[str, set[int]]:
    """Of all threads of a process each set of capabilities that one has."""
    found: dict[str, set[int]] = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                found.setdefault(name, set()).add(int(value, 16))
    return found


def wait_for_capabilities(process: int, expected: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    wanted = {"CapInh": {0}, "CapPrm": {expected}, "CapEff": {expected}, "CapAmb": {0}}
    while (found := capabilities(process)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def own() -> int:
    """What this process may do."""
    (permitted,) = capabilities(os.getpid())["CapPrm"]
    return permitted


def snapshot(recorder: subprocess.Popen[str]) -> str:
    """Ask for a trace; what was said of it."""
    recorder.send_signal(signal.SIGUSR1)
    assert recorder.stderr is not None
    while "wrote" not in (said := recorder.stderr.readline()):
        assert said
    return said


@pytest.mark.parametrize("backend", ["core", "bcc"])
def test_what_is_no_longer_needed_is_given_up(tmp_path: Path, backend: str) -> None:
    """In all threads, for good, and through all that a recording does later; not for the command."""
    output, told = tmp_path / "t.parquet", tmp_path / "told"
    command = ["sh", "-c", f"cat /proc/self/status > {told}; exec sleep 1000"]
    with background("-o", output, "--backend", backend, "--last", "5s", "--", *command) as recorder:
        kept = mask(DAC_READ_SEARCH, KILL) & own()
        wait_for_capabilities(recorder.pid, kept)
        snapshot(recorder)
        wait_for_capabilities(recorder.pid, kept)
        recorder.send_signal(signal.SIGTERM)
        assert recorder.wait(DEADLINE_S) == 128 + signal.SIGTERM
    check_accounts(open_trace(output))
    assert f"CapEff:\t{own():016x}" in told.read_text()


def test_without_a_command_and_in_a_folder_of_another(theirs: Path) -> None:
    output = theirs / "t.parquet"
    with background("-o", output) as recorder:
        wait_for_capabilities(recorder.pid, mask(DAC_READ_SEARCH, DAC_OVERRIDE, FOWNER) & own())
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(DEADLINE_S) == 0
    check_accounts(open_trace(output))
    assert list(theirs.iterdir()) == [output]


def test_in_a_folder_that_its_owner_may_not_write_to(tmp_path: Path) -> None:
    """As root's own is on some systems: root may all the same, by a privilege that it must keep until the end."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    done = run(*TRACEKIT, "record", "-d", "0.5", "-o", folder / "t.parquet")
    assert done.returncode == 0, done.stderr
    check_accounts(open_trace(folder / "t.parquet"))


ALONE = ("setpriv", "--bounding-set=-all,+bpf,+perfmon", "--inh-caps=-all")
AMBIENT = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=-all,+bpf,+perfmon",
    "--ambient-caps=-all,+bpf,+perfmon",
)


def test_two_capabilities_are_enough(tmp_path: Path) -> None:
    """For root without any other: the kernel lets root read what belongs to root."""
    output = tmp_path / "t.parquet"
    done = run(*ALONE, *TRACEKIT, "record", "-o", output, "--", *WORKLOAD, "numbered", "/none/alone/{}", "1009")
    assert done.returncode == 0, done.stderr
    trace = open_trace(output)
    check_accounts(trace)
    paths = trace.table("open", columns=["path"])["path"].to_pylist()
    assert [path for path in paths if path and path.startswith("/none/")] == [f"/none/alone/{n}" for n in range(1009)]
    assert trace.counts["exec"] == 1


def test_two_capabilities_of_another_user(theirs: Path) -> None:
    """Block events need nothing else; where tracefs cannot be read, one line says so of the rest."""
    output = theirs / "t.parquet"
    done = run(*AMBIENT, *TRACEKIT, "record", "-d", "0.5", "--events", "block", "-o", output, cwd="/")
    assert done.returncode == 0, done.stderr
    trace = open_trace(output)
    check_accounts(trace)
    assert (output.stat().st_uid, output.stat().st_mode & 0o777) == (NOBODY, 0o600)
    output.unlink()

    done = run(*AMBIENT, *TRACEKIT, "record", "-d", "0.5", "-o", output, cwd="/")
    if done.returncode != 0:  # where tracefs is open to all, there is nothing to refuse
        assert done.returncode == 4
        assert len(done.stderr.splitlines()) == 1
        assert "cannot be read" in done.stderr
        assert list(theirs.iterdir()) == []


def test_what_sudo_records_belongs_to_its_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trace, the one asked for on the way, and what is recovered."""
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    monkeypatch.setenv("SUDO_GID", "12345")
    output = tmp_path / "t.parquet"
    with background("-o", output) as recorder:
        wait_for_capabilities(recorder.pid, mask(DAC_READ_SEARCH, CHOWN, FOWNER) & own())
        snapshot(recorder)
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(DEADLINE_S) == 0
    killed = tmp_path / "killed.parquet"
    with background("-o", killed) as recorder:
        recorder.kill()
        recorder.wait()
    assert run(*TRACEKIT, "recover", killed).returncode == 0
    files = list(tmp_path.iterdir())
    assert len(files) == 3
    for path in files:
        status = path.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (NOBODY, 12345, 0o600)


@pytest.mark.parametrize("caller", ["not-a-number", ""])
def test_a_caller_of_sudo_that_makes_no_sense(tmp_path: Path, caller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", caller)
    monkeypatch.setenv("SUDO_GID", caller)
    output = tmp_path / "t.parquet"
    assert run(*TRACEKIT, "record", "-o", output, "--", "true").returncode == 0
    assert output.stat().st_uid == os.geteuid()


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("force", [True, False])
def test_a_link_at_the_outputs_name(tmp_path: Path, there: bool, force: bool) -> None:
    """It is refused, or replaced itself; what it leads to stays as it is."""
    output, target = tmp_path / "t.parquet", tmp_path / "target"
    if there:
        target.write_text("precious")
    output.symlink_to(target)
    options = ("--force",) if force else ()
    done = run(*TRACEKIT, "record", "-o", output, *options, "--", "true")
    assert output.is_symlink() == (not force)
    if force:
        assert done.returncode == 0, done.stderr
        check_accounts(open_trace(output))
    else:
        assert done.returncode == 2
        assert "exists already" in done.stderr
    assert target.exists() == there
    if there:
        assert target.read_text() == "precious"


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("force", [True, False])
def test_a_link_at_the_journals_name(tmp_path: Path, there: bool, force: bool) -> None:
    output, target = tmp_path / "t.parquet", tmp_path / "target"
    if there:
        target.mkdir()
        (target / "lock").write_text("precious")
    journal_path(output).symlink_to(target)
    options = ("--force",) if force else ()
    for command in ("record", "recover"):
        arguments: list[str | Path] = (
            ["record", "-d", "1", "-o", output] if command == "record" else ["recover", output]
        )
        done = run(*TRACEKIT, *arguments, *options)
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert "is not the journal of a recording" in done.stderr
    assert target.exists() == there
    assert not there or (target / "lock").read_text() == "precious"
    assert not output.exists()


def test_a_journal_of_another_user_is_not_thrown_away(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    journal_path(output).mkdir()
    os.chown(journal_path(output), NOBODY, NOBODY)
    for options in ((), ("--force",)):
        done = run(*TRACEKIT, "record", "-d", "1", "-o", output, *options)
        assert done.returncode == 2, done.stderr
        assert "is another user's: " in done.stderr
    done = run(*TRACEKIT, "recover", output)
    assert done.returncode == 2, done.stderr
    assert "is another user's: " in done.stderr
    assert list(journal_path(output).iterdir()) == []


@pytest.mark.parametrize("force", [True, False])
def test_a_link_at_the_temporary_name(tmp_path: Path, force: bool) -> None:
    """The recorder's process id can be known, and so what it will write to: a link there leads nowhere."""
    output, target = tmp_path / "t.parquet", tmp_path / "target"
    target.write_text("precious")
    options = ("--force",) if force else ()
    with background("-o", output, *options) as recorder:
        (tmp_path / f".t.parquet.{recorder.pid}.tmp").symlink_to(target)
        (tmp_path / f".t.parquet.journal.{recorder.pid}.tmp").symlink_to(target)
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(DEADLINE_S) == 0
    check_accounts(open_trace(output))
    assert not output.is_symlink()
    assert target.read_text() == "precious"
    assert not journal_path(output).exists()


def test_a_link_that_replaces_the_temporary_file(tmp_path: Path) -> None:
    """Whoever may write to the folder may rename what is in it; what is written does not go there."""
    output, target = tmp_path / "t.parquet", tmp_path / "target"
    target.write_text("precious")

    def write_and_be_robbed() -> None:
        with putting(output, force=True) as temporary:
            (made,) = tmp_path.glob(".t.parquet.*.tmp")
            made.unlink()
            made.symlink_to(target)
            temporary.write_bytes(b"a trace")

    with pytest.raises(OSError, match="another user has replaced"):
        write_and_be_robbed()
    assert target.read_text() == "precious"
    assert not os.path.lexists(output)


def test_a_link_within_a_journal_leads_nowhere(tmp_path: Path) -> None:
    output, target = tmp_path / "t.parquet", tmp_path / "target"
    with background("-o", output) as recorder:
        recorder.kill()
        recorder.wait()
    target.write_text("precious")
    (journal_path(output) / "lock").unlink()
    (journal_path(output) / "lock").symlink_to(target)
    with pytest.raises(OSError, match="symbolic link"):
        recover(output, None, force=False)
    assert target.read_text() == "precious"
