"""What a user installs: built as for a release, put into an environment of its own, and run from elsewhere."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from damage import small_trace

from tracekit import __version__

ROOT = Path(__file__).parents[2]
LEFT_OUT = (
    ".git",
    ".venv",
    "build",
    "dist",
    ".demo",
    ".fuzz",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "*.bpf.o",
    "*.so",
)
LIBRARY = "tracekit/analyze/kernels/built/kernels.so"
IMPORT_ALL = """
import importlib, pkgutil, tracekit
for module in pkgutil.walk_packages(tracekit.__path__, "tracekit."):
    importlib.import_module(module.name)
    print(module.name)
"""

LOADED = "from tracekit.analyze.kernels.columns import take; print(hasattr(take, '__wrapped__'))"


def run(command: Sequence[str | Path], where: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run it without anything of the checkout in its environment."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(command, cwd=where, env=clean | environment, capture_output=True, text=True, check=False)


def run_well(command: Sequence[str | Path], where: Path, **environment: str) -> str:
    done = run(command, where, **environment)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout: building leaves things behind."""
    copy = tmp_path_factory.mktemp("sources") / "tracekit"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return copy


@dataclass(frozen=True)
class Built:
    """The release: an sdist, and the wheel that was made from it."""

    sdist: Path
    wheel: Path

    def in_sdist(self) -> set[str]:
        with tarfile.open(self.sdist) as archive:
            return {name.partition("/")[2] for name in archive.getnames()}

    def in_wheel(self) -> set[str]:
        return set(zipfile.ZipFile(self.wheel).namelist())


