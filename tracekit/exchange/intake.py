"""From rows in any order to a trace: what every importer hands its rows to."""

import io
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tracekit import __version__
from tracekit.errors import TraceError
from tracekit.files import putting
from tracekit.metadata import Anchor, Clock, Counters, Metadata
from tracekit.schema import EVENTS, FAMILIES, MOST_NS, RECORDED_FAMILIES, family_schema
from tracekit.text import decode
from tracekit.writer import TraceWriter, with_own_dictionaries

#: Of all rows, as Arrow or numpy has it; or one string for all; or null.
Column: TypeAlias = pa.Array | npt.NDArray[Any] | str | None

Ints: TypeAlias = npt.NDArray[np.int64]

#: So many rows of a family are held before they go to a file of their own, sorted.
_RUN_ROWS = 1 << 17
# Of each run so many are read back at a time: when runs overlap, a piece of each is in memory.
_PIECE_ROWS = 1 << 14
_END_OF_TIME = np.iinfo(np.int64).max
_EXAMPLES = 3
_SECOND_NS = 1_000_000_000
#: Sources that number their events, so that losses show. Of the others nobody knows, unless they say it of some.
_COUNT_LOSSES = {"blktrace", "blkparse"}


@dataclass
class Tally:
    """What of a source did not become rows.

    Attributes:
        nonsense: lines (or rows, or records) that make no sense.
        examples: the first few of them: number and text.
        passed_over: what makes sense, but is no event of a trace: how many of each kind.
        notes: what a person should know, each one sentence.
    """

    nonsense: int = 0
    examples: list[tuple[int, str]] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def no_sense(self, number: int, text: bytes | str) -> None:
        """A line that makes no sense."""
        self.nonsense += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append((number, (decode(text[:400]) if isinstance(text, bytes) else text).rstrip("\n")))

    def no_sense_at(self, lines: pa.Array, wrong: npt.NDArray[np.bool_], first: int) -> None:
        """Lines that make no sense, of many, the first of which has the number `first`."""
        where = np.flatnonzero(wrong)
        for place in where[: _EXAMPLES - len(self.examples)]:
            self.examples.append((first + int(place), decode(lines[int(place)].as_py()[:400]).rstrip("\n")))
        self.nonsense += where.size


@dataclass
class Facts:
    """What a source says of itself and its machine; null is unknown.

    Attributes:
        anchor: one moment on the clock of the stamps and on the wall clock.
        metadata: a whole footer, of a source that had one.
    """

    backend: str
    clock: str = "unknown"
    resolution_ns: int = 1
    anchor: Anchor | None = None
    kernel: str | None = None
    arch: str | None = None
    cpus: int | None = None
    hostname: str | None = None
    metadata: Metadata | None = None


@dataclass(frozen=True)
class _Piece:
    """Sorted rows: at hand, or where they are in the file."""

    low_ns: int
    rows: pa.Table | None
    offset: int = 0
    length: int = 0


