"""The `bcc` loader: compiles the same programs on the target, for machines where the core loader cannot be used.

BCC compiles against kernel headers that may be those of another kernel, so the programs get the offset of each kernel
field that they read from the running kernel's type information, and their maps from here.
"""

import contextlib
import ctypes
import importlib
import importlib.machinery
import importlib.util
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from tracekit.capture import kernel
from tracekit.capture.loading import Attached, KernelFacts, Links, Plan
from tracekit.capture.probes import FIELDS, OPTIONAL_FIELDS, RINGS, Probe
from tracekit.errors import UnsupportedError

_SOURCES = Path(__file__).parent / "bpf"
_INCLUDE = re.compile(r'^#include "([\w.]+)"\n', re.MULTILINE)
_MAP = re.compile(r"^MAP_OF\((\w+), (\w+), (\d+), (\d+), (\d+), (\w+)\)$", re.MULTILINE)
# Where distributions put the module for the system's own interpreter; a virtual environment does not see it.
_MODULE_FOLDERS = (
    "/usr/lib/python3/dist-packages",
    "/usr/lib/python3*/site-packages",
    "/usr/lib64/python3*/site-packages",
)


def attach(facts: KernelFacts, plan: Plan) -> Attached:
    """Compile, load and attach programs; on any error nothing stays attached.

    Raises:
        UnsupportedError: BCC, a compiler or headers are missing, or the kernel refuses a program.
    """
    bcc = _module()
    source = _flattened(*(f"{family}.bpf.c" for family in plan.programs))
    with contextlib.ExitStack() as undo:
        recorded = [family for family in plan.programs if family in RINGS]
        sizes = plan.ring_bytes | plan.entries | {f"{family}_counters": kernel.possible_cpus() for family in recorded}
        maps = dict(plan.maps)
        for kind, name, key_bytes, value_bytes, entries, flags in _MAP.findall(source):
            if name in maps:
                continue
            count = sizes.get(name, int(entries))
            try:
                made = kernel.create_map(kind, int(key_bytes), int(value_bytes), count, kernel.MAP_FLAGS[flags])
            except OSError as error:
                raise UnsupportedError(f"the kernel refuses the map {name}: {error.strerror}") from None
            maps[name] = made
            undo.callback(os.close, made)
        program = _compiled(bcc, source, _macros(facts, plan, maps))
        undo.callback(program.cleanup)
        links = Links()
        undo.callback(links.detach)
        functions = {family: _load(bcc, program, facts, family) for family in plan.programs}
        for family in plan.programs:
            for probe in facts.probes[family]:
                links.add(_attach(bcc, functions[family][probe.function], probe))
        return Attached(
            "bcc",
            rings={name: (maps[name], size) for name, size in plan.ring_bytes.items()},
            counters={family: maps[f"{family}_counters"] for family in recorded},
            programs={family: [function.fd for function in functions[family].values()] for family in recorded},
            detach=links.detach,
            close=undo.pop_all().close,
        )


def _module() -> ModuleType:
    """The module `bcc`, from the system's packages if need be; no other package of theirs comes along."""
    with contextlib.suppress(ImportError):
        return importlib.import_module("bcc")
    folders = [str(folder) for pattern in _MODULE_FOLDERS for folder in sorted(Path("/").glob(pattern[1:]))]
    found = importlib.machinery.PathFinder.find_spec("bcc", folders)
    if found is None or found.loader is None:
        raise UnsupportedError(
            "BCC's Python module is not installed "
            "(Debian, Ubuntu: apt install python3-bpfcc; Fedora: dnf install python3-bcc)"
        )
    module = importlib.util.module_from_spec(found)
    sys.modules["bcc"] = module
    try:
        found.loader.exec_module(module)
    except (ImportError, OSError, AttributeError) as error:
        del sys.modules["bcc"]
        raise UnsupportedError(f"BCC's Python module at {found.origin} cannot be imported: {error}") from None
    return module


