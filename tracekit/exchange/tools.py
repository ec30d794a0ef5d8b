"""What execsnoop, opensnoop, biosnoop and exitsnoop print, of bcc and of bpftrace.

Each has a line of headings, which names its columns; versions and options differ in which there are and in what order.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracekit.exchange import blockio
from tracekit.exchange.intake import Facts, Intake
from tracekit.exchange.lines import (
    Block,
    Bools,
    Ints,
    blocks,
    bools,
    chosen,
    found,
    groups,
    names,
    numbers,
    resolution_ns,
    stamps,
    text,
)

REMEDY = "its line of headings is needed, such as 'PID COMM FD ERR PATH'"
_MS, _SECOND_NS, _DAY_NS = 1_000_000, 1_000_000_000, 86_400 * 1_000_000_000
#: Times that count from the start of the tool begin here, so that what was under way then has a time, too.
BEGIN_NS = 1000 * _DAY_NS

_WORDS = re.compile(rb"DISK ID|\S+")
_HEADING = r"^ *(?:TIME\S*|UID|PID|P?COMM)(?: .*)? (?:ARGS|PATH|LAT\(ms\)|EXIT_CODE) *\n$"
_LOST = r"^(?:Possibly lost|Lost) (?P<lost>\d{1,18}) (?:samples|events)"
_IDLE = r"^(?:\s*|\^C|Attach(?:ing|ed) \d+ probes?.*|Tracing .*|\s*MAJOR MINOR|(?:Possibly l|L)ost \d+ \w+)\n$"
_NUMBER, _CLOCK = r"-?\d{1,9}", r"\d\d:\d\d:\d\d(?:\.\d{1,9})?"
_OF_COLUMN = {
    "TIME": _CLOCK,
    "TIME(s)": r"\d{1,9}\.\d{1,9}",
    "TIME(ms)": r"\d{1,12}",
    # As wide as it is printed, where it is: a command may have blanks and numbers in it.
    "COMM": ".{16}|.{14}|.{0,16}?",
    "PCOMM": ".{16}|.{0,16}?",
    "LABEL": r"\S*",
    "T": r"\S*",
    "FLAGS": "[0-7]{1,11}",
    "MODE": "[0-7]{1,6}|n/a",
    "SECTOR": r"-1|\d{1,19}",
    "LAT(ms)": r"\d{1,9}(?:\.\d{1,6})?",
    "QUE(ms)": r"\d{1,9}(?:\.\d{1,6})?",
    "AGE(s)": r"\d{1,9}\.\d{1,6}",
    "DISK ID": r"\d{1,4} +\d{1,7}",
    "DISK": r"\S+",
    "EXIT_CODE": r"0|code \d{1,3}|signal \d{1,3} \(.*",
    "ARGS": ".*",
    "PATH": ".*",
} | dict.fromkeys(("UID", "PID", "PPID", "TID", "CPU", "RET", "FD", "ERR", "BYTES"), _NUMBER)
# The columns by which each tool is known.
_TOOLS = {
    "biosnoop": ("DISK", "LAT(ms)"),
    "exitsnoop": ("PID", "AGE(s)", "EXIT_CODE"),
    "opensnoop": ("FD", "ERR", "PATH"),
    "execsnoop": ("PID", "ARGS"),
}
_FAMILIES = {"biosnoop": "block", "opensnoop": "open", "execsnoop": "process", "exitsnoop": "process"}


@dataclass(frozen=True)
class Heading:
    """A line of headings: the tool, its columns, and the pattern of its lines with the groups c0, c1, ..."""

    tool: str
    columns: tuple[str, ...]

    @property
    def pattern(self) -> str:
        parts = []
        for number, name in enumerate(self.columns):
            known = _CLOCK if name.startswith("TIME-") else _OF_COLUMN.get(name, r"\S+")
            parts.append(f"(?P<c{number}>{known})")
        return f" *{' +'.join(parts)} *" if self.columns[-1] not in ("ARGS", "PATH") else f" *{' +'.join(parts)}"

    @property
    def by_bpftrace(self) -> bool:
        """Whether it is bpftrace's: its columns are fewer."""
        if self.tool == "execsnoop":
            return "RET" not in self.columns
        return self.tool == "biosnoop" and "SECTOR" not in self.columns


