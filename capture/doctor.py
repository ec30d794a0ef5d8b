"""What this machine can record, with which loader, what is missing, and the commands that mend it.

Each check looks at one thing and never fails: what it may not look at, it says it does not know. Where nothing speaks
against it, each loader attaches the probes of each family for a moment, since only that shows that it works.
"""

import contextlib
import ctypes
import errno
import importlib.machinery
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path

from tracekit.capture import cgroups, core, host, kernel, privilege
from tracekit.capture.backend import attach
from tracekit.capture.btf import VMLINUX, Btf
from tracekit.capture.loading import Plan, find_out
from tracekit.capture.probes import PROBES, Probe, check_families, ring_bytes
from tracekit.errors import TracekitError, UnsupportedError
from tracekit.schema import RECORDED_FAMILIES
from tracekit.units import format_bytes, format_ns

LOADERS = ("core", "bcc")

# Less than this is filled within minutes where much is going on.
_LITTLE_SPACE = 1 << 30
# The names that Debian gives to architectures, where they are not the kernel's.
_DEBIAN_ARCHS = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64el", "loongarch64": "loong64"}
_DEBIAN_ARCH = _DEBIAN_ARCHS.get(platform.machine(), platform.machine())
# Where tracekit.capture.bcc looks for BCC's module and for headers.
_BCC_FOLDERS = ("usr/lib/python3/dist-packages", "usr/lib/python3*/site-packages", "usr/lib64/python3*/site-packages")
_HEADERS = ("sys/kernel/kheaders.tar.xz", "usr/src/*/include/generated/autoconf.h")


class State(StrEnum):
    """What a check found."""

    OK = "ok"
    LIMITED = "limited"
    MISSING = "missing"


@dataclass(frozen=True)
class Mend:
    """A command that mends what a check found; of several, one is enough.

    Attributes:
        where: the distribution or the place that it is for; empty where there is only one.
        command: as a person types it.
    """

    where: str
    command: str


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        state: what was found; None: it could not be found out.
        meaning: the same for a person, in one line.
        mends: what helps, where it is not well and something does.
        stops: the families that cannot be recorded because of it.
        lacks: what a recording lacks because of it.
    """

    name: str
    state: State | None
    meaning: str
    mends: tuple[Mend, ...] = ()
    stops: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trial:
    """What became of attaching the probes of a family.

    Attributes:
        loader: `core` or `bcc`.
        family: whose probes.
        attach_ns: how long it took; None: it failed.
        reason: why it failed; None: it did not.
    """

    loader: str
    family: str
    attach_ns: int | None
    reason: str | None


@dataclass(frozen=True)
class Verdict:
    """Whether the events of a family can be recorded here.

    Attributes:
        family: which events.
        state: `ok`, `limited` where a recording lacks something, `missing` where there can be none.
        meaning: the same for a person, beginning with yes or no.
        loaders: those that can.
    """

    family: str
    state: State
    meaning: str
    loaders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """All that was found out.

    Attributes:
        possible: whether everything that was asked about can be recorded at once.
        loader: the one that `tracekit record` takes; None: there is none.
        verdicts: one for each family that was asked about.
        checks: what was looked at, the kernel first.
        trials: what was attached.
    """

    possible: bool
    loader: str | None
    verdicts: tuple[Verdict, ...]
    checks: tuple[Check, ...]
    trials: tuple[Trial, ...]


def examine(families: tuple[str, ...] = RECORDED_FAMILIES) -> Diagnosis:
    """Find out whether the events of some families can be recorded here; leaves the machine as it was.

    Raises:
        UsageError: there is no such family, or none is named.
        UnsupportedError: this is not Linux.
    """
    if platform.system() != "Linux":
        raise UnsupportedError(f"only Linux can be recorded: this is {platform.system()}")
    check_families(families)
    with kernel.much_locked_memory():
        return _examined(families)


def _examined(families: tuple[str, ...]) -> Diagnosis:
    answer = _answer_of_bpf()
    may = answer == 0 or privilege.holds("sys_admin") or privilege.holds("bpf", "perfmon")
    btf, btf_check = _btf(families)
    checks = [
        _kernel(answer, families),
        _bpf(answer, may, families),
        btf_check,
        _guarded("pid namespace", partial(_pid_namespace, families)),
        _guarded("lockdown", partial(_lockdown, families)),
        _privilege(may, families),
    ]
    loaders = [_core_loader(), _bcc_loader()]
    with _tracefs(may, families) as (folder, check):
        checks += [check, *(_tracepoints(family, btf, folder) for family in families)]
        left = tuple(family for family in families if not any(family in check.stops for check in checks))
        untried = [check.name.split()[0] for check in loaders if check.state is None]
        trials = tuple(_try(loader, family) for loader in untried for family in left)
    checks += [_with_trials(check, trials) for check in loaders]
    checks += [_guarded("disks", _disks)] if "block" in families else []
    checks += [_guarded("cgroup names", _cgroups), _guarded("disk space", _space)]
    checks += [_guarded("memory", partial(_memory, families))]
    loader = _best(trials)
    verdicts = tuple(_verdict(family, checks, trials, loader) for family in families)
    possible = all(verdict.state is not State.MISSING for verdict in verdicts)
    return Diagnosis(possible, loader, verdicts, tuple(checks), trials)


def _guarded(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except OSError as error:
        return Check(name, None, f"could not be found out: {error.strerror}")


def _as_root(command: str) -> str:
    return command if os.geteuid() == 0 else f"sudo {command}"


def _release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _on_each(debian: str, ubuntu: str, fedora: str) -> tuple[Mend, ...]:
    """The command of this machine's distribution, or of the one that it is made from; all of them where it is none."""
    commands = {"Debian": debian, "Ubuntu": ubuntu, "Fedora": fedora}
    release = _release()
    for word in (release.get("ID", ""), *release.get("ID_LIKE", "").split()):
        if word.capitalize() in commands:
            return (Mend(word.capitalize(), _as_root(commands[word.capitalize()])),)
    return tuple(Mend(system, _as_root(command)) for system, command in commands.items())


