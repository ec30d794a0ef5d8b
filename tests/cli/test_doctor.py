"""`tracekit doctor` on machines that are made up, and on this one without privileges."""

import errno
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracekit.capture import core, doctor, host, kernel, privilege
from tracekit.capture.btf import Btf
from tracekit.capture.doctor import Check, Mend, State
from tracekit.capture.loading import Plan
from tracekit.cli.main import main
from tracekit.errors import UnsupportedError
from tracekit.metadata import Disk

Output = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


class Machine:
    """One on which everything works, until a test takes something away.

    Attributes:
        answer: the error of bpf(2), or 0.
        absent: tracepoints that its kernel does not have.
        failing: pairs of loader and family that do not work.
        attached: how many probes were attached and not detached.
    """

    def __init__(self) -> None:
        self.answer = 0
        self.absent: set[str] = set()
        self.failing: set[tuple[str, str]] = set()
        self.attached = 0

    def create_map(self, *_: object) -> int:
        if self.answer:
            raise OSError(self.answer, os.strerror(self.answer))
        return os.open(os.devnull, os.O_RDONLY)

    def arguments(self, tracepoint: str) -> int | None:
        return None if tracepoint in self.absent else 2

    def attach(self, loader: str, _: object, plan: Plan) -> tuple["Machine", tuple[str, ...]]:
        if (loader, plan.programs[0]) in self.failing:
            raise UnsupportedError(f"the {plan.programs[0]} programs are refused")
        self.attached += 1
        return self, ()

    def close(self) -> None:
        self.attached -= 1


@pytest.fixture
def machine(monkeypatch: Patch, tmp_path: Path) -> Machine:
    """A healthy machine with Debian on it."""
    made = Machine()
    btf = Btf.__new__(Btf)
    monkeypatch.setattr(btf, "arguments", made.arguments)
    monkeypatch.setattr(Btf, "of_kernel", lambda: btf)
    monkeypatch.setattr(kernel, "create_map", made.create_map)
    monkeypatch.setattr(kernel, "check_pid_namespace", lambda: None)
    monkeypatch.setattr(kernel, "tracefs", lambda: (tmp_path, False))
    monkeypatch.setattr(kernel, "has_tracepoint", lambda _, target: target not in made.absent)
    monkeypatch.setattr(core, "unavailable", lambda: None)
    monkeypatch.setattr(host, "disks", lambda: ())
    monkeypatch.setattr(doctor, "_bcc_loader", lambda: Check("bcc loader", None, "there"))
    monkeypatch.setattr(doctor, "_lockdown", lambda _: Check("lockdown", State.OK, "none"))
    monkeypatch.setattr(privilege, "holds", lambda *_: True)
    monkeypatch.setattr(doctor, "find_out", lambda _: None)
    monkeypatch.setattr(doctor, "attach", made.attach)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "debian", "VERSION_CODENAME": "bookworm"})
    return made


@pytest.fixture
def nobody(machine: Machine, monkeypatch: Patch) -> Machine:
    """The same, for a user who may do nothing."""

    def no_tracefs() -> None:
        raise UnsupportedError("/sys/kernel/tracing cannot be read: recording needs root, so run it with sudo")

    machine.answer = errno.EPERM
    monkeypatch.setattr(privilege, "holds", lambda *_: False)
    monkeypatch.setattr(kernel, "tracefs", no_tracefs)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return machine


Asked = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def ask(capsys: Output) -> Asked:
    """The exit code and what it says to a program."""

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = main(["doctor", "--format", "json", *arguments])
        out, err = capsys.readouterr()
        assert err == ""
        return code, json.loads(out)

    return run


def check(said: dict[str, Any], name: str) -> dict[str, Any]:
    found = [check for check in said["checks"] if check["name"] == name]
    assert len(found) == 1, found
    return dict(found[0])


def commands(found: dict[str, Any]) -> list[str]:
    return [mend["command"] for mend in found["mends"]]


def test_a_healthy_machine(machine: Machine, capsys: Output) -> None:
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "This machine can record: process, block I/O, opens, with the core loader."
    assert lines[1:6] == ["", "process: yes", "block: yes", "open: yes", ""]
    assert all(line.startswith(("ok ", " ")) for line in lines[6:] if "disk space" not in line)
    assert (err, machine.attached) == ("", 0)


def test_the_same_for_a_program(machine: Machine, ask: Asked) -> None:
    code, said = ask()
    assert code == 0
    assert list(said) == ["summary", "possible", "loader", "verdicts", "checks", "trials"]
    assert said["summary"].startswith("This machine can record: process, ")
    assert (said["possible"], said["loader"]) == (True, "core")
    assert [(verdict["family"], verdict["loaders"]) for verdict in said["verdicts"]] == [
        (family, ["core", "bcc"]) for family in ("process", "block", "open")
    ]
    for found in said["checks"]:
        assert set(found) == {"name", "state", "meaning", "mends", "stops", "lacks"}
        assert found["state"] in ("ok", "limited", "missing", None)
    assert len(said["trials"]) == 6
    assert all(trial["attach_ns"] > 0 and trial["reason"] is None for trial in said["trials"])


