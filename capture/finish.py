"""From journal to trace: at the end of a recording, or later if its recorder was killed."""

import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tracekit.capture.journal import JournalReader, Progress, journal_path
from tracekit.errors import TraceError
from tracekit.metadata import Metadata
from tracekit.schema import FAMILIES
from tracekit.units import SECOND_NS
from tracekit.writer import TraceWriter, check_output, replacing

ANCHOR_EVERY_NS = 60 * SECOND_NS


def write_trace(journal: JournalReader, output: Path, complete: bool) -> Metadata:
    """Turn a journal into a trace, and remove it.

    Returns:
        The footer that was written.

    Raises:
        TraceError: the journal ends before the first events were written to it.
    """
    progress = journal.progress()
    if not progress:
        raise TraceError(f"{journal.path} breaks off before the first events: there is nothing to recover")
    with replacing(output) as temporary:
        writer = TraceWriter(temporary)
        last_ns = progress[-1][0].boot_ns
        try:
            for family in FAMILIES:
                batches = list(journal.batches(family))
                if batches:
                    table = pa.Table.from_batches(batches).unify_dictionaries()
                    last_ns = max(last_ns, pc.max(table["ts_ns"]).as_py())
                    writer.write(family, table.take(pc.sort_indices(table["ts_ns"])))
            metadata = _footer(journal.start, progress, writer.rows, last_ns, complete)
            writer.close(metadata)
        except BaseException:
            writer.abandon()
            raise
        _give_to_caller_of_sudo(temporary)
    journal.remove()
    return metadata


def _footer(start: Metadata, progress: list[Progress], rows: dict[str, int], last_ns: int, complete: bool) -> Metadata:
    """The footer as at the start, with what the recording has become.

    A recovered file may hold rows that were written after the last counters: what is in it was seen.
    """
    anchors = list(start.clock.anchors)
    for anchor, _ in progress:
        if anchor.boot_ns - anchors[-1].boot_ns >= ANCHOR_EVERY_NS:
            anchors.append(anchor)
    last, counters = progress[-1]
    if last.boot_ns > anchors[-1].boot_ns:
        anchors.append(last)
    if not complete:
        counters = {
            family: replace(counts, written=rows[family], seen=counts.filtered + counts.lost + rows[family])
            for family, counts in counters.items()
        }
    return replace(
        start,
        duration_ns=last_ns - anchors[0].boot_ns,
        clock=replace(start.clock, anchors=tuple(anchors)),
        counters=counters,
        complete=complete,
    )


def _give_to_caller_of_sudo(path: Path) -> None:
    user, group = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
    if os.geteuid() == 0 and user and group:
        os.chown(path, int(user), int(group))


def recover(recording: Path, output: Path | None, force: bool) -> tuple[Path, Metadata, tuple[str, ...]]:
    """Make a trace of a recording whose recorder was killed.

    Args:
        recording: the trace that was to be, or its journal.
        output: the trace to write; by default the one that was to be.
        force: overwrite the output.

    Returns:
        The trace, its footer, and what of the journal was damaged.

    Raises:
        UsageError: there is nothing to recover, the recorder still runs, or the output exists.
        TraceError: the journal is damaged from its beginning.
    """
    name = recording.name
    if name.startswith(".") and name.endswith(".journal"):
        recording = recording.with_name(name.removeprefix(".").removesuffix(".journal"))
    output = output or recording
    journal = JournalReader(journal_path(recording))
    try:
        check_output(output, force)
        metadata = write_trace(journal, output, complete=False)
    finally:
        journal.close()
    return output, metadata, tuple(dict.fromkeys(journal.damaged))
