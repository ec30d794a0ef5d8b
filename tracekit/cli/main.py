"""The command `tracekit`: finds the subcommand, and turns every error into one line and an exit code.

Each command lives in `tracekit/cli/NAME.py` as a click command `NAME` and is imported when it is called, so that
`tracekit record` does not wait for what only a report needs. A command may return its exit code.
"""

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TextIO, cast

import click
from click.shell_completion import CompletionItem, shell_complete

from tracekit import __version__
from tracekit.cli.sparing import sparing_imports
from tracekit.errors import TracekitError
from tracekit.text import did_you_mean, printable

#: In the order in which a person meets them; what each does is here, so that a list of them imports none.
COMMANDS = {
    "record": "Record what the kernel does into a trace.",
    "recover": "Make a trace of a recording that was cut short.",
    "info": "Show what a trace is, and whether it is whole.",
    "report": "Say what a trace shows.",
    "plot": "Draw a picture of a trace.",
    "diff": "Say what changed between two traces.",
    "slice": "Cut a smaller trace out of one.",
    "redact": "Write a trace without names and secrets.",
    "bundle": "Put a trace and its report into one file.",
    "export": "Write a trace for another tool.",
    "import": "Make a trace of what another tool recorded.",
    "doctor": "Say what this machine can record, and what mends the rest.",
    "completion": "Print a script for the Tab key of a shell.",
}
# `import` is a word of Python's own.
_MODULES = {"import": "import_"}

#: The variable in which a shell asks what to complete; see `tracekit completion`.
COMPLETION = "_TRACEKIT_COMPLETE"
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
            name = _MODULES.get(cmd_name, cmd_name)
            module = importlib.import_module(f"tracekit.cli.{name}")
        command = cast(click.Command, getattr(module, name))
        if not any(parameter.name == "debug" for parameter in command.params):
            command.params.append(_debug_option())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"there is no command {name!r}: {did_you_mean(name, tuple(COMMANDS))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(name, help=told) for name, told in COMMANDS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)


@click.group(
    cls=_Commands,
    params=[_debug_option()],
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="tracekit")
@click.pass_context
def cli(context: click.Context) -> int:
    """Record what the kernel did, event by event, and say afterwards what that means.

    \b
    Examples:
      sudo tracekit record -d 30s
      tracekit report
      tracekit report -o report.html
      tracekit plot latency
      tracekit record --help
    """
    if context.invoked_subcommand is not None:
        return 0
    click.echo(context.get_help(), err=True)
    return WRONG_USAGE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; the one place that reports errors."""
    wish = os.environ.get(COMPLETION)
    if wish is not None:
        return _complete(wish)
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


def _complete(wish: str) -> int:
    """Answer a shell, which has no use for errors: there is nothing to complete then."""
    try:
        return shell_complete(cli, {}, "tracekit", COMPLETION, wish)
    except Exception:
        return FAILED


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
        stop = "" if message.endswith((".", "?", "!", "?)")) else "."
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