def _other_kernel(newer: bool = False) -> tuple[Mend, ...]:
    """The distribution's own kernel, or the newest that it has."""
    image, release = f"linux-image-{_DEBIAN_ARCH}", _release()
    if not newer:
        return _on_each(f"apt install {image}", "apt install linux-generic", "dnf install kernel")
    debian = f"apt install -t {release.get('VERSION_CODENAME', 'stable')}-backports {image}"
    ubuntu = f"apt install linux-generic-hwe-{release.get('VERSION_ID', '24.04')}"
    return _on_each(debian, ubuntu, "dnf upgrade kernel")


_CONTAINER = Mend("container", "docker run --privileged --pid=host ...")
_OUT_OF_CONTAINER = (Mend("on the host", "sudo tracekit record"), _CONTAINER)


# --- the kernel ------------------------------------------------------------------------------------------------


def _answer_of_bpf() -> int | None:
    """The error of making a ring buffer, 0 if there is none; None where the system call's number is not known."""
    try:
        os.close(kernel.create_map("BPF_MAP_TYPE_RINGBUF", 0, 0, os.sysconf("SC_PAGE_SIZE"), 0))
    except UnsupportedError:
        return None
    except OSError as error:
        return error.errno
    return 0


def _kernel(answer: int | None, families: tuple[str, ...]) -> Check:
    name = f"Linux {platform.release()} on {platform.machine()}"
    if answer is None:
        return Check("kernel", State.MISSING, f"{name}, which tracekit does not know", stops=families)
    return Check("kernel", State.OK, name)