class Intake:
    """Takes rows of all families in any order, and writes them as a trace, in memory that does not grow with them.

    Args:
        folder: where what does not fit in memory is kept meanwhile, in a file without a name.
    """

    def __init__(self, folder: Path) -> None:
        self.tally = Tally()
        self.facts = Facts("unknown")
        #: Looks at rows once more when all are known, before they are written.
        self.revise: dict[str, Callable[[pa.Table], pa.Table]] = {}
        self.first_ns, self.last_ns = _END_OF_TIME, -_END_OF_TIME
        self._folder = folder
        self._spill: io.BufferedRandom | None = None
        self._held: dict[str, list[pa.RecordBatch]] = {family: [] for family in FAMILIES}
        self._held_rows = dict.fromkeys(FAMILIES, 0)
        self._pieces: dict[str, list[_Piece]] = {family: [] for family in FAMILIES}
        self._taken = 0
        self._lost = Counter[str]()

    @property
    def rows(self) -> int:
        """How many rows have been taken."""
        return self._taken

    @property
    def losses(self) -> int:
        """How many events the source lost."""
        return self._lost.total()

    def add(self, family: str, rows: int, columns: Mapping[str, Column]) -> None:
        """Take rows of one family; what is not given is null, and a string stands for all rows."""
        if not rows:
            return
        schema = family_schema(family).append(pa.field("order", pa.int64()))
        given = dict(columns) | {"order": np.arange(self._taken, self._taken + rows)}
        event = given["event"]
        if isinstance(event, pa.Array):  # a file must not have names of other events, not even unused
            place = pc.index_in(event.cast(pa.string()), value_set=pa.array(EVENTS[family]))
            given["event"] = pa.DictionaryArray.from_arrays(place, pa.array(EVENTS[family]))
        batch = pa.record_batch([_column(given.get(item.name), item.type, rows) for item in schema], schema=schema)
        times = batch["ts_ns"].to_numpy()
        self.first_ns, self.last_ns = min(self.first_ns, int(times.min())), max(self.last_ns, int(times.max()))
        self._taken += rows
        self._held[family].append(batch)
        self._held_rows[family] += rows
        if self._held_rows[family] >= _RUN_ROWS:
            self._settle(family, spill=True)

    def lost(self, start_ns: Column, end_ns: Ints, count: Ints, family: str | None) -> None:
        """Stretches of time in each of which the source lost so many events, of a family or of any."""
        self._lost[family or ""] += sum(count.tolist())
        columns: dict[str, Column] = {"ts_ns": end_ns, "start_ns": start_ns, "lost": count, "lost_family": family}
        self.add("lost", len(end_ns), columns | {"event": "lost"})

    def _settle(self, family: str, spill: bool) -> None:
        """Sort what is held, and cut it into pieces."""
        if not self._held[family]:
            return
        run = _sorted(pa.Table.from_batches(self._held[family]))
        self._held[family], self._held_rows[family] = [], 0
        for start in range(0, run.num_rows, _PIECE_ROWS):
            rows = with_own_dictionaries(run.slice(start, _PIECE_ROWS))
            low_ns = rows["ts_ns"][0].as_py()
            self._pieces[family].append(self._put(low_ns, rows) if spill else _Piece(low_ns, rows))

    def _put(self, low_ns: int, rows: pa.Table) -> _Piece:
        if self._spill is None:
            self._spill = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by close()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            writer.write_table(rows)
        raw, offset = sink.getvalue(), self._spill.tell()
        self._spill.write(raw)
        return _Piece(low_ns, None, offset, raw.size)

    def _load(self, piece: _Piece) -> pa.Table:
        if piece.rows is not None:
            return piece.rows
        assert self._spill is not None
        raw = os.pread(self._spill.fileno(), piece.length, piece.offset)
        return pa.ipc.open_stream(pa.py_buffer(raw)).read_all()

    def in_order(self, family: str) -> Iterator[pa.Table]:
        """The rows of a family in time order, those of one time in the order in which they were given."""
        self._settle(family, spill=False)
        if self._spill is not None:
            self._spill.flush()
        pieces = sorted(self._pieces[family], key=lambda piece: piece.low_ns)
        waiting: list[pa.Table] = []
        old = new = 0
        for piece, following in zip(pieces, [*pieces[1:], None], strict=False):
            waiting.append(self._load(piece))
            new += waiting[-1].num_rows
            # As many new rows as there are old ones are sorted in at once, so that each is sorted but a few times.
            if following is not None and new < max(old, _RUN_ROWS // 2):
                continue
            rows = _sorted(pa.concat_tables(waiting))
            horizon = _END_OF_TIME if following is None else following.low_ns
            ready = int(np.searchsorted(rows["ts_ns"].to_numpy(), horizon, "right" if following is None else "left"))
            waiting = [with_own_dictionaries(rows.slice(ready))]
            old, new = rows.num_rows - ready, 0
            if ready:
                yield rows.slice(0, ready).drop_columns("order")

    def write(self, output: Path, force: bool) -> Metadata:
        """Write the trace, whole or not at all.

        Raises:
            TraceError: there was no event.
            UsageError: a file with the output's name has come meanwhile.
            OSError: it cannot be written.
        """
        with putting(output, force) as temporary:
            return self._write(temporary)

    def _write(self, path: Path) -> Metadata:
        writer = TraceWriter(path)
        try:
            for family in FAMILIES:
                revise = self.revise.get(family, lambda rows: rows)
                for rows in map(revise, self.in_order(family)):
                    if rows.num_rows:
                        writer.write(family, rows)
            metadata = self._footer(writer.rows)
            if not self._can_be_read(metadata):
                raise TraceError(
                    "what is to be imported has times or losses that do not fit in a trace: is --time-unit right?"
                )
            writer.close(metadata)
        except BaseException:
            writer.abandon()
            raise
        return metadata

    def _can_be_read(self, metadata: Metadata) -> bool:
        """Whether a trace with this footer and with the rows that were taken is one."""
        try:
            Metadata.from_json(metadata.to_json())
        except TraceError:
            return False
        begin_ns = metadata.clock.anchors[0].boot_ns if metadata.clock.anchors else self.first_ns
        return max(begin_ns - self.first_ns, self.last_ns - begin_ns) <= MOST_NS

    def _footer(self, rows: Mapping[str, int]) -> Metadata:
        facts, lost = self.facts, self._lost
        if facts.metadata is not None and not self.tally.nonsense:
            return facts.metadata
        anchors: tuple[Anchor, ...] = ()
        if facts.anchor is not None:
            offset = facts.anchor.realtime_ns - facts.anchor.boot_ns
            ends = sorted({self.first_ns, self.last_ns})
            anchors = tuple(Anchor(at, at + offset) for at in ends)
        families = [family for family in RECORDED_FAMILIES if rows[family] or lost[family]]
        counters = {}
        if facts.backend in _COUNT_LOSSES or lost:
            for family in families:
                written, missing = rows[family], lost[family]
                counters[family] = Counters(seen=written + missing, written=written, lost_ring_full=missing)
        if facts.metadata is not None:  # rows made no sense, so that its own counters no longer add up
            return replace(facts.metadata, counters=counters)
        return Metadata(
            tool_version=__version__,
            created=_rfc3339(anchors[0].realtime_ns if anchors else None),
            duration_ns=self.last_ns - self.first_ns,
            kernel=facts.kernel,
            arch=facts.arch,
            cpus=facts.cpus,
            hostname=facts.hostname,
            backend=facts.backend,
            events=tuple(families),
            clock=Clock(facts.clock, facts.resolution_ns, anchors),
            counters=counters,
        )

    def check_anything(self, source: str, remedy: str) -> None:
        """Refuse a source that held no event.

        Raises:
            TraceError: it did not; the message says what to do.
        """
        if self._taken:
            return
        lines = "lines that make" if self.tally.nonsense > 1 else "line that makes"
        wrong = f", but {self.tally.nonsense:,} {lines} no sense" if self.tally.nonsense else ""
        if self.tally.passed_over:
            others = ", ".join(f"{name} ({count:,})" for name, count in self.tally.passed_over.most_common(3))
            wrong += f"; it has {others}"
        raise TraceError(f"{source} holds no event that a trace has{wrong}: {remedy}")

    def close(self) -> None:
        """Let go of what was kept outside memory."""
        if self._spill is not None:
            self._spill.close()


def _rfc3339(realtime_ns: int | None) -> str:
    try:
        when = datetime.now(UTC) if realtime_ns is None else datetime.fromtimestamp(realtime_ns // _SECOND_NS, UTC)
    except (OverflowError, ValueError, OSError):
        when = datetime.now(UTC)
    return when.isoformat(timespec="seconds")


def _column(given: Column, kind: pa.DataType, rows: int) -> pa.Array:
    if given is None:
        return pa.nulls(rows, kind)
    if isinstance(given, str):
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([given]))
    array = given if isinstance(given, pa.Array) else pa.array(np.ascontiguousarray(given))
    if pa.types.is_dictionary(kind) and not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    return array.cast(kind)


def _sorted(rows: pa.Table) -> pa.Table:
    rows = rows.unify_dictionaries().combine_chunks()
    times, order = rows["ts_ns"].to_numpy(), rows["order"].to_numpy()
    steps = np.diff(times)
    if ((steps > 0) | ((steps == 0) & (np.diff(order) > 0))).all():
        return rows
    return rows.take(np.lexsort((order, times)))
