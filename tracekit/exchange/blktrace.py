"""What blktrace recorded: its binary files, one a CPU, and the text that blkparse makes of them.

A record is a `struct blk_io_trace` of the kernel's include/uapi/linux/blktrace_api.h, and what belongs to it behind.
"""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tracekit.exchange import blockio
from tracekit.exchange.intake import Facts, Intake
from tracekit.exchange.lines import Block, Ints, blocks, bools, chosen, found, groups, names, numbers, stamps, text
from tracekit.metadata import Anchor

REMEDY = "make it with 'blktrace -d DISK', or with 'blkparse -i DISK' as text"
MAGIC, _VERSION_MASK = 0x65617400, 0xFFFFFF00
_FIELDS = [
    ("magic", "u4"),
    ("sequence", "u4"),
    ("time", "u8"),
    ("sector", "u8"),
    ("bytes", "u4"),
    ("action", "u4"),
    ("pid", "u4"),
    ("device", "u4"),
    ("cpu", "u4"),
    ("error", "u2"),
    ("pdu_len", "u2"),
]
_SIZE = 48
_BLOCK_BYTES = 4 << 20
# BLK_TC_*, above the 16 bits of the action.
_WRITE, _FLUSH, _PASSTHROUGH, _NOTIFY, _DISCARD = (1 << bit + 16 for bit in (1, 2, 9, 10, 13))
_NOTE_PROCESS, _NOTE_TIME = 0, 1
_ACTIONS = {4: "block_start", 6: "block_requeue", 7: "block_issue", 8: "block_complete"}
_OTHERS = {1: "Q", 2: "M", 3: "F", 5: "S", 9: "P", 10: "U", 11: "UT", 12: "I", 13: "X", 14: "B", 15: "A", 16: "Abort"}
_OPS = ["read", "write", "discard", "flush"]

_LETTERS = {"G": "block_start", "R": "block_requeue", "D": "block_issue", "C": "block_complete"}
#: What tells a line of blkparse's from those of other tools.
LINE = (
    r" *(?P<major>\d{1,4}),(?P<minor>\d{1,7}) +(?P<cpu>\d{1,5}) +(?P<sequence>\d{1,10}) +"
    r"(?P<seconds>\d{1,9})\.(?P<fraction>\d{9}) +(?P<tid>\d{1,9}) +(?P<action>[A-Za-z]{1,3}) +(?P<rwbs>\w+) *"
    r"(?P<rest>.*)"
)
_REST = r"(?:(?P<sector>\d{1,19}) (?:\+ (?P<sectors>\d{1,9}) )?)?(?:\( *\d+\) )?\[(?P<last>.*)\]"
# The sums at the end.
_SUMS = (
    r"^(?:\s*|CPU\d+ \(.*\):|Total \(.*\):|Throughput .*|Events \(.*|Skips: .*|Input file .*|"
    r"\s+(?:Reads?|Writes?|IO unplugs|PC|Timer).*:.*)\n$"
)
_SKIPS = re.compile(rb"Skips: [\d,.]+ forward \(([\d,.]+)")


