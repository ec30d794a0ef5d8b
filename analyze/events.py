"""The events of a trace, put together: processes, requests, opens, and when some were lost."""

from dataclasses import dataclass

from tracekit.analyze.blocks import BlockIO, read_blocks
from tracekit.analyze.opens import Opens, read_opens
from tracekit.analyze.processes import Lives, read_processes
from tracekit.analyze.results import LostWindow
from tracekit.analyze.windows import Windows, read_windows
from tracekit.trace import Trace


@dataclass(frozen=True)
class Events:
    """Everything that the analysis rests on."""

    lost: tuple[LostWindow, ...]
    lives: Lives
    blocks: BlockIO
    opens: Opens


def read_events(trace: Trace) -> Events:
    """Read what the analysis needs of a trace, and nothing else.

    Raises:
        TraceError: the file is damaged.
    """
    lost = read_windows(trace)
    return Events(
        lost,
        read_processes(trace, Windows.of(lost, "process")),
        read_blocks(trace, Windows.of(lost, "block")),
        read_opens(trace),
    )
