"""Compiles the BPF programs and the kernels of the analyzer when tracekit is built; all else is in pyproject.toml.

What is compiled ends up beside its sources, in a wheel as in an editable install.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import zlib
from pathlib import Path

from setuptools import Command, Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build
from setuptools.errors import CompileError, PlatformError

ROOT = Path(__file__).resolve().parent
SOURCES = ROOT / "capture" / "bpf"
PACKAGE = Path("tracekit/capture/bpf")

# The oldest instruction set that has what the programs use; newer ones lock out old kernels.
CPU = "v2"
# -g makes clang emit BTF, without which the objects cannot be relocated; the DWARF that comes along is stripped.
FLAGS = ("-target", "bpf", "-O2", "-g", f"-mcpu={CPU}", "-Wall", "-Werror", "-fdebug-compilation-dir=.")
#: The kernels of the analyzer, in C beside their definitions in Python.
KERNELS = ROOT / "analyze" / "kernels"
LIBRARY = Path("tracekit/analyze/kernels/built/kernels.so")
KERNEL_FLAGS = ("-std=c11", "-O3", "-fPIC", "-shared", "-Wall", "-Wextra")
#: What to install for a header that is missing, by how its name begins.
PACKAGES = {
    "bpf/": "libbpf-dev",
    "asm/": "linux-libc-dev",
    "asm-generic/": "linux-libc-dev",
    "linux/": "linux-libc-dev",
}


class build_kernels(Command):  # noqa: N801
    """Compiles analyze/kernels/*.c to one shared library; without it the analyzer does the same, slower.

    See `build_bpf` for why and how.
    """

    def initialize_options(self) -> None:
        self.editable_mode = False
        self.build_lib: str | None = None

    def finalize_options(self) -> None:
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self) -> None:
        target = KERNELS / "built" / LIBRARY.name if self.editable_mode else Path(self.build_lib or "") / LIBRARY
        if not compile_kernels(compiler(), target):
            target.unlink(missing_ok=True)
            self.distribution.has_library = False
            self.announce("building without the library of kernels: reports of large recordings take longer", level=3)

    def get_source_files(self) -> list[str]:
        return [str(path.relative_to(ROOT)) for path in sorted(KERNELS.glob("*.[ch]"))]

    def get_outputs(self) -> list[str]:
        return [str(Path(self.build_lib or "") / LIBRARY)]

    def get_output_mapping(self) -> dict[str, str]:
        return {self.get_outputs()[0]: str((KERNELS / "built" / LIBRARY.name).relative_to(ROOT))}


class PackageWithLibrary(Distribution):
    """Where there is a compiler that works, the package has something in it that is compiled."""

    has_library = True

    def has_ext_modules(self) -> bool:
        return self.has_library and compiler() is not None


class fresh_build(build):  # noqa: N801
    """Nothing of an earlier build gets into a wheel: no objects that are not wanted now, no modules that are gone."""

    def run(self) -> None:
        if Path(self.build_lib).absolute().is_relative_to(Path(self.build_base).absolute()):
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


class tagged_wheel(bdist_wheel):  # noqa: N801
    """A wheel with the library is for any Python 3, but for one platform."""

    def run(self) -> None:
        self.run_command("build")  # only then is it known whether the library could be compiled
        self.root_is_pure = not self.distribution.has_ext_modules()
        super().run()

    def get_tag(self) -> tuple[str, str, str]:
        python, abi, platform_tag = super().get_tag()
        return (python, abi, platform_tag) if self.root_is_pure else ("py3", "none", platform_tag)


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


def compiler() -> str | None:
    """What compiles the kernels, if they are wanted."""
    return None if os.environ.get("TRACEKIT_WITHOUT_KERNELS") == "1" else find("clang", "gcc", "cc")


def compile_kernels(compiler: str | None, target: Path) -> bool:
    """Write the library at once or not at all; whether that worked out."""
    if compiler is None:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.absolute().with_suffix(".so.tmp")
    made_for = zlib.crc32(b"".join(path.read_bytes() for path in sorted(KERNELS.glob("*.py"))))
    sources = [path.name for path in sorted(KERNELS.glob("*.c"))]
    command = [compiler, *KERNEL_FLAGS, f"-DMADE_FOR={made_for}u", *sources, "-o", str(temporary)]
    try:
        done = subprocess.run(command, cwd=KERNELS, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.stderr.write(done.stderr)
            return False
        temporary.replace(target)
        return True
    finally:
        temporary.unlink(missing_ok=True)


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


def find(*names: str) -> str | None:
    """The path of the first of these programs that is there, be it as a version such as clang-14."""
    candidates = [each for name in names for each in (name, *(f"{name}-{version}" for version in range(30, 10, -1)))]
    return next(filter(None, map(shutil.which, candidates)), None)


def tool(name: str) -> str:
    """The program's path."""
    found = find(name)
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


build.sub_commands = [("build_bpf", None), ("build_kernels", None), *build.sub_commands]
setup(
    cmdclass={
        "build": fresh_build,
        "build_bpf": build_bpf,
        "build_kernels": build_kernels,
        "bdist_wheel": tagged_wheel,
    },
    distclass=PackageWithLibrary,
)
