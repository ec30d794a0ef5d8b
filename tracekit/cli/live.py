"""Messages on stderr, and on a terminal one line that lives."""

import contextlib
import shlex
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import click

from tracekit.text import printable
from tracekit.units import format_bytes, format_count

if TYPE_CHECKING:
    from rich.live import Live

Item = TypeVar("Item")

#: What takes less time than this needs no line; and how often a line changes.
_PATIENCE_S, _EVERY_S = 1.0, 0.2


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
            from rich.text import Text

            # What does not fit is cut: a line that wraps would not be one.
            with contextlib.suppress(OSError):
                self._live.update(Text(text, no_wrap=True, overflow="crop"), refresh=True)

    def show_share(self, doing: str, share: float) -> None:
        """Change the line to how much of something is done."""
        full = round(share * 30)
        self.show(f"{doing}  |{'#' * full}{' ' * (30 - full)}| {share:4.0%}")

    def say(self, text: str) -> None:
        """Write a message."""
        begun = self._begun
        self.end()
        say(text)
        if begun:
            self.begin()

    def end(self) -> None:
        """Take the line away."""
        self._begun = False
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.stop()
            self._live = None


def say(text: str) -> None:
    """Write a message."""
    # The terminal may be gone; what was made is worth more than what is said of it.
    with contextlib.suppress(OSError):
        click.echo(f"tracekit: {text}", err=True)


class Progress:
    """On a terminal, how far something is that takes more than a second; gone at the end of its block.

    Drawn by a thread of its own, so that nobody who works has to think of it. It may be entered again.

    Args:
        doing: what takes so long.
        whole: how much there is to do; if that is unknown, the line counts events.
    """

    def __init__(self, doing: str, whole: float | None = None) -> None:
        self._doing, self._whole, self._done = doing, whole, 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            self._ended.clear()
            self._thread = threading.Thread(target=self._draw, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def add(self, more: int) -> None:
        """So much more is done."""
        with self._lock:
            self._done += more

    def reach(self, done: float) -> None:
        """So much is done in all."""
        self._done = done

    def waiting(self, items: Iterable[Item]) -> Iterator[Item]:
        """The same items; it is shown while the next is waited for, not while that is used."""
        rest = iter(items)
        while True:
            with self:
                try:
                    item = next(rest)
                except StopIteration:
                    return
            yield item

    def _draw(self) -> None:
        if self._ended.wait(_PATIENCE_S):
            return
        with LiveLine() as line:
            line.begin()
            while True:
                if self._whole is None:
                    count = f"  {format_count(int(self._done))} events read" if self._done else ""
                    line.show(f"{self._doing}{count}")
                else:
                    line.show_share(self._doing, min(self._done / max(self._whole, 1), 1.0))
                if self._ended.wait(_EVERY_S):
                    return


def what_it_holds(path: Path) -> str:
    """How many events of each family there are in a trace that was just written."""
    from tracekit.schema import FAMILY_OF, RECORDED_FAMILIES
    from tracekit.trace import open_trace

    held = dict.fromkeys(RECORDED_FAMILIES, 0)
    for event, count in open_trace(path).counts.items():
        if event != "lost":
            held[FAMILY_OF[event]] += count
    return ", ".join(f"{family} {format_count(count)}" for family, count in held.items() if count) or "none"


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

    console = Console(stderr=True, highlight=False)
    # What others print stays where they print it: standard output may be a file, or the next program's input.
    live = Live("", console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False)
    live.start()
    console.show_cursor()  # who is killed meanwhile must not leave a terminal without one
    return live
