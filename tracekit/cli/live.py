"""Messages on stderr, and on a terminal one line that lives."""

import contextlib
import shlex
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import click

from tracekit.text import printable
from tracekit.units import format_bytes

if TYPE_CHECKING:
    from rich.live import Live


class LiveLine:
    """A line that changes in its place, on a terminal; messages stay above it. Gone at the end of its block."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._begun = False

    def __enter__(self) -> "LiveLine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def begin(self) -> None:
        """From now on there is a line, if stderr is a terminal."""
        self._begun = True
        if sys.stderr.isatty():
            self._live = _live()

    @property
    def lives(self) -> bool:
        """Whether anybody sees it."""
        return self._live is not None

    def show(self, text: str) -> None:
        """Change the line."""
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.update(text, refresh=True)

    def show_share(self, doing: str, share: float) -> None:
        """Change the line to how much of something is done."""
        full = round(share * 30)
        self.show(f"{doing}  |{'#' * full}{' ' * (30 - full)}| {share:4.0%}")

    def say(self, text: str) -> None:
        """Write a message."""
        begun = self._begun
        self.end()
        # The terminal may be gone; the recording is worth more than what is said of it.
        with contextlib.suppress(OSError):
            click.echo(f"tracekit: {text}", err=True)
        if begun:
            self.begin()

    def end(self) -> None:
        """Take the line away."""
        self._begun = False
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.stop()
            self._live = None


def what_was_written(path: Path) -> str:
    """A trace, and the command that a person types next."""
    name = printable(str(path))
    argument = shlex.quote(f"./{name}" if name.startswith("-") else name)
    size = ""
    with contextlib.suppress(OSError):  # somebody may have moved it already
        size = f" ({format_bytes(path.stat().st_size)})"
    return f"wrote {name}{size}. Next: tracekit report {argument}"


def _live() -> "Live":
    from rich.console import Console
    from rich.live import Live

    live = Live("", console=Console(stderr=True, highlight=False), auto_refresh=False, transient=True)
    live.start()
    return live
