"""Writing a trace from another: whole or not at all, and one line where the other is damaged."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from tracekit.errors import TraceError, first_line
from tracekit.files import putting
from tracekit.metadata import Metadata
from tracekit.trace import Trace
from tracekit.writer import TraceWriter


@contextlib.contextmanager
def one_line_for_damage(trace: Trace) -> Iterator[None]:
    """What cannot be read in this block is the trace's fault.

    Raises:
        TraceError: a string is no text, or a number fits no column.
    """
    try:
        yield
    except (UnicodeDecodeError, OverflowError, pa.ArrowInvalid) as error:
        raise TraceError(f"{trace.path} is damaged: {first_line(error)}") from error


def write_from(trace: Trace, output: Path, force: bool, fill: Callable[[TraceWriter], Metadata]) -> Metadata:
    """Write a trace.

    Args:
        trace: where the events are from.
        output: the trace to write.
        force: overwrite the output.
        fill: writes the rows, and gives the footer.

    Returns:
        The footer.

    Raises:
        TraceError: the other one is damaged.
        OSError: the output cannot be written.
    """
    with putting(output, force) as temporary:
        writer = TraceWriter(temporary)
        try:
            with one_line_for_damage(trace):
                metadata = fill(writer)
                writer.close(metadata)
        except BaseException:
            writer.abandon()
            raise
    return metadata
