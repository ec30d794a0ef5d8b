"""From journal to trace: at the end of a recording, while it runs, or later if its recorder was killed."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.capture.journal_reader import ANCHOR_EVERY_NS, JournalReader
from tracekit.errors import TraceError, TracekitError, UsageError
from tracekit.files import check_output, journal_path, putting, remove_discarded, remove_temporaries
from tracekit.metadata import Counters, Metadata
from tracekit.schema import FAMILIES
from tracekit.trace import open_trace
from tracekit.units import SECOND_NS
from tracekit.writer import TraceWriter, with_own_dictionaries

# Rows of a batch that are older than all before it by more than this (calls that took long) are set aside.
_LATE_NS = SECOND_NS
_PIECE_ROWS = 1 << 16
_END_OF_TIME = np.iinfo(np.int64).max

#: Gives the batches of a family, or some of their columns, and gives them again when called again.
Batches = Callable[[list[str] | None], Iterator[pa.RecordBatch]]


def write_trace(
    journal: JournalReader,
    output: Path,
    complete: bool,
    force: bool = False,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Metadata:
    """Turn a journal into a trace; the journal stays.

    Args:
        journal: what was recorded.
        output: the trace to write.
        complete: whether its recorder came to its end; it is then whole, or an error.
        force: overwrite the output.
        on_progress: called now and then with the share that is done.

    Returns:
        The footer that was written.

    Raises:
        UsageError: a file with the output's name has come meanwhile.
        TraceError: the journal is damaged.
        OSError: the trace cannot be written.
    """
    # What recording has left in Arrow's hands would be counted on top of what writing takes.
    pa.default_memory_pool().release_unused()
    remedy = f"keep what was recorded under another name with 'tracekit recover {output} -o NAME'"
    with putting(output, force, remedy) as temporary:
        metadata = _write(journal, temporary, complete, on_progress)
        give_to_caller_of_sudo(temporary)
    return metadata


def _write(journal: JournalReader, path: Path, complete: bool, on_progress: Callable[[float], None]) -> Metadata:
    writer = TraceWriter(path)
    began_ns, last_ns = journal.start.clock.anchors[0].boot_ns, journal.progress()[-1][0].boot_ns
    expected = max(sum(counts.written for counts in _counted(journal).values()), 1)
    early = dict.fromkeys(FAMILIES, 0)
    try:
        for family in FAMILIES:
            for rows in in_time_order(partial(journal.batches, family)):
                within = rows.slice(int(np.searchsorted(rows["ts_ns"].to_numpy(), began_ns)))
                early[family] += rows.num_rows - within.num_rows
                if within.num_rows:
                    last_ns = max(last_ns, within["ts_ns"][-1].as_py())
                    writer.write(family, within)
                on_progress(min(sum(writer.rows.values()) / expected, 1.0))
        metadata = _footer(journal, writer.rows, early, last_ns, complete)
        Metadata.from_json(metadata.to_json())  # what could not be read would take the journal's place
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
        batches: what is to be sorted.

    Yields:
        Tables, none empty: each sorted by time, and none of its rows older than any before.
    """
    lows: list[int] = []
    late_ones: set[int] = set()
    for number, times, on_time in _by_lateness(batches):
        lows.append(int(times[on_time].min(initial=_END_OF_TIME)))
        if not on_time.all():
            late_ones.add(number)
    # Behind each piece, the oldest row that is still to come.
    horizons = np.minimum.accumulate(np.array([*lows[1:], _END_OF_TIME])[::-1])[::-1][: len(lows)]
    waiting = _late_rows(batches, late_ones)
    newest = -_END_OF_TIME
    for piece, horizon in zip(_pieces(batches(None)), horizons, strict=True):
        times = _times(piece)
        on_time = _on_time(times, newest)
        newest = max(newest, int(times.max(initial=newest)))
        rows = _sorted(pa.concat_tables([*waiting, _part(piece, on_time)]))
        ready = int(np.searchsorted(rows["ts_ns"].to_numpy(), horizon))
        # Not with the names of all that went before, or they would grow from piece to piece.
        waiting = [with_own_dictionaries(rows.slice(ready))] if ready < rows.num_rows else []
        if ready:
            yield rows.slice(0, ready)


def _pieces(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches put together to what is worth sorting and writing at once: of a quiet machine each has but a few rows."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        if rows >= _PIECE_ROWS:
            yield pa.Table.from_batches(held)
            held, rows = [], 0
    if held:
        yield pa.Table.from_batches(held)


def _late_rows(batches: Batches, numbers: set[int]) -> list[pa.Table]:
    if not numbers:
        return []
    every = zip(_pieces(batches(None)), _by_lateness(batches), strict=True)
    return [_part(piece, ~on_time) for piece, (number, _, on_time) in every if number in numbers]


def _part(piece: pa.Table, wanted: npt.NDArray[np.bool_]) -> pa.Table:
    return piece if wanted.all() else piece.filter(pa.array(wanted))


def _sorted(rows: pa.Table) -> pa.Table:
    rows = rows.unify_dictionaries().combine_chunks()
    times = rows["ts_ns"].to_numpy()
    if (times[1:] >= times[:-1]).all():
        return rows
    return rows.take(np.argsort(times, kind="stable"))


def _by_lateness(batches: Batches) -> Iterator[tuple[int, npt.NDArray[np.int64], npt.NDArray[np.bool_]]]:
    """Of each piece its number, its times, and which of them are not much older than what came before."""
    newest = -_END_OF_TIME
    for number, piece in enumerate(_pieces(batches(["ts_ns"]))):
        times = _times(piece)
        yield number, times, _on_time(times, newest)
        newest = max(newest, int(times.max(initial=newest)))


def _on_time(times: npt.NDArray[np.int64], newest: int) -> npt.NDArray[np.bool_]:
    return times >= newest - _LATE_NS if newest > 0 else np.ones(times.size, np.bool_)


def _times(piece: pa.Table) -> npt.NDArray[np.int64]:
    times: npt.NDArray[np.int64] = piece.column("ts_ns").to_numpy()
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
            f"keep what is in it with 'tracekit recover {journal.path}'"
        )


