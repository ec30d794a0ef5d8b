"""The command line itself: help, wrong usage, and what becomes of errors."""

import errno
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from damage import small_trace

from tracekit import __version__
from tracekit.cli import main as module
from tracekit.cli.main import cli, main
from tracekit.errors import TraceError, TracekitError, UnsupportedError, UsageError

Output = pytest.CaptureFixture[str]


def test_version(capsys: Output) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tracekit, version {__version__}\n"


def test_help_names_every_command(capsys: Output) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name in module.COMMANDS:
        assert f"\n  {name} " in out


@pytest.mark.parametrize("name", module.COMMANDS)
def test_every_command_has_help(name: str, capsys: Output) -> None:
    assert main([name, "-h"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: tracekit {name} ")
    assert "--debug" in out
    assert "  -h, --help" in out
    text, options = out.split("\nOptions:\n")
    examples = text.split("\n  Examples:\n")[1].splitlines()
    assert all(f"tracekit {name}" in example for example in examples if example)
    assert "Examples:" not in options


@pytest.mark.parametrize("name", module.COMMANDS)
def test_examples_of_help_are_understood(name: str, capsys: Output) -> None:
    """Each has options that there are, with values that there may be."""
    assert main([name, "--help"]) == 0
    for example in capsys.readouterr().out.split("\n  Examples:\n")[1].split("\n\n")[0].splitlines():
        command = shlex.split(re.split(r" [|>]+ ", example.strip().removeprefix("sudo "))[0], comments=True)
        with cli.make_context("tracekit", command[1:], obj=module._Debug()) as context:
            found = cli.get_command(context, name)
            assert found is not None
            found.make_context(name, command[2:], parent=context)


def test_without_a_command_there_is_help_and_a_failure(capsys: Output) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: tracekit ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["inof"], "did you mean 'info'?"),
        (["frobnicate"], "there are record, recover, info, report"),
        (["--frobnicate"], "--frobnicate"),
        (["info", "--format"], "--format"),
        (["info", "--formt", "json", "x"], "Did you mean"),
        (["info", "--format", "jsn", "x"], "there is no 'jsn': did you mean 'json'?"),
        (["report", "--format", "html", "x"], "there is no 'html': write a page with -o report.html"),
        (["record", "--backend", "cor"], "there is no 'cor': did you mean 'core'?"),
        (["completion", "fsh"], "there is no 'fsh': did you mean 'fish'?"),
        (["info", "--format", "yaml", "x"], "'yaml'"),
        (["info", "a", "b"], "unexpected extra argument"),
        (["a\nb\x1b[2J"], "'a\\nb\\x1b[2J'"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str, capsys: Output) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tracekit: ")
    assert words in err
    assert err.count("\n") == 1
    assert "--help`.\n" in err


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type:
    """A command `report` that raises whatever `Failing.error` is."""

    class Failing:
        error: BaseException | None = None

    @click.command()
    def report() -> None:
        if Failing.error is not None:
            raise Failing.error

    report.params.append(module._debug_option())
    monkeypatch.setattr(cli, "get_command", lambda *_: report)
    return Failing


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (TracekitError("it failed"), 1, "it failed"),
        (UsageError("no"), 2, "no"),
        (TraceError("two\nlines"), 3, "two\\nlines"),
        (UnsupportedError("not root"), 4, "not root"),
        (OSError(errno.ENOSPC, "full"), 1, "No space left on device"),
        (PermissionError(errno.EACCES, "x", "/some/file"), 1, "/some/file: Permission denied"),
        (MemoryError(), 1, "there is not enough memory for this"),
        (
            ZeroDivisionError("x / 0"),
            1,
            "internal error (ZeroDivisionError: x / 0); run it again with --debug to see where",
        ),
        (click.FileError("f", "gone"), 1, "Could not open file 'f': gone"),
    ],
)
def test_errors_become_one_line(failing: type, error: Exception, code: int, line: str, capsys: Output) -> None:
    failing.error = error
    assert main(["report"]) == code
    assert capsys.readouterr().err == f"tracekit: {line}\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interruption_is_quiet(failing: type, error: BaseException, capsys: Output) -> None:
    failing.error = error
    assert main(["report"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("arguments", [["--debug", "report"], ["report", "--debug"]])
def test_debug_shows_the_traceback(failing: type, arguments: list[str], capsys: Output) -> None:
    failing.error = TraceError("damaged")
    assert main(arguments) == 3
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("tracekit: damaged\n")


def test_a_command_may_return_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def record() -> int:
        return 7

    monkeypatch.setattr(cli, "get_command", lambda *_: record)
    assert main(["record"]) == 7


def run(*arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    options = {"stdout": subprocess.PIPE, "env": environment} | options
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "tracekit", *arguments], text=True, check=False, stderr=subprocess.PIPE, **options
    )


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    path = small_trace(tmp_path / "trace.parquet")
    reading, writing = os.pipe()
    os.close(reading)
    done = run("info", str(path), stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    path = small_trace(tmp_path / "trace.parquet")
    with Path("/dev/full").open("w") as full:
        done = run("info", str(path), stdout=full)
    assert (done.returncode, done.stderr) == (1, "tracekit: No space left on device\n")


def test_an_output_that_lacks_characters_escapes_them(tmp_path: Path) -> None:
    path = small_trace(tmp_path / "\u65e5.parquet")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "latin-1"}
    done = run("info", str(path), env=environment)
    assert done.returncode == 0
    assert "\\u65e5.parquet" in done.stdout


@pytest.mark.parametrize("name", module.COMMANDS)
def test_nothing_heavy_is_imported_before_it_is_needed(name: str) -> None:
    code = f"import sys; from tracekit.cli.main import main; main([{name!r}, '--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1].split()
    assert not {"pandas", "matplotlib"} & set(modules)


def test_streams_that_cannot_be_reconfigured_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["--version"]) == 0
    assert __version__ in stream.getvalue()
