"""The command `tracekit`: finds the subcommand, and turns every error into one line and an exit code.

Each command lives in `tracekit/cli/NAME.py` as a click command `NAME` and is imported when it is called, so that
`tracekit record` does not wait for what only a report needs. A command may return its exit code.
"""

import contextlib
import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TextIO, cast

import click

from tracekit import __version__
from tracekit.cli.sparing import sparing_imports
from tracekit.errors import TracekitError
from tracekit.text import printable

#: In the order in which a person meets them.
COMMANDS = ("record", "recover", "info", "report", "plot", "slice", "redact", "bundle", "doctor")

FAILED, WRONG_USAGE, INTERRUPTED, PIPE_CLOSED = 1, 2, 130, 141


class _Debug:
    """Whether `--debug` was given, before or after the subcommand; outlives click's contexts."""

    wanted = False


def _debug_option() -> click.Option:
    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        state = context.find_object(_Debug)
        if state is not None and value:
            state.wanted = True

    return click.Option(
        ["--debug"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=remember,
        help="Show the traceback of an error.",
    )


class _Commands(click.Group):
    """The subcommands, imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        with sparing_imports():
            module = importlib.import_module(f"tracekit.cli.{cmd_name}")
        command = cast(click.Command, getattr(module, cmd_name))
        if not any(parameter.name == "debug" for parameter in command.params):
            command.params.append(_debug_option())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}."
            ctx.fail(f"there is no command {name!r}: {advice}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands,
    params=[_debug_option()],
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="tracekit")
@click.pass_context
def cli(context: click.Context) -> int:
    """Record what the kernel did, event by event, and say afterwards what that means."""
    if context.invoked_subcommand is not None:
        return 0
    click.echo(context.get_help(), err=True)
    return WRONG_USAGE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; the one place that reports errors."""
    debug = _Debug()
    _never_fail_to_print()
    try:
        code = _invoke(list(sys.argv[1:] if arguments is None else arguments), debug)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        return PIPE_CLOSED
    except (KeyboardInterrupt, click.exceptions.Abort):
        return INTERRUPTED
    except Exception as error:
        return _fail(error, debug.wanted)
    finally:
        _let_go_of(sys.stdout)
        _let_go_of(sys.stderr)


def _invoke(arguments: list[str], debug: _Debug) -> int:
    # Not click's own `main`, which prints several lines for a wrong option and exits by itself.
    try:
        with cli.make_context("tracekit", arguments, obj=debug) as context:
            code = cli.invoke(context)
    except click.exceptions.Exit as leaving:
        code = leaving.exit_code
    return code if isinstance(code, int) else 0


def _fail(error: Exception, debug: bool) -> int:
    if debug and not isinstance(error, click.ClickException):
        traceback.print_exception(error)
    message, code = _explain(error)
    with contextlib.suppress(OSError):
        click.echo(f"tracekit: {printable(message)}", err=True)
    return code


def _explain(error: Exception) -> tuple[str, int]:
    """The one line that a person reads, and the exit code."""
    if isinstance(error, TracekitError):
        return str(error), error.exit_code
    if isinstance(error, click.UsageError):
        message = " ".join(error.format_message().split())
        stop = "" if message.endswith((".", "?", "!")) else "."
        command = error.ctx.command_path if error.ctx else "tracekit"
        return f"{message}{stop} See `{command} --help`.", WRONG_USAGE
    if isinstance(error, click.ClickException):
        return " ".join(error.format_message().split()), error.exit_code
    if isinstance(error, OSError) and error.errno is not None:
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return f"{place}{os.strerror(error.errno)}", FAILED
    if isinstance(error, MemoryError):
        return "there is not enough memory for this", FAILED
    return f"internal error ({type(error).__name__}: {error}); run it again with --debug to see where", FAILED


def _never_fail_to_print() -> None:
    """Escape what the output's encoding lacks: a report is worth more than one character of a file's name."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _let_go_of(stream: TextIO) -> None:
    """Write out what is left; where that fails, drop it, or the interpreter fails with it once more at its end."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
