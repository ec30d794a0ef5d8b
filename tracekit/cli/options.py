"""Options that several commands have."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tracekit.cli import complete
from tracekit.cli.live import say
from tracekit.errors import UsageError
from tracekit.schema import RECORDED_FAMILIES
from tracekit.text import did_you_mean, printable
from tracekit.units import parse_offset

if TYPE_CHECKING:
    from tracekit.analyze import Selection
    from tracekit.trace import Trace

F = TypeVar("F", bound=Callable[..., Any])


class Choice(click.Choice):  # type: ignore[type-arg]  # generic since click 8.2
    """One of some values; for a mistyped one, the one that was meant.

    Args:
        choices: the values.
        instead: of values that are none of these, what to do about them.
    """

    def __init__(self, choices: Sequence[str], instead: Mapping[str, str] | None = None) -> None:
        super().__init__(choices)
        self.instead = instead or {}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value.

        Raises:
            click.BadParameter: there is no such value.
        """
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            told = self.instead.get(str(value)) or did_you_mean(str(value), self.choices)
            self.fail(f"there is no {value!r}: {told}", param, ctx)


def trace_argument(command: F) -> F:
    """The argument TRACE, which must be a file that can be read; said by who reads it."""
    return click.argument("trace", type=click.Path(path_type=Path, readable=False), default=Path("trace.parquet"))(
        command
    )


def families_option(help: str) -> Callable[[F], F]:
    """`--events`: families of events, with commas between, given to the command as the tuple `families`."""
    return click.option(
        "--events",
        "families",
        metavar="FAMILIES",
        default=",".join(RECORDED_FAMILIES),
        show_default=True,
        callback=lambda context, parameter, text: _families(text),
        shell_complete=complete.families,
        help=f"{help}, with commas between.",
    )


def _families(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in RECORDED_FAMILIES:
            raise UsageError(f"there are no {name!r} events: {did_you_mean(name, RECORDED_FAMILIES)}")
    return names


_SPAN = (
    click.option(
        "--from", "start", metavar="TIME", help="Look at what happens from this time on: 90s, 10m into TRACE."
    ),
    click.option("--to", "end", metavar="TIME", help="Look at what happens before this time."),
)
_WHO = (
    click.option(
        "--comm",
        metavar="COMMAND",
        shell_complete=complete.names(complete.commands),
        help="Look at this command only: its processes, opens, and I/O.",
    ),
    click.option(
        "--disk",
        metavar="DISK",
        shell_complete=complete.names(complete.disks),
        help="Of I/O, look at this disk only.",
    ),
)


def who_options(command: F) -> F:
    """`--comm` and `--disk`."""
    for option in reversed(_WHO):
        command = option(command)
    return command


def selection_options(command: F) -> F:
    """`--from`, `--to`, `--comm` and `--disk`, given to the command as `start`, `end`, `comm` and `disk`."""
    command = who_options(command)
    for option in reversed(_SPAN):
        command = option(command)
    return command


_PSEUDONYMS = (
    click.option(
        "--allow",
        metavar="PATTERN|@FILE",
        multiple=True,
        help="This name, path (from /, with * and **) or ending (.log) stays, or those in the lines of this file.",
    ),
    click.option(
        "--key-file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Take the secret of the pseudonyms from this file, and make it if it is not there. By default it is "
        "random and thrown away.",
    ),
)


def pseudonym_options(command: F) -> F:
    """`--allow` and `--key-file`."""
    for option in reversed(_PSEUDONYMS):
        command = option(command)
    return command


def selection_of(trace: "Trace", start: str | None, end: str | None, comm: str | None, disk: str | None) -> "Selection":
    """What these options select of a trace.

    Raises:
        UsageError: a time makes no sense.
        TraceError: the file is damaged.
    """
    # Imported when needed: `tracekit --help` does not wait for numpy.
    from tracekit.analyze import Selection

    return Selection(_offset(start), _offset(end), None if comm is None else command_of(trace, comm), disk)


def command_of(trace: "Trace", name: str) -> str:
    """A command's name as the trace has it; says so where that is less than what was given.

    Raises:
        TraceError: the file is damaged.
    """
    from tracekit.analyze.selection import kept_name

    kept = kept_name(trace, name)
    if kept != name:
        say(f"the kernel keeps 15 bytes of a command's name: {printable(name, 60)} is {printable(kept)}")
    return kept


def _offset(text: str | None) -> int | None:
    """Nanoseconds into the recording; `0` is its start."""
    return None if text is None else parse_offset(text)