@pytest.fixture(scope="module")
def built(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    dist = tmp_path_factory.mktemp("dist")
    run_well([sys.executable, "-m", "build", "--outdir", dist, sources], dist)
    return Built(next(dist.glob("*.tar.gz")), next(dist.glob("*.whl")))


@dataclass(frozen=True)
class Installed:
    """An environment of its own, and a folder with nothing of the checkout in sight."""

    bin: Path
    elsewhere: Path

    def run(self, *command: str) -> str:
        return run_well([self.bin / command[0], *command[1:]], self.elsewhere)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("environment")
    run_well([sys.executable, "-m", "venv", folder / "venv"], folder)
    return Installed(folder / "venv" / "bin", tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(scope="module")
def installed(built: Built, environment: Installed) -> Installed:
    environment.run("python", "-m", "pip", "install", "--quiet", str(built.wheel))
    return environment


def bpf(*endings: str) -> set[str]:
    return {path.name for path in (ROOT / "capture" / "bpf").iterdir() if path.name.endswith(endings)}


def expected_objects() -> set[str]:
    return {name.replace(".bpf.c", ".bpf.o") for name in bpf(".bpf.c")}


def expected_modules() -> set[str]:
    names = set()
    for top in ("tracekit", "tracekit/capture", "tracekit/analyze"):
        for path in (ROOT / top).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            names.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names - {"tracekit"}


def test_the_wheel_holds_the_programs_and_their_sources(built: Built) -> None:
    found = {name.rpartition("/")[2] for name in built.in_wheel() if name.startswith("tracekit/capture/bpf/")}
    assert found == bpf(".c", ".h", "LICENSE") | expected_objects()


def test_the_wheel_holds_nothing_else(built: Built) -> None:
    metadata = f"tracekit_bpf-{__version__}.dist-info/"
    allowed = (".py", ".bpf.c", ".h", ".bpf.o", "LICENSE", "py.typed", ".html", ".css", ".js", "allowed.txt")
    for name in built.in_wheel() - {LIBRARY}:
        assert name.startswith(metadata) or (name.startswith("tracekit/") and name.endswith(allowed)), name


def test_the_wheel_has_the_library_and_is_for_one_platform(built: Built) -> None:
    assert LIBRARY in built.in_wheel()
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert built.wheel.name.endswith(f"-py3-none-{platform}.whl")
    with zipfile.ZipFile(built.wheel) as wheel:
        raw = wheel.read(LIBRARY)
        assert "Root-Is-Purelib: false" in wheel.read(f"tracekit_bpf-{__version__}.dist-info/WHEEL").decode()
    assert str(ROOT).encode() not in raw
    assert b"/sources" not in raw


@pytest.mark.parametrize("compiler", ["cc", "one that fails", None])
def test_what_only_reports_is_built_with_any_compiler_or_none(
    compiler: str | None, environment: Installed, sources: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    if compiler == "cc":
        for name in ("cc", "ld", "as"):
            (path / name).symlink_to(str(shutil.which(name)))
    elif compiler:
        (path / "cc").write_text("#!/bin/sh\nexit 1\n")
        (path / "cc").chmod(0o755)
    wheel = built_to_report(environment, sources, tmp_path, PATH=str(path))
    assert (LIBRARY in zipfile.ZipFile(wheel).namelist()) == (compiler == "cc")
    assert wheel.name.endswith("-py3-none-any.whl") == (compiler != "cc")
    assert "tracekit/__init__.py" in zipfile.ZipFile(wheel).namelist()


def built_to_report(environment: Installed, sources: Path, folder: Path, **variables: str) -> Path:
    command = [environment.bin / "python", "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, sources]
    run_well(command, folder, TRACEKIT_WITHOUT_BPF="1", **variables)
    return next(folder.glob("*.whl"))


def test_nothing_of_an_earlier_build_is_in_a_wheel(environment: Installed, sources: Path, tmp_path: Path) -> None:
    module = sources / "tracekit" / "gone.py"
    module.touch()
    command = [environment.bin / "python", "-m", "pip", "wheel", "--no-deps", "-w", tmp_path / "first", sources]
    run_well(command, tmp_path)
    module.unlink()
    [left] = (sources / "build").glob("lib*/tracekit/gone.py")
    assert {path.name for path in left.parent.rglob("*.o")} == expected_objects()
    names = zipfile.ZipFile(built_to_report(environment, sources, tmp_path)).namelist()
    assert LIBRARY in names
    assert not [name for name in names if name.endswith((".o", "gone.py"))]


def test_the_sdist_holds_all_sources_and_no_objects(built: Built) -> None:
    files = built.in_sdist()
    assert {f"capture/bpf/{name}" for name in bpf(".c", ".h", "LICENSE")} <= files
    assert {"setup.py", "pyproject.toml", "LICENSE", "README.md", "Makefile", "tests/packaging/test_wheel.py"} <= files
    kernels = {f"analyze/kernels/{path.name}" for path in (ROOT / "analyze" / "kernels").glob("*.[ch]")}
    assert kernels
    assert kernels <= files
    assert not [name for name in files if name.endswith((".bpf.o", ".so", ".pyc"))]


def test_the_licenses_are_declared(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        metadata = wheel.read(f"tracekit_bpf-{__version__}.dist-info/METADATA").decode()
    assert "License-Expression: Apache-2.0 AND GPL-2.0-only\n" in metadata
    assert "License-File: LICENSE\n" in metadata
    assert "License-File: capture/bpf/LICENSE\n" in metadata


@pytest.mark.parametrize("name", sorted(expected_objects()))
def test_the_objects_can_be_relocated_and_tell_nothing_of_the_build(built: Built, sources: Path, name: str) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        raw = wheel.read(f"tracekit/capture/bpf/{name}")
    assert raw.startswith(b"\x7fELF")
    assert b".BTF\0" in raw
    assert b".BTF.ext\0" in raw
    assert b".debug_info" not in raw
    assert str(sources.parent).encode() not in raw
    assert str(ROOT).encode() not in raw


def test_every_module_is_there_and_imports(installed: Installed) -> None:
    assert set(installed.run("python", "-c", IMPORT_ALL).split()) == expected_modules()


def test_the_command_runs_outside_the_checkout(installed: Installed) -> None:
    small_trace(installed.elsewhere / "trace.parquet")
    assert installed.run("tracekit", "--version") == f"tracekit, version {__version__}\n"
    assert "exec" in installed.run("tracekit", "info", "trace.parquet")
    assert "trace.parquet" in installed.run("tracekit", "report", "trace.parquet")
    installed.run("tracekit", "report", "trace.parquet", "-o", "report.html")
    assert "</script>" in (installed.elsewhere / "report.html").read_text()
    assert installed.run("python", "-m", "tracekit", "--version") == f"tracekit, version {__version__}\n"
    assert installed.run("python", "-c", LOADED) == "True\n"
    origin = installed.run("python", "-c", "import tracekit; print(tracekit.__file__)")
    assert Path(origin).is_relative_to(installed.bin.parent)


def test_the_dependencies_agree(installed: Installed) -> None:
    installed.run("python", "-m", "pip", "check")


def test_an_editable_install_works_as_well(installed: Installed, sources: Path) -> None:
    installed.run("python", "-m", "pip", "install", "--quiet", "--no-deps", "--editable", str(sources))
    assert set(installed.run("python", "-c", IMPORT_ALL).split()) == expected_modules()
    assert {path.name for path in (sources / "capture" / "bpf").glob("*.bpf.o")} == expected_objects()
    assert installed.run("python", "-c", LOADED) == "True\n"


def test_without_clang_the_build_names_the_package(environment: Installed, sources: Path, tmp_path: Path) -> None:
    command = [environment.bin / "python", "-m", "pip", "wheel", "--no-deps", sources]
    done = run(command, tmp_path, PATH=str(tmp_path))
    assert done.returncode != 0
    assert (
        "error: clang is needed to compile the BPF programs: install the package clang\n" in done.stdout + done.stderr
    )


@pytest.mark.parametrize(
    ("header", "package"),
    [("bpf/bpf_helpers.h", "libbpf-dev"), ("asm/types.h", "linux-libc-dev")],
)
def test_without_headers_the_build_names_the_package(
    header: str, package: str, environment: Installed, sources: Path, tmp_path: Path
) -> None:
    clang = tmp_path / "clang"
    clang.write_text(f"#!/bin/sh\necho \"x.h:3:10: fatal error: '{header}' file not found\" >&2\nexit 1\n")
    clang.chmod(0o755)
    command = [environment.bin / "python", "-m", "pip", "wheel", "--no-deps", sources]
    done = run(command, tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode != 0
    assert f"error: the header <{header}> is needed to compile the BPF programs: install the package {package}\n" in (
        done.stdout + done.stderr
    )
