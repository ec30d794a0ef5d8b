"""Compiles the BPF programs when tracekit is built; everything else is in pyproject.toml.

The objects end up beside their sources, in a wheel as in an editable install.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build import build
from setuptools.errors import CompileError, PlatformError

ROOT = Path(__file__).resolve().parent
PACKAGE = Path("tracekit/capture/bpf")
SOURCES = ROOT / PACKAGE

# The oldest instruction set that has what the programs use; newer ones lock out old kernels.
CPU = "v2"
# -g makes clang emit BTF, without which the objects cannot be relocated; the DWARF that comes along is stripped.
FLAGS = ("-target", "bpf", "-O2", "-g", f"-mcpu={CPU}", "-Wall", "-Werror", "-fdebug-compilation-dir=.")
#: What to install for a header that is missing, by how its name begins.
PACKAGES = {
    "bpf/": "libbpf-dev",
    "asm/": "linux-libc-dev",
    "asm-generic/": "linux-libc-dev",
    "linux/": "linux-libc-dev",
}


class build_bpf(Command):  # noqa: N801 - setuptools names its commands so
    """Compiles `NAME.bpf.c` to `NAME.bpf.o`: into the wheel, or beside the source for an editable install.

    A command of its own, not a changed `build_py`: setuptools passes over the errors of the latter when it
    makes an editable install. The methods are setuptools' protocol for commands that `build` runs.
    """

    def initialize_options(self) -> None:
        self.editable_mode = False
        self.build_lib: str | None = None

    def finalize_options(self) -> None:
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self) -> None:
        if os.environ.get("TRACEKIT_WITHOUT_BPF") == "1":
            self.announce("building without BPF objects: such an installation reports, but does not record", level=3)
            return
        for target, source in self.objects().items():
            compile_object(source, source.with_suffix(".o") if self.editable_mode else target)

    def objects(self) -> dict[Path, Path]:
        """The source of each object in the wheel."""
        folder = Path(self.build_lib or "") / PACKAGE
        return {folder / f"{source.stem}.o": source for source in sorted(SOURCES.glob("*.bpf.c"))}

    def get_source_files(self) -> list[str]:
        return [str(path.relative_to(ROOT)) for path in sorted(SOURCES.glob("*.[ch]"))]

    def get_outputs(self) -> list[str]:
        return [str(target) for target in self.objects()]

    def get_output_mapping(self) -> dict[str, str]:
        return {
            str(target): str(source.with_suffix(".o").relative_to(ROOT)) for target, source in self.objects().items()
        }


def compile_object(source: Path, target: Path) -> None:
    """Write the object at once or not at all: another process may be loading the old one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.absolute().with_suffix(".o.tmp")
    try:
        # By relative name, from its own folder: the path of the build would end up in the object.
        run([tool("clang"), *FLAGS, *include_flags(), "-c", source.name, "-o", str(temporary)])
        run([tool("llvm-strip"), "-g", str(temporary)])
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def include_flags() -> list[str]:
    """Where Debian keeps <asm/types.h>, which clang knows for a native target only."""
    multiarch = sysconfig.get_config_var("MULTIARCH") or f"{platform.machine()}-linux-gnu"
    include = Path("/usr/include") / multiarch
    return [f"-I{include}"] if include.is_dir() else []


def tool(name: str) -> str:
    """The program's path, also where only a version such as clang-14 is installed."""
    candidates = [name, *(f"{name}-{version}" for version in range(30, 10, -1))]
    found = next(filter(None, map(shutil.which, candidates)), None)
    if found is None:
        package = "llvm" if name == "llvm-strip" else name
        raise PlatformError(f"{name} is needed to compile the BPF programs: install the package {package}")
    return found


def run(command: list[str]) -> None:
    """Run one tool among the sources."""
    done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    missing = re.search(r"fatal error: '([^']+)' file not found", done.stderr)
    if missing:
        package = next((name for prefix, name in PACKAGES.items() if missing[1].startswith(prefix)), "?")
        raise PlatformError(
            f"the header <{missing[1]}> is needed to compile the BPF programs: install the package {package}"
        )
    sys.stderr.write(done.stderr)
    raise CompileError(f"{Path(command[0]).name} failed: {' '.join(command)}")


build.sub_commands = [("build_bpf", None), *build.sub_commands]
setup(cmdclass={"build_bpf": build_bpf})
