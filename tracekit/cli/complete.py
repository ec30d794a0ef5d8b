"""What a shell offers at the Tab key: values of options, looked up only then."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from tracekit.schema import ALL_EVENTS, EVENTS, RECORDED_FAMILIES

#: A name from a trace is put into a command line only if no shell takes a part of it for more than a character.
_HARMLESS = re.compile(r"[\w./+@%-]+", re.ASCII)
#: So many row groups are read for names of commands, so that it takes no time.
_MOST_GROUPS = 8
Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def names(known: Callable[[click.Context], Iterable[str]]) -> Completion:
    """Offers those of some names that begin with what was typed."""

    def complete(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in known(context) if name.startswith(begun)]

    return complete


def families(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """Offers families of events, one more behind each comma."""
    before, comma, last = begun.rpartition(",")
    given = before.split(",")
    rest = (family for family in RECORDED_FAMILIES if family.startswith(last) and family not in given)
    return [CompletionItem(f"{before}{comma}{family}") for family in rest]


def files(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """Leaves it to the shell, which knows files."""
    return [CompletionItem(begun, type="file")]


def folders(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """The same for folders only."""
    return [CompletionItem(begun, type="dir")]


def disks_here(_: click.Context) -> Iterable[str]:
    """Disks of this machine."""
    return sorted(path.name for path in Path("/sys/block").glob("*"))


def some(*known: str) -> Completion:
    """Offers those of these names that begin with what was typed."""
    return names(lambda _: known)


#: What there are pictures of. Written out, since who presses the Tab key does not wait for the analyzer.
KINDS = some("latency", "heatmap", "subsecond", "rates", "timeline", "io")
METRICS = some("block.device", "block.queue", "block.total", "open", "process.lifetime")
TIMED_EVENTS = some(*(event for event in ALL_EVENTS if event not in ("process", "lost")))


def disks(context: click.Context) -> Iterable[str]:
    """Disks of the trace that was named before."""
    return _harmless(disk.name for disk in _trace(context).metadata.disks)


def commands(context: click.Context) -> Iterable[str]:
    """Commands that ran in the trace that was named before, or most of them."""
    batches = _trace(context).batches(*EVENTS["process"], columns=["comm"])
    return _harmless(name for rows in islice(batches, _MOST_GROUPS) for name in rows["comm"].unique().to_pylist())


def _trace(context: click.Context) -> Any:
    from tracekit.trace import open_trace

    # At an option without its value yet, click leaves arguments as they were typed.
    typed = [Path(word) for word in context.args if Path(word).is_file()]
    named = context.params.get("trace") or context.params.get("before")
    return open_trace(typed[-1] if typed else named or Path("trace.parquet"))


def _harmless(found: Iterable[str | None]) -> Iterator[str]:
    yield from sorted({name for name in found if name and _HARMLESS.fullmatch(name) and not name.startswith("-")})
