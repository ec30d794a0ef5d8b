"""From journal to trace: at the end of a recording, or later if its recorder was killed."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from tracekit.capture.journal import JournalReader, Progress
from tracekit.errors import TraceError, UsageError
from tracekit.metadata import Metadata
from tracekit.schema import FAMILIES
from tracekit.trace import journal_path
from tracekit.units import SECOND_NS
from tracekit.writer import TraceWriter, check_output, putting, remove_temporaries

ANCHOR_EVERY_NS = 60 * SECOND_NS
# Rows of a batch that are older than all before it by more than this (calls that took long) are set aside.
_LATE_NS = 5 * SECOND_NS
_END_OF_TIME = np.iinfo(np.int64).max

Batches = Callable[[], Iterator[pa.RecordBatch]]


def write_trace(journal: JournalReader, output: Path, complete: bool, force: bool = False) -> Metadata:
    """Turn a journal into a trace, and remove it.

    Args:
        journal: what was recorded.
        output: the trace to write.
        complete: whether its recorder came to its end; it is then whole, or an error.
        force: overwrite the output.

    Returns:
        The footer that was written.

    Raises:
        UsageError: a file with the output's name has come meanwhile.
        TraceError: the journal ends before the first events were written to it, or is damaged.
        OSError: the trace cannot be written. In each of these cases the journal stays.
    """
    progress = journal.progress()
    if not progress:
        raise TraceError(f"{journal.path} breaks off before the first events: there is nothing to recover")
    remove_temporaries(output)
    try:
        with putting(output, force) as temporary:
            metadata = _write(journal, temporary, progress, complete)
            _give_to_caller_of_sudo(temporary)
    except FileExistsError:
        raise UsageError(
            f"{output} has come while recording: keep what was recorded under another name with "
            f"'tracekit recover {output} -o NAME'"
        ) from None
    journal.remove()
    return metadata


def _write(journal: JournalReader, path: Path, progress: list[Progress], complete: bool) -> Metadata:
    writer = TraceWriter(path)
    last_ns = progress[-1][0].boot_ns
    try:
        for family in FAMILIES:
            for rows in in_time_order(partial(journal.batches, family)):
                last_ns = max(last_ns, rows["ts_ns"][-1].as_py())
                writer.write(family, rows)
        metadata = _footer(journal.start, progress, writer.rows, last_ns, complete)
        if complete:
            _check_whole(journal, metadata, writer.rows)
        writer.close(metadata)
    except BaseException:
        writer.abandon()
        raise
    return metadata


def in_time_order(batches: Batches) -> Iterator[pa.Table]:
    """Rows of batches that are nearly in order, a piece at a time, in memory that does not grow with their number.

    Args:
        batches: gives the batches, and gives them again when called again.

    Yields:
        Tables, none empty: each sorted by time, and none of its rows older than any before.
    """
    late: list[pa.RecordBatch] = []
    lows: list[int] = []
    for batch, on_time in _by_lateness(batches()):
        late.append(batch.filter(pa.array(~on_time)))
        lows.append(int(_times(batch)[on_time].min(initial=_END_OF_TIME)))
    # Behind each batch, the oldest row that is still to come.
    horizons = np.minimum.accumulate(np.array([*lows[1:], _END_OF_TIME])[::-1])[::-1][: len(lows)]
    waiting = [pa.Table.from_batches(late)] if late else []
    for (batch, on_time), horizon in zip(_by_lateness(batches()), horizons, strict=True):
        waiting.append(pa.Table.from_batches([batch.filter(pa.array(on_time))]))
        rows = pa.concat_tables(waiting).unify_dictionaries().combine_chunks()
        rows = rows.take(np.argsort(rows["ts_ns"].to_numpy(), kind="stable"))
        ready = int(np.searchsorted(rows["ts_ns"].to_numpy(), horizon))
        waiting = [rows.slice(ready)]
        if ready:
            yield rows.slice(0, ready)


def _by_lateness(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, np.typing.NDArray[np.bool_]]]:
    newest = -_END_OF_TIME
    for batch in batches:
        times = _times(batch)
        yield batch, times >= newest - _LATE_NS if newest > 0 else np.ones(times.size, np.bool_)
        newest = max(newest, int(times.max(initial=newest)))


def _times(batch: pa.RecordBatch) -> np.typing.NDArray[np.int64]:
    times: np.typing.NDArray[np.int64] = batch.column("ts_ns").to_numpy()
    return times


def _check_whole(journal: JournalReader, metadata: Metadata, rows: dict[str, int]) -> None:
    missing = [
        f"{rows[family]} of {counters.written} {family} events are left"
        for family, counters in metadata.counters.items()
        if rows[family] != counters.written
    ]
    if missing or journal.damaged:
        raise TraceError(
            f"the journal {journal.path} was damaged while recording: {', '.join(missing or journal.damaged)}; "
            "keep what is in it with 'tracekit recover'"
        )


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
        os.chown(path, int(user), int(group), follow_symlinks=False)


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
    try:
        journal = JournalReader(journal_path(recording))
    except PermissionError:
        raise UsageError(
            f"the recording at {journal_path(recording)} is another user's: recover it as that user, or with sudo"
        ) from None
    try:
        check_output(output, force)
        metadata = write_trace(journal, output, complete=False, force=force)
        remove_temporaries(recording)
    finally:
        journal.close()
    return output, metadata, tuple(dict.fromkeys(journal.damaged))
