"""Exporting: a trace in the format of another tool."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tracekit.errors import UsageError
from tracekit.exchange.perfetto import to_perfetto
from tracekit.exchange.tables import to_arrow, to_csv, to_jsonl
from tracekit.files import check_output, putting
from tracekit.schema import ALL_EVENTS, FAMILY_OF
from tracekit.trace import Trace

STDOUT = Path("-")
#: The formats, and how the name of a file of each ends.
ENDINGS = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".pftrace": "perfetto",
    ".perfetto-trace": "perfetto",
}


@dataclass(frozen=True)
class Export:
    """What to export.

    Attributes:
        trace: a recording.
        output: the file to write, or `-` for the standard output.
        format: one of the values of `ENDINGS`; null to go by the end of the output's name.
        events: which events, of formats with rows; none for all.
        force: overwrite the output.
    """

    trace: Path
    output: Path
    format: str | None = None
    events: tuple[str, ...] = ()
    force: bool = False

    @property
    def chosen(self) -> str:
        """The format.

        Raises:
            UsageError: it cannot be told.
        """
        by_name = ENDINGS.get(self.output.suffix.lower())
        if self.format is None and by_name is None:
            what = "the standard output" if self.output == STDOUT else str(self.output)
            raise UsageError(
                f"the format of {what} is not known: give --format, or a name that ends in {', '.join(ENDINGS)}"
            )
        return self.format or str(by_name)


def give(request: Export, on_read: Callable[[int], None] = lambda rows: None) -> int:
    """Export a trace.

    Args:
        on_read: see `Trace`.

    Returns:
        How many rows, or packets of Perfetto's, were written.

    Raises:
        UsageError: there is no such trace or event; or the output cannot be written.
        TraceError: the trace is damaged.
        OSError: the output cannot be written.
    """
    format = request.chosen
    for event in request.events:
        if event not in FAMILY_OF:
            raise UsageError(f"there is no event {event!r}: there are {', '.join(ALL_EVENTS)}")
    if request.events and format == "perfetto":
        raise UsageError(
            "--event is for formats with rows: Perfetto's has processes and I/O, made of several events each"
        )
    trace = Trace(request.trace)
    trace.on_read = on_read
    if request.output == STDOUT:
        return _write(format, trace, sys.stdout.buffer, request.events, stream=True)
    check_output(request.output, request.force, [request.trace])
    with putting(request.output, request.force) as temporary, temporary.open("wb") as file:
        return _write(format, trace, file, request.events, stream=False)


def _write(format: str, trace: Trace, sink: BinaryIO, events: Sequence[str], stream: bool) -> int:
    if format == "perfetto":
        return to_perfetto(trace, sink)
    if format == "arrow":
        return to_arrow(trace, sink, events, stream)
    return (to_csv if format == "csv" else to_jsonl)(trace, sink, events)