def _bpf(answer: int | None, may: bool, families: tuple[str, ...]) -> Check:
    missing = partial(Check, "bpf(2)", State.MISSING, stops=families)
    match answer:
        case 0:
            return Check("bpf(2)", State.OK, "there, with ring buffers")
        case None:
            return Check("bpf(2)", None, "not known on this architecture")
        case errno.EPERM if not may:
            return Check("bpf(2)", None, "only root can find out")
        case errno.EPERM:
            return missing("bpf(2) is refused: a container, a user namespace or a policy forbids it", _OUT_OF_CONTAINER)
        case errno.ENOSYS:
            return missing("the kernel has no bpf(2) system call (CONFIG_BPF_SYSCALL)", _other_kernel())
        case errno.EINVAL:
            return missing("the kernel has no BPF ring buffer, which came with Linux 5.8", _other_kernel(newer=True))
        case _:
            return missing(f"the kernel refuses a BPF ring buffer: {os.strerror(answer)}")


def _btf(families: tuple[str, ...]) -> tuple[Btf | None, Check]:
    try:
        return Btf.of_kernel(), Check("BTF", State.OK, str(VMLINUX))
    except UnsupportedError as error:
        return None, Check("BTF", State.MISSING, str(error).partition(": ")[0], _other_kernel(), families)


def _pid_namespace(families: tuple[str, ...]) -> Check:
    try:
        kernel.check_pid_namespace()
    except UnsupportedError:
        meaning = "this is a container with process ids of its own, not those of the host"
        return Check("pid namespace", State.MISSING, meaning, _OUT_OF_CONTAINER, families)
    return Check("pid namespace", State.OK, "that of the host")


def _lockdown(families: tuple[str, ...]) -> Check:
    try:
        mode = Path("/sys/kernel/security/lockdown").read_text().partition("[")[2].partition("]")[0]
    except FileNotFoundError:
        return Check("lockdown", State.OK, "the kernel tells of none")
    if mode != "confidentiality":
        return Check("lockdown", State.OK, f"{mode or 'none'}, which allows recording")
    grub = "sh -c 'editor /etc/default/grub && update-grub'"
    mends = _on_each(grub, grub, "grubby --update-kernel=ALL --remove-args=lockdown")
    meaning = "nothing may read this kernel's memory: boot it without lockdown=confidentiality"
    return Check("lockdown", State.MISSING, meaning, mends, families)


def _privilege(may: bool, families: tuple[str, ...]) -> Check:
    if may and not privilege.holds("dac_read_search"):
        meaning = "there, but without CAP_DAC_READ_SEARCH some cgroups may stay without a name"
        return Check("privilege", State.LIMITED, meaning, (Mend("", "sudo tracekit record"),))
    if may:
        return Check("privilege", State.OK, "root" if os.geteuid() == 0 else "the capabilities that are needed")
    if os.geteuid() != 0:
        meaning = "this user may not load BPF programs: it takes root, or CAP_BPF and CAP_PERFMON"
        return Check("privilege", State.MISSING, meaning, (Mend("", "sudo tracekit doctor"),), families)
    mends = (Mend("on the host", "sudo tracekit doctor"), _CONTAINER)
    return Check("privilege", State.MISSING, "root, but without CAP_BPF and CAP_PERFMON", mends, families)


@contextlib.contextmanager
def _tracefs(may: bool, families: tuple[str, ...]) -> Iterator[tuple[Path | None, Check]]:
    """Where tracefs is; mounted meanwhile, as a recording does, if nobody has."""
    needing = tuple(family for family in families if any(not probe.raw for probe in PROBES[family]))
    if not needing:
        yield None, Check("tracefs", State.OK, "not needed")
        return
    try:
        folder, mounted = kernel.tracefs()
    except UnsupportedError as error:
        yield None, _no_tracefs(str(error).partition(": ")[0], may, needing)
        return
    if not mounted:
        yield folder, Check("tracefs", State.OK, str(folder))
        return
    try:
        yield folder, Check("tracefs", State.OK, f"not mounted, but can be: a recording mounts it at {folder}")
    finally:
        ctypes.CDLL(None).umount2(os.fsencode(folder), 0)