def test_without_privilege_it_says_sudo(nobody: Machine, capsys: Output) -> None:
    assert main(["doctor"]) == 4
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "This user cannot record: 'sudo tracekit doctor' tells what root can."
    assert "         sudo tracekit doctor" in lines
    assert "?        tracefs         only root can find out" in lines
    assert max(map(len, lines)) <= 80


def test_root_of_a_container_is_told_so(nobody: Machine, monkeypatch: Patch, ask: Asked) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    code, said = ask()
    assert code == 4
    assert commands(check(said, "privilege")) == [
        "sudo tracekit doctor",
        "docker run --privileged --pid=host ...",
    ]


def test_what_no_privilege_can_mend_is_said_first(nobody: Machine, monkeypatch: Patch, ask: Asked) -> None:
    def no_btf() -> Btf:
        raise UnsupportedError("this kernel has no BTF: boot another")

    monkeypatch.setattr(Btf, "of_kernel", no_btf)
    code, said = ask()
    assert code == 4
    assert said["summary"] == "This machine cannot record process, block I/O, opens: this kernel has no BTF."
    assert commands(check(said, "BTF")) == ["sudo apt install linux-image-" + doctor._DEBIAN_ARCH]


def test_only_what_is_asked_about(machine: Machine, ask: Asked) -> None:
    machine.absent.add("block_rq_issue")
    code, said = ask("--events", "open, open,process")
    assert code == 0
    assert [verdict["family"] for verdict in said["verdicts"]] == ["open", "process"]
    assert not [found for found in said["checks"] if "disks" in found["name"] or "block" in found["name"]]


