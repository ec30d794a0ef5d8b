"""`tracekit doctor` on this kernel, with something taken away in a mount namespace."""

import ctypes
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from recording import TRACEKIT

import tracekit.capture

pytestmark = pytest.mark.kernel

OBJECTS = Path(tracekit.capture.__file__).parent / "bpf"


def run(*arguments: str, without: str = "") -> subprocess.CompletedProcess[str]:
    """The command, in a mount namespace of its own in which a script has run before."""
    wrapper = ["unshare", "--mount", "sh", "-c", f'{without}\nexec "$@"', "sh"] if without else []
    command = [*wrapper, *TRACEKIT, "doctor", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    return done


def ask(*arguments: str, without: str = "") -> tuple[int, dict[str, Any]]:
    done = run("--format", "json", *arguments, without=without)
    return done.returncode, json.loads(done.stdout)


def check(said: dict[str, Any], name: str) -> dict[str, Any]:
    return next(dict(check) for check in said["checks"] if check["name"] == name)


def commands(found: dict[str, Any]) -> str:
    return "\n".join(mend["command"] for mend in found["mends"])


def test_a_healthy_machine_says_yes_for_both_loaders() -> None:
    code, said = ask()

    assert code == 0
    assert said["summary"] == "This machine can record: process, block I/O, opens, with the core loader."
    assert all(verdict["loaders"] == ["core", "bcc"] for verdict in said["verdicts"])
    assert all(verdict["meaning"].startswith("yes") for verdict in said["verdicts"])
    tried = [(trial["loader"], trial["family"]) for trial in said["trials"]]
    assert tried == [(loader, family) for loader in ("core", "bcc") for family in ("process", "block", "open")]
    assert all(0 < trial["attach_ns"] < 60_000_000_000 for trial in said["trials"])


def test_a_person_reads_the_same() -> None:
    done = run("--events", "block")

    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[:4] == ["This machine can record: block I/O, with the core loader.", "", "block: yes", ""]
    assert max(map(len, lines)) <= 80


def test_without_btf() -> None:
    code, said = ask(without="mount -t tmpfs tmpfs /sys/kernel/btf")

    assert code == 4
    assert said["summary"].startswith("This machine cannot record process, block I/O, opens: this kernel has no BTF")
    found = check(said, "BTF")
    assert found["state"] == "missing"
    assert "install" in commands(found)
    assert said["trials"] == []


def test_in_a_pid_namespace() -> None:
    command = ["unshare", "--pid", "--fork", "--mount-proc", *TRACEKIT, "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (4, "")
    assert "docker run --privileged --pid=host" in done.stdout


def test_tracefs_is_mounted_only_meanwhile(tmp_path: Path) -> None:
    left = tmp_path / "left"
    script = f"""umount /sys/kernel/tracing /sys/kernel/debug/tracing 2>/dev/null
        "$@" > {tmp_path / "said"}; code=$?
        grep -e ' /sys/kernel/tracing ' -e ' /sys/kernel/debug/tracing ' /proc/self/mounts > {left}
        exit $code"""
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *TRACEKIT, "doctor", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    found = check(json.loads((tmp_path / "said").read_text()), "tracefs")
    assert found["state"] == "ok"
    assert "not mounted, but can be" in found["meaning"]
    assert left.read_text() == ""


def test_where_the_kernel_is_locked_down(tmp_path: Path) -> None:
    hidden = tmp_path / "lockdown"
    hidden.write_text("none integrity [confidentiality]\n")
    script = f"mount -t tmpfs tmpfs /sys/kernel/security && cp {hidden} /sys/kernel/security/lockdown"
    code, said = ask(without=script)

    assert code == 4
    assert check(said, "lockdown")["state"] == "missing"
    assert "without lockdown=confidentiality" in said["summary"]


def loaded_libbpf() -> str:
    ctypes.CDLL("libbpf.so.1")
    maps = Path("/proc/self/maps").read_text().splitlines()
    return next(line.split()[-1] for line in maps if "/libbpf.so" in line)


def test_without_libbpf_it_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    code, said = ask(without=f"mount --bind {tmp_path / 'empty'} {loaded_libbpf()}")

    found = check(said, "core loader")
    assert (found["state"], found["meaning"]) == ("missing", "libbpf.so.1 is not installed")
    assert "install libbpf" in commands(found)
    # A distribution's BCC may be linked to the same library.
    bcc = check(said, "bcc loader")
    assert (code, bcc["state"]) == (0, "ok") or (code == 4 and "libbpf.so.1" in bcc["meaning"])


def test_without_programs_bcc_still_works(tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(b"no object")
    script = "\n".join(f"mount --bind {tmp_path / 'damaged'} {path}" for path in OBJECTS.glob("*.bpf.o"))
    code, said = ask(without=script)

    assert code == 0
    assert said["summary"] == "This machine can record: process, block I/O, opens, with the bcc loader."
    assert check(said, "core loader")["state"] == "missing"


def test_without_headers_core_still_works() -> None:
    if Path("/sys/kernel/kheaders.tar.xz").exists():
        pytest.skip("this kernel brings its headers along")
    script = "for folder in /usr/src /lib/modules; do [ ! -d $folder ] || mount -t tmpfs tmpfs $folder; done"
    code, said = ask(without=script)

    assert (code, said["loader"]) == (0, "core")
    found = check(said, "bcc loader")
    assert (found["state"], found["meaning"]) == ("missing", "not installed: kernel headers (of whatever version)")
    assert "install" in commands(found)


def test_without_cgroup_v2() -> None:
    code, said = ask("--events", "block", without="umount -a -l -t cgroup2")

    assert code == 0
    found = check(said, "cgroup names")
    assert found["state"] == "limited"
    assert "mount -t cgroup2" in commands(found)


def test_without_privilege() -> None:
    command = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", *TRACEKIT, "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (4, "")
    assert done.stdout.startswith("This user cannot record: 'sudo tracekit doctor' tells what root can.\n")