def _no_tracefs(reason: str, may: bool, needing: tuple[str, ...]) -> Check:
    if not may:
        return Check("tracefs", None, "only root can find out")
    mount = "mount -o remount,mode=755" if kernel.TRACEFS.is_mount() else "mount -t tracefs tracefs"
    return Check("tracefs", State.MISSING, reason, (Mend("", f"sudo {mount} {kernel.TRACEFS}"),), needing)


def _tracepoints(family: str, btf: Btf | None, folder: Path | None) -> Check:
    name = f"{family} probes"
    there = {probe: _exists(probe, btf, folder) for probe in PROBES[family]}
    absent = [probe for probe, exists in there.items() if exists is False and probe.without != ""]
    needed = [probe.target for probe in absent if probe.without is None]
    if needed:
        meaning = f"the kernel has no tracepoint {', '.join(needed)}"
        return Check(name, State.MISSING, meaning, _other_kernel(), (family,))
    found = sum(map(bool, there.values()))
    if None in there.values():
        why = "the others cannot be found without BTF" if btf is None else "only root can see the others"
        return Check(name, None, f"{found} of {len(there)} tracepoints found; {why}")
    if absent:
        lacks = tuple(dict.fromkeys(str(probe.without) for probe in absent))
        targets = ", ".join(probe.target for probe in absent)
        meaning = f"the kernel has no tracepoint {targets}: {', '.join(lacks)} are not recorded"
        return Check(name, State.LIMITED, meaning, _other_kernel(newer=True), lacks=lacks)
    return Check(name, State.OK, f"{found} tracepoints, all that are needed")


def _exists(probe: Probe, btf: Btf | None, folder: Path | None) -> bool | None:
    """Whether the kernel has a probe's tracepoint; None: that cannot be found out."""
    if probe.raw:
        return None if btf is None else btf.arguments(probe.target) is not None
    try:
        return None if folder is None else kernel.has_tracepoint(folder, probe.target)
    except OSError:
        return None


# --- loaders ---------------------------------------------------------------------------------------------------


def _core_loader() -> Check:
    reason = core.unavailable()
    if reason is None:
        return Check("core loader", None, "libbpf and the compiled programs are there; not tried")
    libbpf = _on_each("apt install libbpf1", "apt install libbpf1", "dnf install libbpf")
    mends = libbpf if "libbpf" in reason else (Mend("in tracekit's source", "make clean setup"),)
    return Check("core loader", State.MISSING, reason.partition(" (")[0], mends)


def _bcc_loader() -> Check:
    root = Path("/")
    folders = [str(folder) for pattern in _BCC_FOLDERS for folder in root.glob(pattern)]
    headers = Path("/lib/modules", platform.release(), "build").exists()
    lacking = []
    if importlib.machinery.PathFinder.find_spec("bcc", [*sys.path, *folders]) is None:
        lacking.append(("BCC's Python module", "python3-bpfcc", "python3-bpfcc", "python3-bcc"))
    if not headers and not any(next(root.glob(pattern), None) for pattern in _HEADERS):
        theirs = (f"linux-headers-{_DEBIAN_ARCH}", "linux-headers-generic", "kernel-devel")
        lacking.append(("kernel headers (of whatever version)", *theirs))
    if not lacking:
        return Check("bcc loader", None, "BCC's Python module and kernel headers are there; not tried")
    names, *packages = zip(*lacking, strict=True)
    debian, ubuntu, fedora = (" ".join(each) for each in packages)
    mends = _on_each(f"apt install {debian}", f"apt install {ubuntu}", f"dnf install {fedora}")
    return Check("bcc loader", State.MISSING, f"not installed: {' and '.join(names)}", mends)


def _try(loader: str, family: str) -> Trial:
    """Attach the probes of a family for a moment."""
    try:
        facts = find_out((family,))
        began_ns = time.monotonic_ns()
        attached, _ = attach(loader, facts, Plan((family,), _rings((family,))))
    except (TracekitError, OSError) as error:
        return Trial(loader, family, None, str(error).removesuffix("; try --backend bcc"))
    took_ns = time.monotonic_ns() - began_ns
    attached.close()
    return Trial(loader, family, took_ns, None)