@pytest.mark.parametrize(
    ("events", "complaint"), [("process,network", "there are no 'network' events"), (",", "no events")]
)
def test_wrong_families(events: str, complaint: str, capsys: Output) -> None:
    assert main(["doctor", "--events", events]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert complaint in err
    assert err.count("\n") == 1


def test_elsewhere_than_on_linux(monkeypatch: Patch, capsys: Output) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert main(["doctor"]) == 4
    assert capsys.readouterr().err == "tracekit: only Linux can be recorded: this is Darwin\n"


def test_a_tracepoint_that_can_be_done_without(machine: Machine, ask: Asked) -> None:
    machine.absent.add("block_io_start")
    code, said = ask()
    assert code == 0
    verdict = said["verdicts"][1]
    assert (verdict["state"], verdict["meaning"]) == ("limited", "yes, without queue times and submitters of block I/O")
    found = check(said, "block probes")
    assert found["state"] == "limited"
    assert "no tracepoint block_io_start" in found["meaning"]
    assert commands(found) == [f"apt install -t bookworm-backports linux-image-{doctor._DEBIAN_ARCH}"]


def test_a_tracepoint_that_no_architecture_must_have(machine: Machine, ask: Asked) -> None:
    machine.absent |= {"syscalls:sys_enter_open", "syscalls:sys_exit_open"}
    code, said = ask()
    assert (code, check(said, "open probes")["state"]) == (0, "ok")


def test_a_tracepoint_that_is_needed(machine: Machine, ask: Asked) -> None:
    machine.absent.add("syscalls:sys_exit_openat")
    code, said = ask()
    assert code == 4
    assert said["summary"] == "This machine can record: process, block I/O, with the core loader; not opens."
    assert said["verdicts"][2]["meaning"] == "no: the kernel has no tracepoint syscalls:sys_exit_openat"
    assert {trial["family"] for trial in said["trials"]} == {"process", "block"}


@pytest.mark.parametrize(
    ("answer", "words", "command"),
    [
        (errno.EPERM, "a container, a user namespace or a policy", "docker run --privileged"),
        (errno.ENOSYS, "CONFIG_BPF_SYSCALL", "apt install linux-image-"),
        (errno.EINVAL, "Linux 5.8", "apt install -t bookworm-backports"),
        (errno.ENOMEM, "Cannot allocate memory", None),
    ],
)
def test_what_bpf_answers(machine: Machine, ask: Asked, answer: int, words: str, command: str | None) -> None:
    machine.answer = answer
    code, said = ask()
    assert code == 4
    found = check(said, "bpf(2)")
    assert found["state"] == "missing"
    assert words in found["meaning"]
    assert words in said["summary"]
    assert any(command in each for each in commands(found)) if command else commands(found) == []
    assert said["trials"] == []


def test_an_architecture_that_is_not_known(machine: Machine, monkeypatch: Patch, ask: Asked) -> None:
    def unknown(*_: object) -> int:
        raise UnsupportedError("tracekit does not know the bpf(2) system call of vax")

    monkeypatch.setattr(kernel, "create_map", unknown)
    monkeypatch.setattr(platform, "machine", lambda: "vax")
    code, said = ask()
    assert code == 4
    assert "on vax, which tracekit does not know" in said["summary"]
    assert check(said, "bpf(2)")["state"] is None


def test_where_core_fails_bcc_takes_over(machine: Machine, ask: Asked) -> None:
    machine.failing = {("core", "process"), ("core", "block"), ("core", "open")}
    code, said = ask()
    assert code == 0
    assert said["summary"].endswith("with the bcc loader.")
    assert check(said, "core loader")["state"] == "missing"


def test_where_no_loader_can_do_everything(machine: Machine, ask: Asked) -> None:
    machine.failing = {("core", "open"), ("bcc", "process"), ("bcc", "block")}
    code, said = ask()
    assert code == 4
    assert said["summary"] == "This machine can record: process, block I/O, with the core loader; not opens."
    assert said["verdicts"][2]["meaning"] == "no: the core loader cannot; bcc can, with --backend bcc --events open"
    assert check(said, "core loader")["meaning"] == "open: the open programs are refused"


def test_where_no_loader_works(machine: Machine, capsys: Output) -> None:
    machine.failing = {(loader, "open") for loader in ("core", "bcc")}
    assert main(["doctor", "--events", "open"]) == 4
    out = capsys.readouterr().out
    assert out.startswith("This machine cannot record opens: no loader works for it.\n\nopen: no: no loader")


@pytest.mark.parametrize(
    ("reason", "meaning", "command"),
    [
        (
            "libbpf.so.1 is not installed (Debian: apt install libbpf1)",
            "libbpf.so.1 is not installed",
            "apt install libbpf1",
        ),
        ("this installation holds no compiled BPF objects",) * 2 + ("make clean setup",),
    ],
)
def test_without_the_core_loader(
    machine: Machine, monkeypatch: Patch, ask: Asked, reason: str, meaning: str, command: str
) -> None:
    monkeypatch.setattr(core, "unavailable", lambda: reason)
    code, said = ask()
    assert (code, said["loader"]) == (0, "bcc")
    found = check(said, "core loader")
    assert (found["state"], found["meaning"], commands(found)) == ("missing", meaning, [command])


@pytest.mark.parametrize(
    ("release", "mends"),
    [
        ({"ID": "debian"}, [Mend("Debian", "sudo apt install a")]),
        ({"ID": "ubuntu", "ID_LIKE": "debian"}, [Mend("Ubuntu", "sudo apt install b")]),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, [Mend("Ubuntu", "sudo apt install b")]),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, [Mend("Fedora", "sudo dnf install c")]),
        (
            {"ID": "arch"},
            [
                Mend("Debian", "sudo apt install a"),
                Mend("Ubuntu", "sudo apt install b"),
                Mend("Fedora", "sudo dnf install c"),
            ],
        ),
    ],
)
def test_the_command_is_that_of_the_distribution(
    monkeypatch: Patch, release: dict[str, str], mends: list[Mend]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    assert list(doctor._on_each("apt install a", "apt install b", "dnf install c")) == mends


def test_disks_without_requests_are_named(machine: Machine, monkeypatch: Patch, ask: Asked) -> None:
    monkeypatch.setattr(host, "disks", lambda: (Disk("dm-7-none", 1),))
    code, said = ask()
    assert code == 0
    found = check(said, "disks")
    assert found["state"] == "limited"
    assert found["meaning"].startswith("dm-7-none: no requests of their own")


def test_names_of_the_system_are_escaped(machine: Machine, monkeypatch: Patch, capsys: Output) -> None:
    monkeypatch.setattr(platform, "release", lambda: "6.1\x1b[2J")
    assert main(["doctor"]) == 0
    assert "Linux 6.1\\x1b[2J" in capsys.readouterr().out


def test_a_folder_that_is_gone(machine: Machine, monkeypatch: Patch, tmp_path: Path, ask: Asked) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    code, said = ask()
    assert code == 0
    assert check(said, "disk space")["state"] is None


def test_a_disk_that_is_nearly_full(machine: Machine, monkeypatch: Patch, ask: Asked) -> None:
    monkeypatch.setattr(doctor, "_LITTLE_SPACE", 1 << 62)
    code, said = ask()
    assert code == 0
    assert check(said, "disk space")["state"] == "limited"
    assert commands(check(said, "disk space")) == ["sudo tracekit record -o /some/where/trace.parquet"]


@pytest.mark.parametrize("style", ["text", "json"])
def test_this_machine_without_privileges(style: str) -> None:
    drop = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    command = [*drop, sys.executable, "-m", "tracekit", "doctor", "--format", style]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (4, "")
    assert "sudo tracekit doctor" in done.stdout
    assert "\x1b" not in done.stdout