def heading_of(line: bytes) -> Heading | None:
    """What a line of headings says; null for another line."""
    if not re.match(_HEADING.encode(), line.rstrip(b"\r\n") + b"\n"):
        return None
    columns = tuple(word.decode() for word in _WORDS.findall(line) if word.isascii())
    plain = ["DISK" if name == "DISK ID" else name for name in columns]
    tool = next((tool for tool, needed in _TOOLS.items() if set(needed) <= set(plain)), None)
    return None if tool is None or len(set(columns)) < len(columns) else Heading(tool, columns)


class ToolReader:
    """Turns the lines of one output into rows.

    Args:
        intake: takes them.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._heading: Heading | None = None
        self._requests = 0
        self._last_ns, self._days = -1, 0
        self._resolution_ns = 1
        self._lost: list[tuple[int, int, str]] = []  # where it was said: the time before, how many, of which family
        self._timeless = self._wall = False

    def read(self, stream: BinaryIO) -> None:
        """Read a whole output."""
        for block in blocks(stream, self._intake.tally):
            headings = np.flatnonzero(found(block.lines, _HEADING))
            ends = [*headings.tolist(), len(block)]
            self._part(Block(block.first, block.lines[: ends[0]]))
            for start, end in itertools.pairwise(ends):
                self._heading = heading_of(block.lines[start].as_py()) or self._heading
                self._part(Block(block.first + start + 1, block.lines[start + 1 : end]))
        self._finish()

    def _part(self, block: Block) -> None:
        """Lines below one heading."""
        if not len(block):
            return
        heading, lines = self._heading, block.lines
        if heading is None:
            good, fields = np.zeros(len(block), np.bool_), {}
        else:
            good, named = groups(lines, heading.pattern)
            idle = found(lines, _IDLE) if "ARGS" not in heading.columns else np.zeros(len(block), np.bool_)
            if (good & idle).any():
                named, good = chosen(named, ~idle[good]), good & ~idle
            fields = {name: named[f"c{number}"] for number, name in enumerate(heading.columns)}
        wrong = ~good
        if wrong.any():
            wrong &= ~found(lines, _IDLE)
            self._intake.tally.no_sense_at(lines, wrong, block.first)
        ts_ns = self._times(fields, int(good.sum())) if heading is not None and good.any() else np.zeros(0, np.int64)
        if heading is not None:
            self._look_for_lost(heading, lines, good, ts_ns)
        if heading is not None and good.any():
            getattr(self, f"_{heading.tool}")(heading, fields, ts_ns)
            self._last_ns = int(ts_ns[-1])

    def _times(self, fields: dict[str, pa.Array], rows: int) -> Ints:
        """When; the wall clock begins anew at midnight."""
        name = next((name for name in fields if name.startswith("TIME(")), None)
        if name == "TIME(s)":
            seconds, fraction = _decimal(fields[name])
            micros = self._heading is not None and self._heading.tool in ("opensnoop", "biosnoop")
            self._coarse(max(resolution_ns(fraction), 1000 if micros else 1))
            return BEGIN_NS + stamps(seconds, fraction)
        if name == "TIME(ms)":
            self._coarse(_MS)
            return np.asarray(BEGIN_NS + numbers(fields[name]).to_numpy() * _MS)
        name = next((name for name in fields if name == "TIME" or name.startswith("TIME-")), None)
        if name is None:
            self._timeless = True
            return np.full(rows, BEGIN_NS)
        self._wall = True
        pattern = r"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)(?:\.(?P<f>\d{1,9}))?"
        part = groups(fields[name], pattern)[1]
        self._coarse(resolution_ns(part["f"]))
        minutes = numbers(part["h"]).to_numpy() * 60 + numbers(part["m"]).to_numpy()
        of_day = minutes * 60 * _SECOND_NS + stamps(part["s"], part["f"])
        before = self._last_ns - BEGIN_NS - self._days * _DAY_NS if self._last_ns >= 0 else int(of_day[0])
        steps = np.diff(of_day, prepend=before)
        days = self._days + np.cumsum(steps < -_DAY_NS // 2) - np.cumsum(steps > _DAY_NS // 2)
        self._days = int(days[-1])
        return np.asarray(BEGIN_NS + of_day + days * _DAY_NS)

    def _coarse(self, resolution: int) -> None:
        self._resolution_ns = max(self._resolution_ns, resolution)

    def _look_for_lost(self, heading: Heading, lines: pa.Array, good: Bools, ts_ns: Ints) -> None:
        there = np.flatnonzero(~good & found(lines, _LOST))
        if not len(there):
            return
        counts = pc.extract_regex(lines.take(pa.array(there)), _LOST).field(0).to_pylist()
        before = np.cumsum(good)[there]
        for place, count in zip(before, counts, strict=True):
            at_ns = int(ts_ns[place - 1]) if place else self._last_ns
            self._lost.append((at_ns, int(count), _FAMILIES[heading.tool]))

    def _common(self, fields: dict[str, pa.Array], ts_ns: Ints) -> dict[str, Any]:
        comm = fields.get("COMM", fields.get("PCOMM"))
        columns: dict[str, Any] = {"ts_ns": ts_ns, "comm": None if comm is None else names(_stripped(comm))}
        for ours, theirs in (("pid", "PID"), ("tid", "TID"), ("ppid", "PPID"), ("uid", "UID"), ("cpu", "CPU")):
            if theirs in fields:
                value = numbers(fields[theirs])
                columns[ours] = pc.if_else(pc.less(value, 0), pa.scalar(None, value.type), value)
        return columns

    def _execsnoop(self, heading: Heading, fields: dict[str, pa.Array], ts_ns: Ints) -> None:
        argv = pc.split_pattern(text(fields["ARGS"]), " ")
        columns = self._common(fields, ts_ns) | {"argv": argv, "path": pc.list_element(argv, 0)}
        if heading.by_bpftrace:  # which tells of the attempt only
            self._intake.add("process", len(ts_ns), columns | {"event": "exec"})
            return
        ret = numbers(fields["RET"]).to_numpy()
        for event, mask in (("exec", ret >= 0), ("exec_failed", ret < 0)):
            some = chosen({name: values for name, values in columns.items() if values is not None}, mask)
            failed = {"ret": ret[mask]} if event == "exec_failed" else {}
            self._intake.add("process", int(mask.sum()), some | failed | {"event": event})

    def _opensnoop(self, heading: Heading, fields: dict[str, pa.Array], ts_ns: Ints) -> None:
        fd, error = numbers(fields["FD"]).to_numpy(), numbers(fields["ERR"]).to_numpy()
        columns = self._common(fields, ts_ns) | {
            "event": "open",
            "path": names(fields["PATH"]),
            "ret": np.where(error > 0, -error, fd),
        }
        for ours, theirs in (("flags", "FLAGS"), ("mode", "MODE")):
            if theirs in fields:
                columns[ours] = _octal(fields[theirs])
        self._intake.add("open", len(ts_ns), columns)

    def _exitsnoop(self, heading: Heading, fields: dict[str, pa.Array], ts_ns: Ints) -> None:
        code = groups(fields["EXIT_CODE"], r"(?:(?:code )?(?P<code>\d{1,3})|signal (?P<signal>\d{1,3}) \(.*)")[1]
        seconds, fraction = _decimal(fields["AGE(s)"])
        self._coarse(resolution_ns(fraction))
        start_ns = ts_ns - stamps(seconds, fraction)
        # A signal's number has 7 bits, a code 8.
        exit_code, signal = (pc.fill_null(numbers(code[name]), 0).to_numpy() for name in ("code", "signal"))
        columns = self._common(fields, ts_ns) | {
            "start_ns": pa.array(np.maximum(start_ns, 0), mask=start_ns < 0) if not self._timeless else None,
            "exit_code": exit_code & 0xFF,
            "exit_signal": signal & 0x7F,
        }
        whole = np.ones(len(ts_ns), np.bool_)
        if "TID" in fields:
            whole = bools(pc.equal(columns["pid"], columns["tid"]))
            if not whole.all():
                self._intake.tally.passed_over["the end of a thread"] += int((~whole).sum())
        some = chosen({name: values for name, values in columns.items() if values is not None}, whole)
        self._intake.add("process", int(whole.sum()), some | {"event": "exit"})

    def _biosnoop(self, heading: Heading, fields: dict[str, pa.Array], ts_ns: Ints) -> None:
        """A line is an I/O that completed: its events are that far before."""
        rows = len(ts_ns)
        latency_ns, queue_ns = _milliseconds(fields["LAT(ms)"]), None
        self._coarse(_resolution_of_ms(fields["LAT(ms)"]))
        if "QUE(ms)" in fields:
            queue_ns = _milliseconds(fields["QUE(ms)"])
        who = self._common(fields, ts_ns)
        where: dict[str, Any] = _disk(fields)
        where["request"] = np.arange(self._requests, self._requests + rows) & 0xFFFFFFFF
        self._requests += rows
        if "T" in fields:
            size = numbers(fields["BYTES"]) if "BYTES" in fields else pa.nulls(rows, pa.int64())
            sector = numbers(fields["SECTOR"]) if "SECTOR" in fields else pa.nulls(rows, pa.int64())
            sector = pc.if_else(pc.less(sector, 0), pa.scalar(None, sector.type), sector)
            where["op"], where["sector"] = blockio.places(blockio.ops(fields["T"]), sector, size)
            where["bytes"] = size
        first = "block_start" if heading.by_bpftrace else "block_issue"
        if queue_ns is not None:
            self._intake.add(
                "block", rows, who | where | {"event": "block_start", "ts_ns": ts_ns - latency_ns - queue_ns}
            )
        self._intake.add("block", rows, who | where | {"event": first, "ts_ns": ts_ns - latency_ns})
        self._intake.add("block", rows, where | {"event": "block_complete", "ts_ns": ts_ns})

    def _finish(self) -> None:
        intake = self._intake
        for family in dict.fromkeys(family for _, _, family in self._lost):
            told = np.array([(at_ns, count) for at_ns, count, whose in self._lost if whose == family], np.int64)
            at_ns = np.where(told[:, 0] >= 0, told[:, 0], intake.first_ns if intake.rows else BEGIN_NS)
            # It is told late: the next line that came may be of before, too.
            until_ns = np.maximum(at_ns, np.minimum(at_ns + _SECOND_NS, intake.last_ns))
            intake.lost(at_ns, until_ns, told[:, 1], family)
        if self._timeless:
            intake.tally.notes.append(
                "this output has no times, so all is put at one moment: only counts and names mean something "
                "(execsnoop -t, opensnoop -T and exitsnoop -t print times)"
            )
        elif self._wall:
            intake.tally.notes.append("its times have no date: they count from a midnight that is not known")
        kind = "" if self._heading is None else self._heading.tool
        clock = "none" if self._timeless else "wall clock without date" if self._wall else "from the start of the tool"
        intake.facts = Facts(kind, clock, self._resolution_ns)


def _decimal(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The digits before and behind the point."""
    part = groups(texts, r"(?P<whole>\d+)(?:\.(?P<fraction>\d+))?")[1]
    return part["whole"], part["fraction"]