def _rings(families: tuple[str, ...]) -> dict[str, int]:
    """Sizes of the rings that a recording has by default."""
    return ring_bytes(families, host.memory_bytes(), os.cpu_count() or 1)


def _with_trials(check: Check, trials: Sequence[Trial]) -> Check:
    """A loader's check, with what became of trying it."""
    ours = [trial for trial in trials if check.name.startswith(trial.loader)]
    if not ours:
        return check
    failed = {trial.family: trial.reason for trial in ours if trial.reason}
    if len(failed) == len(ours):
        return replace(check, state=State.MISSING, meaning="; ".join(dict.fromkeys(failed.values())))
    if failed:
        meaning = "; ".join(f"{family}: {why}" for family, why in failed.items())
        return replace(check, state=State.LIMITED, meaning=meaning)
    times = ", ".join(f"{trial.family} in {format_ns(trial.attach_ns)}" for trial in ours)
    return replace(check, state=State.OK, meaning=f"attaches {times}")


# --- around it -------------------------------------------------------------------------------------------------


def _disks() -> Check:
    names = [disk.name for disk in host.disks()]
    without = [name for name in names if not Path("/sys/block", name, "mq").is_dir()]
    if without:
        meaning = f"{', '.join(without)}: no requests of their own, their I/O shows at the disks below if there are any"
        return Check("disks", State.LIMITED, meaning)
    return Check("disks", State.OK, ", ".join(names) or "none")


def _cgroups() -> Check:
    where = cgroups.unified()
    if where is not None:
        return Check("cgroup names", State.OK, f"cgroup v2 at {where}")
    mend = Mend("", _as_root("mount -t cgroup2 -o X-mount.mkdir cgroup2 /run/cgroup2"))
    return Check("cgroup names", State.LIMITED, "cgroup v2 is not mounted: events will not name cgroups", (mend,))


def _space() -> Check:
    folder = Path.cwd()
    free = shutil.disk_usage(folder).free
    writable = os.access(folder, os.W_OK)
    meaning = f"{format_bytes(free)} free in {folder}{'' if writable else ', which cannot be written to'}"
    if writable and free >= _LITTLE_SPACE:
        return Check("disk space", State.OK, meaning)
    return Check("disk space", State.LIMITED, meaning, (Mend("", "sudo tracekit record -o /some/where/trace.parquet"),))


def _memory(families: tuple[str, ...]) -> Check:
    rings = sum(_rings(families).values())
    told = Path("/proc/meminfo").read_text().partition("\nMemAvailable:")[2].split()
    available = int(told[0]) << 10 if told else None
    meaning = f"the rings take {format_bytes(rings)}; {format_bytes(available)} are available"
    if available is None or available >= 2 * rings:
        return Check("memory", State.OK, meaning)
    return Check("memory", State.LIMITED, meaning, (Mend("", "sudo tracekit record --events process"),))


def _best(trials: Sequence[Trial]) -> str | None:
    """The loader that can do most, the first of equals; None if none can do anything."""
    working = [trial.loader for trial in trials if trial.reason is None]
    return max(LOADERS, key=working.count) if working else None


def _verdict(family: str, checks: Sequence[Check], trials: Sequence[Trial], loader: str | None) -> Verdict:
    stop = next((check for check in checks if family in check.stops), None)
    if stop is not None:
        return Verdict(family, State.MISSING, f"no: {stop.meaning}")
    loaders = tuple(trial.loader for trial in trials if trial.family == family and trial.reason is None)
    if not loaders:
        return Verdict(family, State.MISSING, "no: no loader works for it")
    if loader not in loaders:
        other = f"{loaders[0]} can, with --backend {loaders[0]} --events {family}"
        return Verdict(family, State.MISSING, f"no: the {loader} loader cannot; {other}", loaders)
    lacks = [lack for check in checks if check.name == f"{family} probes" for lack in check.lacks]
    if lacks:
        return Verdict(family, State.LIMITED, f"yes, without {', '.join(lacks)}", loaders)
    return Verdict(family, State.OK, "yes", loaders)
