"""Perfetto's own format, which opens in ui.perfetto.dev.

Each process is one of Perfetto's, with its arguments, and on its track are its life and the programs that it ran; its
threads have the files that they opened. I/O is on tracks by disk. Findings and losses have a track of their own.
All that is drawn is a packet with a TrackEvent: https://perfetto.dev/docs/reference/synthetic-track-event. On one
track, nothing begins before what is before it has ended, or within it ends later. Field numbers are those of Perfetto's
protos/perfetto/trace; what they mean to it is in its src/trace_processor.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tracekit.analyze import analyze
from tracekit.analyze.blocks import BlockIO, BlockStream, read_blocks
from tracekit.analyze.census import take_census
from tracekit.analyze.columns import NULL, OTHERS, Codes, Ints, arrow_ints, arrow_strings, ints
from tracekit.analyze.processes import Lives, read_processes, who_lived
from tracekit.analyze.selection import Selection
from tracekit.analyze.windows import Windows, read_windows
from tracekit.exchange.lanes import Lanes
from tracekit.exchange.protobuf import integer, join, message, raw, text, where
from tracekit.trace import Trace

_ALL = Selection()
_PIECE_ROWS = 1 << 13
_BEGIN, _END, _INSTANT = 1, 2, 3
_REALTIME, _BOOTTIME = 1, 6
# Numbers of tracks: a kind above, what it is of below.
_BLOCK, _FINDINGS, _LOST, _STRAYS = 1, 2, 3, 4
_PROCESS, _DISK, _LANE, _FINDING, _LOSS, _AGAIN = (kind << 56 for kind in (1, 2, 3, 4, 5, 6))
_THREAD = 1 << 62
_NOBODY = (1 << 30) - 1


def to_perfetto(trace: Trace, sink: BinaryIO) -> int:
    """Write a trace in Perfetto's format; findings are those of the report.

    Returns:
        How many packets were written.

    Raises:
        TraceError: the trace is damaged.
    """
    return _Exporter(trace, sink).export()


class _Exporter:
    def __init__(self, trace: Trace, sink: BinaryIO) -> None:
        self._trace, self._sink = trace, sink
        self._packets = 0
        self._windows = read_windows(trace)

    def export(self) -> int:
        self._clock()
        self._roots()
        lives = read_processes(self._trace, _ALL, Windows.of(self._windows, "process"))
        self._processes(_Tracks(lives, self._trace))
        self._io()
        self._lost()
        self._findings()
        return self._packets

    def _write(self, *packets: pa.Array) -> None:
        """Packets, those of one row behind each other; an empty one is none."""
        made = join(*(where(_there(packet), message(1, b"\x50\x01", packet)) for packet in packets))
        self._packets += sum(int(_there(packet).sum()) for packet in packets)
        self._sink.write(raw(made))

    def _clock(self) -> None:
        for anchor in self._trace.metadata.clock.anchors:
            clocks = [
                message(1, integer(1, np.array([clock])), integer(2, np.array([max(at, 0)])))
                for clock, at in ((_BOOTTIME, anchor.boot_ns), (_REALTIME, anchor.realtime_ns))
            ]
            self._write(join(integer(8, np.array([max(anchor.boot_ns, 0)])), message(6, *clocks)))

    def _roots(self) -> None:
        for uuid, name in (
            (_FINDINGS, "Findings"),
            (_LOST, "Lost events"),
            (_BLOCK, "Block I/O"),
            (_STRAYS, "Programs of unknown processes"),
        ):
            self._write(_descriptor(np.array([uuid]), text(2, name)))

    # --- processes ---

    def _processes(self, tracks: "_Tracks") -> None:
        lives, start_ns = tracks.lives, self._trace.start_ns
        known = np.flatnonzero(lives.pid > 0)
        named = _named(lives, known)
        uuid = _PROCESS | known
        again = np.append(False, lives.pid[known][1:] == lives.pid[known][:-1])[: len(known)]
        born = np.maximum(lives.started_ns[known], 0)
        described = (integer(1, lives.pid[known]), integer(7, born, lives.started_ns[known] == NULL))
        begin, end = tracks.begin_ns[known], tracks.end_ns[known]
        notes = [
            _number("pid", lives.pid[known]),
            _number("ppid", lives.ppid[known]),
            _string("path", _strings(lives.path[known])),
            _string("cgroup", _strings(lives.cgroup[known])),
            _number("exit_code", lives.exit_code[known]),
            _number("exit_signal", lives.exit_signal[known]),
            _number("started_before_ns", np.where((born > 0) & (born < start_ns), start_ns - born, NULL)),
        ]
        for piece in _pieces(len(known)):
            some = [part[piece] for part in described]
            one, name = known[piece], named[piece]
            # Where a pid is used again there is a track more: Perfetto tells only every other one of a pid apart.
            twice = where(again[piece], _descriptor(_AGAIN | one, message(3, some[0])))
            # A name that is all of the arguments is cut at a space, after which many servers say what they do.
            alone = where(_has_space(name), pa.scalar(text(3, "")))
            comm = message(3, name), alone, integer(9, np.ones_like(one))
            self._write(
                _told(begin[piece], twice),
                _told(begin[piece], _descriptor(uuid[piece], message(3, *some, message(6, name)))),
                _listed(lives, one, begin[piece], *comm),
                _event(begin[piece], uuid[piece], _BEGIN, name, "process", *(note[piece] for note in notes)),
            )
        self._arguments(tracks)
        self._execs(tracks)
        self._failed_execs(tracks)
        for piece in _pieces(len(known)):
            self._write(_event(end[piece], uuid[piece], _END))
        self._opens(tracks)

    def _arguments(self, tracks: "_Tracks") -> None:
        """Of what ran already; programs that start bring theirs."""
        for rows in self._rows("process", ("ts_ns", "pid", "argv", "uid")):
            life = tracks.life(ints(rows, "pid"), ints(rows, "ts_ns"))
            begin = np.maximum(ints(rows, "ts_ns"), tracks.begin_ns[life])
            self._write(_run(rows, tracks.lives, life, begin))

    def _execs(self, tracks: "_Tracks") -> None:
        """Each program runs until the next one of its process, or its end."""
        ends = tracks.ends_of_programs(self._rows("exec", ("ts_ns", "pid")))
        for rows in self._rows("exec", ("ts_ns", "pid", "tid", "comm", "path", "argv", "uid")):
            pid, ts_ns = ints(rows, "pid"), ints(rows, "ts_ns")
            life = tracks.life(pid, ts_ns)
            stray = life == NULL
            uuid = np.where(stray, _STRAYS, _PROCESS | life)
            begin = np.where(stray, ts_ns, np.clip(ts_ns, tracks.begin_ns[life], tracks.end_ns[life]))
            end = np.maximum(next(ends), begin)
            path = _text(rows, "path")
            begins = _event(
                begin,
                uuid,
                np.where(stray, _INSTANT, _BEGIN),
                pc.coalesce(path, _text(rows, "comm"), "?"),
                "exec",
                _string("path", path),
                _string("arguments", pc.binary_join(_binary_lists(rows.column("argv")), b" ")),
                _number("uid", ints(rows, "uid")),
            )
            self._write(_run(rows, tracks.lives, life, begin), begins, where(~stray, _event(end, uuid, _END)))

    def _failed_execs(self, tracks: "_Tracks") -> None:
        for rows in self._rows("exec_failed", ("ts_ns", "pid", "path", "ret")):
            life = tracks.life(ints(rows, "pid"), ints(rows, "ts_ns"))
            named = pc.binary_join_element_wise("fails: ", pc.coalesce(_text(rows, "path"), "?"), "")
            uuid = np.where(life == NULL, _STRAYS, _PROCESS | life)
            note = _number("ret", ints(rows, "ret"), ~_valid(rows, "ret"))
            self._write(_event(ints(rows, "ts_ns"), uuid, _INSTANT, named, "exec_failed", note))

    def _opens(self, tracks: "_Tracks") -> None:
        """On the thread; one thread has one call at a time, so that what a coarse clock makes overlap is cut."""
        seen = np.empty(0, np.int64)
        busy: dict[int, int] = {}
        for rows in self._rows("open", ("ts_ns", "pid", "tid", "comm", "path", "ret", "flags", "duration_ns", "cpu")):
            pid, tid, begin = ints(rows, "pid"), ints(rows, "tid"), ints(rows, "ts_ns")
            life = tracks.life(pid, begin)
            uuid = _THREAD | np.where(life == NULL, _NOBODY, life) << 32 | np.maximum(tid, 0)
            duration = ints(rows, "duration_ns")
            begin, end = _one_at_a_time(uuid, begin, begin + np.maximum(duration, 0), busy)
            new, first = np.unique(uuid, return_index=True)
            first = first[~np.isin(new, seen)]
            seen = np.union1d(seen, new)
            comm = _text(rows, "comm")
            if len(first):
                who = _thread(uuid[first], life[first], pid[first], tid[first], comm.take(pa.array(first)))
                self._write(_told(begin[first], who))
            begins = _event(
                begin,
                uuid,
                np.where(duration == NULL, _INSTANT, _BEGIN),
                pc.coalesce(_text(rows, "path"), "?"),
                "open",
                _number("ret", ints(rows, "ret"), ~_valid(rows, "ret")),
                _number("flags", ints(rows, "flags")),
                _number("cpu", ints(rows, "cpu")),
                _string("comm", comm),
            )
            self._write(begins, where(duration != NULL, _event(end, uuid, _END)))

    def _rows(self, event: str, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
        for batch in self._trace.batches(event, columns=columns):
            for start in range(0, batch.num_rows, _PIECE_ROWS):
                yield batch.slice(start, _PIECE_ROWS)

    # --- block I/O ---

    def _io(self) -> None:
        stream = BlockStream(take_census(self._trace, _ALL, "block"), Windows.of(self._windows, "block"))
        lanes = Lanes()
        lanes_seen = np.empty(0, np.int64)
        for _, found in read_blocks(self._trace, _ALL, stream):
            for start in range(0, len(found), _PIECE_ROWS):
                io = found[np.arange(start, min(start + _PIECE_ROWS, len(found)))]
                begin = np.where(io.issue_ns == NULL, io.start_ns, io.issue_ns)
                io, begin = io[begin != NULL], begin[begin != NULL]
                end = np.where(
                    io.in_flight, self._trace.end_ns, np.where(io.complete_ns == NULL, io.end_ns, io.complete_ns)
                )
                end = np.maximum(end, begin)  # where it is not known, nothing is drawn but a begin
                disk = np.where(io.disk.codes < 0, len(io.disk.names), io.disk.codes)
                order = np.argsort(begin, kind="stable")
                io, begin, end, disk = io[order], begin[order], end[order], disk[order]
                uuid = _LANE | disk << 32 | lanes.assign(disk, begin, end)
                new, first = np.unique(uuid, return_index=True)
                first = first[~np.isin(new, lanes_seen)]
                lanes_seen = np.union1d(lanes_seen, new)
                named = pc.coalesce(_strings(io.disk), "?")
                # Lanes of one name below one parent are shown as one track.
                lane = integer(5, np.full(len(first), _BLOCK)), message(2, named.take(pa.array(first)))
                self._write(_descriptor(uuid[first], *lane))
                self._write(self._io_begins(io, begin, uuid), _event(end, uuid, _END))

    def _io_begins(self, io: BlockIO, begin: Ints, uuid: Ints) -> pa.Array:
        unknown = (io.complete_ns == NULL) & (io.end_ns == NULL)
        fate = Codes(
            np.select([io.failed, io.in_flight, io.merged, unknown], [0, 1, 2, 3], NULL),
            ("failed", "still under way", "merged into another", "its end was not seen"),
        )
        queued = np.where((io.start_ns == NULL) | (io.first_issue_ns == NULL), NULL, io.first_issue_ns - io.start_ns)
        return _event(
            begin,
            uuid,
            _BEGIN,
            pc.coalesce(_strings(io.op), "?"),
            "block",
            _string("comm", _strings(io.comm)),
            _number("pid", io.pid),
            _number("sector", io.sector),
            _number("bytes", io.bytes),
            _number("queue_ns", queued),
            _number("depth", io.depth),
            _string("fate", _strings(fate)),
        )

    # --- marks ---

    def _lost(self) -> None:
        begin = np.array([window.start_ns for window in self._windows], np.int64)
        end = np.maximum(np.array([window.end_ns for window in self._windows], np.int64), begin)
        uuid = _LOSS | Lanes().assign(np.zeros(len(begin), np.int64), begin, end)
        named = [f"{window.lost:,} {window.family} events lost" for window in self._windows]
        self._marks(_LOST, "Lost events", uuid, (begin, end), [(name, "") for name in named])

    def _findings(self) -> None:
        findings, start_ns, end_ns = analyze(self._trace).findings, self._trace.start_ns, self._trace.end_ns
        offsets = [(one.where.start_ns, one.where.end_ns) for one in findings]
        begin = np.array([start_ns + (at or 0) for at, _ in offsets], np.int64)
        end = np.array([end_ns if at is None else start_ns + at for _, at in offsets], np.int64)
        told = [(f"{one.rank}. {one.title}", one.detail) for one in findings]
        uuid = _FINDING | np.arange(len(findings))
        self._marks(_FINDINGS, "Findings", uuid, (begin, np.maximum(end, begin)), told)

    def _marks(self, parent: int, track: str, uuid: Ints, span: tuple[Ints, Ints], told: list[tuple[str, str]]) -> None:
        """Stretches of time with a title and a detail."""
        if not told:
            return
        lane = np.unique(uuid)
        self._write(_descriptor(lane, integer(5, np.full(len(lane), parent)), text(2, track)))
        titles, details = (
            arrow_strings([one.encode("utf-8", "backslashreplace").decode() for one in column])
            for column in zip(*told, strict=True)
        )
        self._write(
            _event(span[0], uuid, _BEGIN, titles, "mark", _string("detail", details)),
            _event(span[1], uuid, _END),
        )


class _Tracks:
    """Which process a pid was at a time, and from when to when its life is drawn: within the recording."""

    def __init__(self, lives: Lives, trace: Trace) -> None:
        self.lives = lives
        start_ns = trace.start_ns
        self.begin_ns = np.maximum(np.where(lives.started_ns == NULL, lives.begin_ns, lives.started_ns), start_ns)
        ended = np.where(lives.exit_ns == NULL, trace.end_ns, lives.exit_ns)
        self.end_ns = np.maximum(ended, self.begin_ns)

    def life(self, pid: Ints, ts_ns: Ints) -> Ints:
        """The life of each pid at a time; -1 where nobody is known by it."""
        pids = self.lives.pid
        if not len(pids):
            return np.full(len(pid), NULL)
        first, behind = np.searchsorted(pids, pid, "left"), np.searchsorted(pids, pid, "right")
        found = np.where((behind > first) & (pid > 0), first, NULL)
        again = np.flatnonzero((behind - first > 1) & (pid > 0))
        if len(again):  # a pid that was used more than once
            some = np.flatnonzero(np.isin(pids, pid[again]))
            found[again] = some[who_lived(pids[some], self.lives.begin_ns[some], pid[again], ts_ns[again])]
        return np.asarray(found)

    def ends_of_programs(self, rows: Iterator[pa.RecordBatch]) -> Iterator[Ints]:
        """When each program that started gave way to the next or ended, for the same pieces of rows."""
        pieces = [(ints(piece, "ts_ns"), ints(piece, "pid")) for piece in rows]
        if not pieces:
            return
        ts_ns = np.concatenate([piece[0] for piece in pieces])
        life = self.life(np.concatenate([piece[1] for piece in pieces]), ts_ns)
        order = np.lexsort((ts_ns, life))
        following = np.full(len(life), np.iinfo(np.int64).max)
        same = np.append(life[order][1:] == life[order][:-1], False)
        following[order[same]] = ts_ns[order[np.flatnonzero(same) + 1]]
        end = np.where(life == NULL, ts_ns, np.minimum(following, self.end_ns[life]))
        at = 0
        for piece in pieces:
            yield end[at : at + len(piece[0])]
            at += len(piece[0])


def _one_at_a_time(track: Ints, begin: Ints, end: Ints, busy: dict[int, int]) -> tuple[Ints, Ints]:
    """Ends cut where the next one of the track begins; `busy` has what goes on beyond these rows, in time order."""
    if busy:
        held = np.array(sorted(busy), np.int64)
        place = np.minimum(np.searchsorted(held, track), len(held) - 1)
        until = np.array([busy[one] for one in held.tolist()], np.int64)[place]
        begin = np.where((held[place] == track) & (until > begin), until, begin)
        end = np.maximum(end, begin)
    order = np.lexsort((begin, track))
    same = track[order][1:] == track[order][:-1]
    following = np.full(len(track), np.iinfo(np.int64).max)
    following[order[:-1][same]] = begin[order[1:][same]]
    end = np.minimum(end, following)
    if len(begin):
        for one in [one for one, until in busy.items() if until <= begin[-1]]:
            del busy[one]
        late = np.flatnonzero(end > begin[-1])
        busy.update(zip(track[late].tolist(), end[late].tolist(), strict=True))
    return begin, end


# --- messages ---


def _descriptor(uuid: Ints, *parts: pa.Array | bytes) -> pa.Array:
    return message(60, integer(1, uuid), *parts)


def _told(ts_ns: Ints, descriptor: pa.Array) -> pa.Array:
    """A process or thread that is told at a time: by that Perfetto knows whose a pid is that is used again."""
    return where(_there(descriptor), join(integer(8, np.maximum(ts_ns, 0)), descriptor))


def _event(
    ts_ns: Ints,
    track: Ints,
    kind: int | npt.NDArray[Any],
    named: pa.Array | None = None,
    category: str = "",
    *notes: pa.Array,
) -> pa.Array:
    kinds = np.full(len(track), kind) if isinstance(kind, int) else kind
    parts: list[pa.Array | bytes] = [*notes, integer(9, kinds), integer(11, track)]
    if named is not None:
        parts += [text(22, category), message(23, named)]
    return join(integer(8, np.maximum(ts_ns, 0)), message(11, *parts))


def _number(name: str, values: Ints, unknown: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """An annotation with a number; -1 is none unless it is said what is."""
    absent = values == NULL if unknown is None else unknown
    return where(~absent, message(4, text(10, name), integer(4, values)))


def _string(name: str, values: pa.Array) -> pa.Array:
    there = values.is_valid().to_numpy(zero_copy_only=False)
    return where(there, message(4, text(10, name), message(6, values)))


def _listed(lives: Lives, life: Ints, ts_ns: Ints, *parts: pa.Array) -> pa.Array:
    """A process in Perfetto's list of them, which alone tells it of parents, arguments and users.

    Nothing where the parent is not known: Perfetto would take that for pid 0.
    """
    pid, ppid = lives.pid[life], lives.ppid[life]
    who = message(2, message(1, integer(1, pid), integer(2, ppid), *parts))
    return where((life != NULL) & (pid > 0) & (ppid != NULL), join(integer(8, np.maximum(ts_ns, 0)), who))


def _run(rows: pa.RecordBatch, lives: Lives, life: Ints, ts_ns: Ints) -> pa.Array:
    """A process listed with the arguments of what it runs; nothing where they are not known."""
    lists, uid = _binary_lists(rows.column("argv")), ints(rows, "uid")
    each = pa.ListArray.from_arrays(lists.offsets, message(3, lists.values))
    told = _listed(lives, life, ts_ns, pc.binary_join(each, b""), integer(5, uid, uid == NULL))
    return where(np.diff(lists.offsets.to_numpy()) > 0, told)


def _thread(uuid: Ints, life: Ints, pid: Ints, tid: Ints, comm: pa.Array) -> pa.Array:
    """A thread of a process; one whose process is not known has a track of its own."""
    belongs = message(4, integer(1, pid), integer(2, tid), message(5, comm))
    parent = integer(5, _PROCESS | np.maximum(life, 0), life == NULL)
    alone = message(2, pc.binary_join_element_wise("thread ", arrow_ints(tid).cast(pa.string()), ""))
    known = (pid > 0) & (tid >= 0)
    return _descriptor(uuid, where(known, join(parent, belongs)), where(~known, alone))


def _binary_lists(argv: pa.Array) -> pa.ListArray:
    """Lists of strings as lists of bytes, none null."""
    lengths = pc.fill_null(pc.list_value_length(argv), 0).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), argv.flatten().cast(pa.binary()))


def _there(made: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.greater(pc.binary_length(made), 0).to_numpy(zero_copy_only=False))


def _valid(rows: pa.RecordBatch, name: str) -> npt.NDArray[np.bool_]:
    return np.asarray(rows.column(name).is_valid().to_numpy(zero_copy_only=False))


def _text(rows: pa.RecordBatch, name: str) -> pa.Array:
    """A column of strings."""
    column = rows.column(name)
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column.cast(pa.string())


def _strings(values: Codes) -> pa.Array:
    names = ["others" if name == OTHERS else name for name in values.names]
    return arrow_strings(names or [""]).take(arrow_ints(values.codes, NULL))


def _named(lives: Lives, chosen: Ints) -> pa.Array:
    pid = pc.binary_join_element_wise("pid ", arrow_ints(lives.pid[chosen]).cast(pa.string()), "")
    return pc.coalesce(_strings(lives.comm[chosen]), _strings(lives.path[chosen]), pid)


def _has_space(names: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.match_substring(names, " ").to_numpy(zero_copy_only=False))


def _pieces(rows: int) -> Iterator[slice]:
    for start in range(0, rows, _PIECE_ROWS):
        yield slice(start, start + _PIECE_ROWS)
