"""Options that several commands have."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tracekit.schema import RECORDED_FAMILIES
from tracekit.units import parse_duration

if TYPE_CHECKING:
    from tracekit.analyze import Selection

F = TypeVar("F", bound=Callable[..., Any])


def families_option(help: str) -> Callable[[F], F]:
    """`--events`: families of events, with commas between, given to the command as the tuple `families`."""
    return click.option(
        "--events",
        "families",
        metavar="FAMILIES",
        default=",".join(RECORDED_FAMILIES),
        show_default=True,
        callback=lambda context, parameter, text: _families(text),
        help=f"{help}, with commas between.",
    )


def _families(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


_SELECTION = (
    click.option(
        "--from", "start", metavar="TIME", help="Look at what happens from this time on: 90s, 10m into TRACE."
    ),
    click.option("--to", "end", metavar="TIME", help="Look at what happens before this time."),
    click.option("--comm", metavar="COMMAND", help="Look at this command only: its processes, opens, and I/O."),
    click.option("--disk", metavar="DISK", help="Of I/O, look at this disk only."),
)


def selection_options(command: F) -> F:
    """`--from`, `--to`, `--comm` and `--disk`, given to the command as `start`, `end`, `comm` and `disk`."""
    for option in reversed(_SELECTION):
        command = option(command)
    return command


def selection_of(start: str | None, end: str | None, comm: str | None, disk: str | None) -> "Selection":
    """What these options select.

    Raises:
        UsageError: a time makes no sense.
    """
    # Imported when needed: `tracekit --help` does not wait for numpy.
    from tracekit.analyze import Selection

    return Selection(_offset(start), _offset(end), comm, disk)


def _offset(text: str | None) -> int | None:
    """Nanoseconds into the recording; `0` is its start."""
    return None if text is None else 0 if text.strip() == "0" else parse_duration(text)