def _milliseconds(texts: pa.Array) -> Ints:
    whole, fraction = _decimal(texts)
    # A thousandth: the digits behind the point stand for three places less.
    scaled: Ints = numbers(whole).to_numpy() * _MS + stamps(pa.array([b"0"] * len(texts)), fraction) // 1000
    return scaled


def _resolution_of_ms(texts: pa.Array) -> int:
    return max(resolution_ns(_decimal(texts)[1]) // 1000, 1)


def _stripped(texts: pa.Array) -> pa.Array:
    return pc.extract_regex(texts, r"^(?P<it>.*?) *$").field(0)


def _octal(texts: pa.Array) -> pa.Array:
    coded = texts.dictionary_encode()
    values = [None if one == b"n/a" else int(one, 8) for one in coded.dictionary.to_pylist()]
    return pa.array([None if value is None else value & 0xFFFFFFFF for value in values], pa.int64()).take(coded.indices)


def _disk(fields: dict[str, pa.Array]) -> dict[str, Any]:
    if "DISK" in fields:
        disk = names(fields["DISK"])
        known: Sequence[str | None] = [None if name == "<unknown>" else name for name in disk.dictionary.to_pylist()]
        return {"disk": pa.array(known, pa.string()).take(disk.indices)}
    part = groups(fields["DISK ID"], r"(?P<major>\d+) +(?P<minor>\d+)")[1]
    major, minor = (numbers(part[name]).to_numpy() for name in ("major", "minor"))
    return {"dev": major << 20 | minor, "disk": blockio.numbered(major, minor)}