def _flattened(*names: str) -> str:
    """Sources with their own includes in place, each once: BCC rewrites only what is in the main file."""
    seen: set[str] = set()

    def include(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        return _INCLUDE.sub(lambda match: include(match[1]), (_SOURCES / name).read_text())

    return "\n".join(map(include, names))


def _macros(facts: KernelFacts, plan: Plan, maps: dict[str, int]) -> list[str]:
    """What the sources need to know, as compiler flags: see bpf/loader.h."""
    macros = {"TK_BCC": 1}
    macros |= {f"CONFIG_{name}": value for name, value in (facts.config | plan.config).items()}
    macros |= {f"FD_{name}": descriptor for name, descriptor in maps.items()}
    for structure, field in FIELDS:
        offset = facts.btf.offset(structure, field)
        if offset is None and (structure, field) not in OPTIONAL_FIELDS:
            raise UnsupportedError(
                f"this kernel's {structure} has no field {field}: tracekit does not know this kernel yet"
            )
        macros[f"HAS_{structure}_{field}"] = int(offset is not None)
        macros[f"OFFSET_{structure}_{field}"] = offset or 0
    return [f"-D{name}={value}" for name, value in macros.items()]


def _compiled(bcc: ModuleType, source: str, flags: list[str]) -> Any:
    with _headers(), _captured_stderr() as said:
        try:
            return bcc.BPF(text=source.encode(), cflags=flags)
        except Exception as error:  # BCC raises nothing more precise
            failure = str(error)
    complaints = [line for line in said if "error:" in line] or [failure]
    raise UnsupportedError(f"BCC cannot compile the probes: {complaints[0]}")


@contextlib.contextmanager
def _headers() -> Iterator[None]:
    """Let BCC find kernel headers: the running kernel's if they are there, else any that are installed.

    Raises:
        UnsupportedError: there are none.
    """
    if Path(f"/lib/modules/{platform.release()}/build").exists() or Path("/sys/kernel/kheaders.tar.xz").exists():
        yield
        return
    installed = sorted(Path("/usr/src").glob("*/include/generated/autoconf.h"), key=_numbers)
    if not installed:
        raise UnsupportedError(
            "BCC needs kernel headers, of whatever version: install some (Debian: apt install linux-headers-amd64; "
            "Ubuntu: apt install linux-headers-generic; Fedora: dnf install kernel-devel)"
        )
    with tempfile.TemporaryDirectory(prefix="tracekit-headers-") as merged:
        _merge(installed[-1].parents[2], Path(merged))
        os.environ["BCC_KERNEL_SOURCE"] = merged
        try:
            yield
        finally:
            del os.environ["BCC_KERNEL_SOURCE"]


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(path))]


def _merge(build: Path, into: Path) -> None:
    """One tree of links to headers that a distribution has split in two: Debian's own Makefile names the other one."""
    other = re.search(r"(/\S+)/Makefile", (build / "Makefile").read_text()) if (build / "Makefile").is_file() else None
    folders = [build, *([Path(other[1])] if other else [])]
    for part in ("include", *(f"arch/{arch.name}/include" for arch in (build / "arch").glob("*"))):
        (into / part).mkdir(parents=True)
        for folder in folders:
            for entry in (folder / part).glob("*"):
                if not (into / part / entry.name).exists():
                    (into / part / entry.name).symlink_to(entry)


@contextlib.contextmanager
def _captured_stderr() -> Iterator[list[str]]:
    """What the compiler, which is part of this process, writes to stderr meanwhile; complete after the block."""
    said: list[str] = []
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said += file.read().decode(errors="replace").splitlines()


def _load(bcc: ModuleType, program: Any, facts: KernelFacts, family: str) -> dict[str, Any]:
    """The programs of a family, in the kernel, by name."""
    loaded = {}
    for probe in facts.probes[family]:
        kind = bcc.BPF.RAW_TRACEPOINT if probe.raw else bcc.BPF.TRACEPOINT
        try:
            with _captured_stderr():
                loaded[probe.function] = program.load_func(probe.function.encode(), kind)
        except Exception as error:  # BCC raises nothing more precise
            raise UnsupportedError(f"the kernel refuses the program for {probe.target}: {error}") from None
    return loaded


def _attach(bcc: ModuleType, function: Any, probe: Probe) -> Callable[[], object]:
    """Attach a program; the result undoes it. Not BCC's own methods, which take a program once only."""
    names = [name.encode() for name in probe.target.split(":")]
    attach = bcc.lib.bpf_attach_raw_tracepoint if probe.raw else bcc.lib.bpf_attach_tracepoint
    descriptor = attach(function.fd, *names)
    if descriptor < 0:
        raise UnsupportedError(f"attaching to {probe.target} failed: {os.strerror(ctypes.get_errno())}")
    return partial(os.close if probe.raw else bcc.lib.bpf_close_perf_event_fd, descriptor)