def _counted(journal: JournalReader) -> dict[str, Counters]:
    """What became of the events between the beginning of the oldest segment and the last flush."""
    _, last = journal.progress()[-1]
    first = journal.start.counters
    # What a ring held in those moments had been seen, and was written later.
    counted = {
        family: (_settled(counts) if journal.goes_on else counts) - _settled(first.get(family, Counters()))
        for family, counts in last.items()
    }
    if "process" in counted:
        listed = journal.running()
        counts = counted["process"]
        counted["process"] = replace(counts, seen=counts.seen + listed, written=counts.written + listed)
    return counted


def _settled(counts: Counters) -> Counters:
    """Counters without the events that were still on their way."""
    return replace(counts, seen=counts.filtered + counts.written + counts.lost)


def _footer(
    journal: JournalReader, rows: dict[str, int], early: dict[str, int], last_ns: int, complete: bool
) -> Metadata:
    """The footer as at the start, with what the recording has become.

    What an older segment that is gone should have held, and came late, counts as filtered.
    """
    start = journal.start
    anchors = list(start.clock.anchors)
    for anchor, _ in journal.progress():
        if anchor.boot_ns - anchors[-1].boot_ns >= ANCHOR_EVERY_NS:
            anchors.append(anchor)
    last, _ = journal.progress()[-1]
    if last.boot_ns > anchors[-1].boot_ns:
        anchors.append(last)
    counters = {}
    for family, counts in _counted(journal).items():
        filtered, written = counts.filtered + early[family], counts.written - early[family]
        counters[family] = replace(counts, filtered=filtered, written=written)
        if not complete:
            damaged = sum(int(row["lost"]) for row in journal.lost if row["lost_family"] == family)
            seen = filtered + counts.lost + damaged + rows[family]
            counters[family] = replace(counters[family], written=rows[family], lost_damaged=damaged, seen=seen)
    return replace(
        start,
        duration_ns=last_ns - anchors[0].boot_ns,
        clock=replace(start.clock, anchors=tuple(anchors)),
        counters=counters,
        complete=complete,
    )


def give_to_caller_of_sudo(path: Path) -> None:
    """The file belongs to who called sudo, not to root; where that cannot be, it is root's."""
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() == 0 and user.isdecimal() and group.isdecimal():
        with contextlib.suppress(OSError):
            os.chown(path, int(user), int(group))


def recover(
    recording: Path,
    output: Path | None,
    force: bool,
    on_progress: Callable[[float], None] = lambda share: None,
) -> tuple[Path, Metadata, tuple[str, ...]]:
    """Make a trace of a recording whose recorder was killed, and remove its journal.

    Args:
        recording: the trace that was to be, or its journal.
        output: the trace to write; by default the one that was to be.
        force: overwrite the output.
        on_progress: called now and then with the share that is done.

    Returns:
        The trace, its footer, and what of the journal was damaged.

    Raises:
        UsageError: there is nothing to recover, the recorder still runs, or the output exists.
        TraceError: the journal is damaged from its beginning, or there is only a trace, and that is damaged.
    """
    name = recording.name
    if name.startswith(".") and name.endswith(".journal"):
        recording = recording.with_name(name.removeprefix(".").removesuffix(".journal"))
    output = output or recording
    if os.path.lexists(recording) and not os.path.lexists(journal_path(recording)):
        remove_discarded(recording)
        try:
            open_trace(recording)
        except TraceError as error:
            raise TraceError(
                f"{error}; it could only be recovered from the journal {journal_path(recording)}, and there is none"
            ) from error
        raise UsageError(f"{recording} is there, and there is no unfinished recording of it: nothing is to be done")
    try:
        journal = JournalReader(journal_path(recording))
    except UsageError:
        remove_discarded(recording)
        raise
    try:
        metadata = _written_already(journal, output)
        if metadata is None:
            check_output(output, force)
            remove_temporaries(output)
            metadata = write_trace(journal, output, complete=False, force=force, on_progress=on_progress)
        open_trace(output).verify()  # while there still is the journal
        remove_temporaries(recording)
        journal.remove()
    finally:
        journal.close()
    return output, metadata, tuple(dict.fromkeys(journal.damaged))


def _written_already(journal: JournalReader, output: Path) -> Metadata | None:
    """The footer of the output if it is the trace of this very journal: who wrote it was killed before the rest."""
    try:
        metadata = open_trace(output).metadata
    except TracekitError:
        return None
    ends = [journal.start.clock.anchors[0], journal.progress()[-1][0]]
    anchors = metadata.clock.anchors
    return metadata if anchors and ends == [anchors[0], anchors[-1]] else None