class BinaryReader:
    """Turns records into rows.

    Args:
        intake: takes them.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._comms: dict[int, bytes] = {}
        self._anchor: Anchor | None = None

    def take_notes(self, stream: BinaryIO) -> None:
        """Read only who is who and what time it was: the files of other CPUs may tell."""
        for records, payloads in _records(stream, None):
            self._notes(records, payloads)

    def read(self, stream: BinaryIO, disk: str | None) -> None:
        """Read the file of one CPU, of a disk that is called so."""
        before: tuple[int, int] | None = None
        for records, payloads in _records(stream, self._intake):
            self._notes(records, payloads)
            events = records[(records["action"] & _NOTIFY) == 0]
            if len(events):
                before = self._missing(events, before)
                self._rows(events, disk)
        self._intake.facts = Facts("blktrace", "CLOCK_MONOTONIC", anchor=self._anchor)

    def _notes(self, records: npt.NDArray[np.void], payloads: list[bytes]) -> None:
        notes = np.flatnonzero(records["action"] & _NOTIFY)
        for record, payload in zip(records[notes], (payloads[place] for place in notes), strict=True):
            kind = int(record["action"]) & 0xFFFF
            if kind == _NOTE_PROCESS and payload:
                self._comms[int(record["pid"])] = payload.split(b"\0")[0]
            elif kind == _NOTE_TIME and len(payload) >= 8 and self._anchor is None:
                seconds, nanoseconds = np.frombuffer(payload[:8], records.dtype["pid"]).tolist()
                self._anchor = Anchor(int(record["time"]), seconds * 10**9 + nanoseconds)

    def _missing(self, events: npt.NDArray[np.void], before: tuple[int, int] | None) -> tuple[int, int]:
        """Numbers that are missing in the sequence of a CPU are events that were dropped."""
        number, ts_ns = events["sequence"].astype(np.int64), events["time"].astype(np.int64)
        if before is not None:
            number, ts_ns = np.append(before[0], number), np.append(before[1], ts_ns)
        self._intake.lost(*_gaps(number, ts_ns), "block")
        return int(number[-1]), int(ts_ns[-1])

    def _rows(self, events: npt.NDArray[np.void], disk: str | None) -> None:
        action = events["action"] & 0xFFFF
        for code, count in zip(*np.unique(action, return_counts=True), strict=True):
            if int(code) not in _ACTIONS:
                self._intake.tally.passed_over[f"action {_OTHERS.get(int(code), int(code))}"] += int(count)
        kept = np.isin(action, list(_ACTIONS))
        events, action = events[kept], action[kept]
        if not len(events):
            return
        kinds = list(_ACTIONS)
        code = np.searchsorted(kinds, action)
        category = events["action"]
        op = np.where(category & _WRITE, 1, 0)
        op = np.where(category & _DISCARD, 2, op)
        op = np.where((category & _FLUSH != 0) & (events["bytes"] == 0), 3, op)
        op = np.where(category & _PASSTHROUGH, -1, op)
        dev = events["device"].astype(np.int64)
        tid, size = events["pid"].astype(np.int64), pa.array(events["bytes"].astype(np.int64))
        place = pa.array(events["sector"].astype(np.uint64))
        operation, sector = blockio.places(blockio.of_codes(op, _OPS), place, size)
        columns: dict[str, Any] = {
            "ts_ns": events["time"].astype(np.int64),
            "event": blockio.of_codes(code, list(_ACTIONS.values())),
            "cpu": events["cpu"].astype(np.int64) & 0xFFFF,
            "tid": tid & 0x7FFFFFFF,
            "comm": self._comm(tid),
            "ret": pa.array(errors(events["error"].astype(np.int64)), mask=action != 8),
            "dev": dev,
            "disk": disk if disk is not None else blockio.numbered(dev >> 20, dev & 0xFFFFF),
            "sector": sector,
            "bytes": size,
            "op": operation,
        }
        self._intake.add("block", len(events), columns)

    def _comm(self, tid: Ints) -> pa.Array:
        coded = pa.array(tid).dictionary_encode()
        called = [self._comms.get(one) for one in coded.dictionary.to_pylist()]
        return text(pa.array(called, pa.binary())).take(coded.indices)


def errors(values: Ints) -> Ints:
    """0 or -errno of what blktrace keeps of it: 16 bits without a sign."""
    signed = np.where(values > 0x7FFF, values - 0x10000, values)
    return np.where(signed > 0, -signed, signed)


def _records(stream: BinaryIO, intake: Intake | None) -> Iterator[tuple[npt.NDArray[np.void], list[bytes]]]:
    """Records and what is behind each, some megabytes at a time; what is no record is counted where somebody asks."""
    left, number, dtype = b"", 0, None
    while True:
        raw = stream.read(_BLOCK_BYTES)
        left += raw
        if dtype is None and len(left) >= 4:
            big = int.from_bytes(left[:4], "big") & _VERSION_MASK == MAGIC
            dtype = np.dtype([(name, f"{'>' if big else '<'}{kind}") for name, kind in _FIELDS])
        if dtype is None:
            return
        places, used, broken = _places(np.frombuffer(left, np.uint8), dtype, not raw)
        if broken and intake is not None:
            for _ in range(broken):
                intake.tally.no_sense(number + len(places), "bytes that are no record of blktrace's")
        if len(places):
            data = np.frombuffer(left, np.uint8)
            records = data[places[:, None] + np.arange(_SIZE)].view(dtype)[:, 0]
            lengths = records["pdu_len"].astype(np.int64)
            ends = places + _SIZE + lengths
            noted = (records["action"] & _NOTIFY) != 0
            payloads = (
                [
                    left[place + _SIZE : end] if note else b""
                    for place, end, note in zip(places, ends, noted, strict=True)
                ]
                if noted.any()
                else [b""] * len(places)
            )
            yield records, payloads
        number += len(places)
        left = left[used:]
        if not raw:
            return


def _places(data: npt.NDArray[np.uint8], dtype: np.dtype[Any], last: bool) -> tuple[Ints, int, int]:
    """Where records begin that are there as a whole, how many bytes they are, and how many breaks are between them."""
    magic = np.array([MAGIC], dtype["magic"]).view(np.uint8)
    tail = slice(1, 4) if dtype["magic"].str.startswith("<") else slice(0, 3)  # but for the version
    shift = tail.start
    wanted = magic[tail]
    size = max(len(data) - _SIZE + 1, 0)
    hit = np.ones(size, np.bool_)
    for offset, value in enumerate(wanted):
        hit &= data[shift + offset : shift + offset + size] == value
    candidates = np.flatnonzero(hit)
    if not len(candidates):
        return candidates, len(data) if last else max(len(data) - _SIZE, 0), int(last and len(data) > 0)
    lengths = data[candidates[:, None] + np.arange(46, 48)].view(dtype["pdu_len"])[:, 0].astype(np.int64)
    ends = candidates + _SIZE + lengths
    if (ends[:-1] == candidates[1:]).all() and candidates[0] == 0:
        keep, broken = np.ones(len(candidates), np.bool_), 0
    else:
        keep, broken = _chained(candidates, ends, len(data))
    whole = keep & (ends <= len(data))
    broken += int(last and bool((keep & (ends > len(data))).any()))
    used = int(ends[whole][-1]) if whole.any() else (0 if not last else len(data))
    cut = keep & (ends > len(data))
    if not last and not cut.any() and used < len(data) - _SIZE:
        used = len(data) - _SIZE  # nothing begins there
    if last and not cut.any() and used < len(data):
        broken += 1
    return candidates[whole], used, broken


def _chained(candidates: Ints, ends: Ints, size: int) -> tuple[npt.NDArray[np.bool_], int]:
    """The candidates that follow each other from the first, and how often the next one had to be searched for."""
    keep = np.zeros(len(candidates), np.bool_)
    expected, broken = 0, 0
    for place, (begin, end) in enumerate(zip(candidates.tolist(), ends.tolist(), strict=True)):
        if begin < expected and expected <= size:
            continue  # within what belongs to a record
        broken += begin != expected
        keep[place] = True
        expected = end
    return keep, broken


class TextReader:
    """Turns the lines of one blkparse output into rows.

    Args:
        intake: takes them.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._skipped: int | None = None
        self._before: dict[int, tuple[int, int]] = {}  # of each CPU the number of its last event, and when that was
        self._gaps: list[tuple[Ints, Ints, Ints]] = []

    def read(self, stream: BinaryIO) -> None:
        """Read a whole output."""
        for block in blocks(stream, self._intake.tally):
            self._block(block)
        if self._skipped != 0:  # where nothing was skipped, numbers are missing since somebody chose what to print
            for gaps in self._gaps:
                self._intake.lost(*gaps, "block")
        self._intake.facts = Facts("blkparse", "from the first event")

    def _look_for_gaps(self, line: dict[str, pa.Array]) -> None:
        cpus, numbered = numbers(line["cpu"]).to_numpy(), numbers(line["sequence"]).to_numpy()
        ts_ns = stamps(line["seconds"], line["fraction"])
        for cpu in np.unique(cpus).tolist():
            mine = (cpus == cpu) & (numbered > 0)  # messages have none
            number, times = numbered[mine], ts_ns[mine]
            if cpu in self._before:
                number, times = np.append(self._before[cpu][0], number), np.append(self._before[cpu][1], times)
            if len(number):
                self._gaps.append(_gaps(number, times))
                self._before[cpu] = int(number[-1]), int(times[-1])

    def _block(self, block: Block) -> None:
        lines, tally = block.lines, self._intake.tally
        good, line = groups(lines, LINE)
        if not good.all():
            tally.no_sense_at(lines, ~good & ~found(lines, _SUMS), block.first)
            for skips in lines.filter(pa.array(found(lines, "^Skips: "))).to_pylist():
                match = _SKIPS.match(skips)
                self._skipped = (self._skipped or 0) + (int(re.sub(rb"\D", b"", match[1])) if match else 0)
        self._look_for_gaps(line)
        action = line["action"].cast(pa.string()).dictionary_encode()
        letters = action.dictionary.to_pylist()
        events = [_LETTERS.get(one) for one in letters]
        kinds = list(_LETTERS.values())
        code = np.array([kinds.index(one) if one else -1 for one in events], np.int64)
        code = code[action.indices.to_numpy()] if len(events) else code
        counts = np.bincount(action.indices.to_numpy(), minlength=len(letters))
        for letter, count in zip(letters, counts, strict=True):
            if letter not in _LETTERS:
                tally.passed_over[f"action {letter}"] += int(count)
        kept = code >= 0
        line, code = chosen(line, kept), code[kept]
        fits, rest = groups(line["rest"], _REST)
        if not fits.all():
            wrong = np.zeros(len(block), np.bool_)
            wrong[np.flatnonzero(good)[kept][~fits]] = True
            # A command to the driver has no place, but what it says.
            passed = bools(pc.equal(line["rwbs"], b"N"))
            tally.no_sense_at(lines, wrong & ~_at(passed, np.flatnonzero(good)[kept], len(block)), block.first)
            line, code = chosen(line, fits), code[fits]
        if not len(code):
            return
        size = pc.multiply(pc.fill_null(numbers(rest["sectors"]), 0), 512)
        op, sector = blockio.places(blockio.ops(line["rwbs"]), numbers(rest["sector"], pa.uint64()), size)
        complete = code == kinds.index("block_complete")
        told, error = groups(rest["last"], r"(?P<error>-?\d{1,5})")
        ret = np.zeros(len(code), np.int64)
        ret[told] = errors(numbers(error["error"]).to_numpy())
        major, minor = (numbers(line[name]).to_numpy() for name in ("major", "minor"))
        # Of these two it prints the error where it has the command of others.
        unnamed = complete | (code == kinds.index("block_requeue"))
        comm = pc.if_else(pa.array(unnamed), pa.scalar(None, rest["last"].type), rest["last"])
        columns: dict[str, Any] = {
            "ts_ns": stamps(line["seconds"], line["fraction"]),
            "event": blockio.of_codes(code, kinds),
            "cpu": numbers(line["cpu"]),
            "tid": numbers(line["tid"]),
            "comm": names(comm),
            "ret": pa.array(ret, mask=~(complete & told)),
            "dev": major << 20 | minor,
            "disk": blockio.numbered(major, minor),
            "sector": sector,
            "bytes": size,
            "op": op,
        }
        self._intake.add("block", len(code), columns)


def _gaps(number: Ints, ts_ns: Ints) -> tuple[Ints, Ints, Ints]:
    """Where numbers are missing: the times before and after, and how many."""
    steps = np.diff(number) - 1
    at = np.flatnonzero(steps > 0)
    return ts_ns[at], np.maximum(ts_ns[at], ts_ns[at + 1]), steps[at]


def _at(values: npt.NDArray[np.bool_], places: Ints, size: int) -> npt.NDArray[np.bool_]:
    spread = np.zeros(size, np.bool_)
    spread[places] = values
    return spread
