"""Importing: which tool a recording is of, and the trace that it becomes."""

import contextlib
import io
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from tracekit.errors import TraceError, UsageError, first_line
from tracekit.exchange import blktrace, perf, tools
from tracekit.exchange.columns import ColumnsReader, Naming, header_of
from tracekit.exchange.intake import Intake, Tally
from tracekit.files import check_output
from tracekit.metadata import Metadata
from tracekit.schema import SCHEMA

#: What can be imported, and whether it is text.
FORMATS = ("perf", "tools", "blkparse", "blktrace", "parquet", "arrow", "csv", "jsonl")
STDIN = Path("-")
_HEAD_BYTES = 1 << 18
_LINE_BYTES = 4096
_HEAD_LINES = 2000
#: What a table is whose content does not tell, by the end of its name: its reader says what is missing.
_ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".arrow": "arrow"}
_BLANKS = re.compile(rb" {2,}")
_BLKTRACE_NAME = re.compile(r"(.+)\.blktrace\.\d+")
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zX": "xz",
    b"PK\x03\x04": "zip",
}


@dataclass(frozen=True)
class Import:
    """What to import.

    Attributes:
        sources: files, or `-` for the standard input; more than one are blktrace's files of one disk, or of several.
        output: the trace to write.
        format: one of `FORMATS`; null to see what it is.
        force: overwrite the output.
        naming: what columns are called, of formats that have some.
    """

    sources: tuple[Path, ...]
    output: Path
    format: str | None = None
    force: bool = False
    naming: Naming = field(default_factory=lambda: Naming({}))


@dataclass(frozen=True)
class Imported:
    """What became of it: the format that was found, footer, rows, what the source lost, and what is left out."""

    format: str
    metadata: Metadata
    rows: int
    lost: int
    tally: Tally


def bring(request: Import) -> Imported:
    """Import a recording of another tool.

    Raises:
        UsageError: there is no such file, or it is to be read as what it cannot be; or the output cannot be written.
        TraceError: it is damaged, of no kind that is known, or without any event.
        OSError: the trace cannot be written.
    """
    check_output(request.output, request.force, request.sources)
    # What the reader of foreign bytes has kept of Arrow's memory would be counted on top of what writing takes.
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(_opened(source)) for source in request.sources]
        format = request.format or _one_format(request, streams)
        if len(streams) > 1 and format != "blktrace":
            raise UsageError(f"several files can only be imported of blktrace, and this is {format}: import one by one")
        intake = stack.enter_context(contextlib.closing(Intake(request.output.absolute().parent)))
        try:
            remedy = _READERS[format](request, streams, intake)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise TraceError(f"{_name(request.sources[0])} is damaged: {first_line(error)}") from error
        intake.check_anything(_name(request.sources[0]), remedy)
        pa.default_memory_pool().release_unused()
        metadata = intake.write(request.output, request.force)
        return Imported(format, metadata, intake.rows, intake.losses, intake.tally)


def _perf(request: Import, streams: list[BinaryIO], intake: Intake) -> str:
    perf.PerfReader(intake).read(streams[0])
    return perf.REMEDY


def _tools(request: Import, streams: list[BinaryIO], intake: Intake) -> str:
    tools.ToolReader(intake).read(streams[0])
    return tools.REMEDY


def _blkparse(request: Import, streams: list[BinaryIO], intake: Intake) -> str:
    blktrace.TextReader(intake).read(streams[0])
    return blktrace.REMEDY


def _blktrace(request: Import, streams: list[BinaryIO], intake: Intake) -> str:
    reader = blktrace.BinaryReader(intake)
    for stream in streams:
        if stream.seekable():
            reader.take_notes(stream)
            stream.seek(0)
    for source, stream in zip(request.sources, streams, strict=True):
        match = _BLKTRACE_NAME.fullmatch(source.name)
        reader.read(stream, match[1] if match else None)
    return blktrace.REMEDY


def _columns(request: Import, streams: list[BinaryIO], intake: Intake, format: str) -> str:
    name = _name(request.sources[0])
    if not streams[0].seekable() and (format == "parquet" or _head(streams[0]).startswith(b"ARROW1")):
        raise UsageError(f"{name} is a pipe, and a {format} file begins to be read at its end: save it first")
    reader = ColumnsReader(intake, request.naming, name)
    getattr(reader, format)(streams[0])
    return "each row needs ts_ns and event"


_READERS: dict[str, Callable[[Import, list[BinaryIO], Intake], str]] = {
    "perf": _perf,
    "tools": _tools,
    "blkparse": _blkparse,
    "blktrace": _blktrace,
    "parquet": lambda request, streams, intake: _columns(request, streams, intake, "parquet"),
    "arrow": lambda request, streams, intake: _columns(request, streams, intake, "arrow"),
    "csv": lambda request, streams, intake: _columns(request, streams, intake, "csv"),
    "jsonl": lambda request, streams, intake: _columns(request, streams, intake, "jsonl"),
}


def _name(source: Path) -> str:
    return "the standard input" if source == STDIN else str(source)


class _Piped(io.RawIOBase):
    """What comes through a pipe, bit by bit, in pieces as large as they are asked for."""

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, but at the end."""
        room, filled = memoryview(buffer).cast("B"), 0
        while filled < len(room):
            more = self._raw.readinto(room[filled:])
            if not more:
                break
            filled += more
        return filled

    def close(self) -> None:
        """Close the pipe, too."""
        self._raw.close()
        super().close()


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[BinaryIO]:
    """A file, with room to look at its beginning; not empty.

    Raises:
        UsageError: there is none, or it cannot be read.
        TraceError: it is empty.
    """
    try:
        if source == STDIN:
            raw = io.FileIO(0, closefd=False)
        else:
            if stat.S_ISDIR(source.stat().st_mode):
                raise UsageError(f"{source} is a folder: name a file")
            raw = io.FileIO(source)
    except FileNotFoundError:
        raise UsageError(f"there is no file {source}") from None
    except PermissionError:
        raise UsageError(f"{source} is not yours to read: use sudo, or have its owner give it to you") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{_name(source)} cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    with io.BufferedReader(raw if raw.seekable() else _Piped(raw), _HEAD_BYTES) as stream:
        try:
            if not stream.peek(1):
                raise TraceError(f"{_name(source)} is empty")
        except OSError as error:
            raise UsageError(f"{_name(source)} cannot be read: {error.strerror}") from None
        yield cast(BinaryIO, stream)


def _one_format(request: Import, streams: list[BinaryIO]) -> str:
    known = {*SCHEMA.names, *request.naming.columns.values()}
    pairs = zip(request.sources, streams, strict=True)
    kinds = [_format(_name(source), _head(stream), known) for source, stream in pairs]
    if len(set(kinds)) > 1:
        raise UsageError(f"{request.sources[0]} is {kinds[0]}, and another file is not: import one by one")
    return kinds[0]


def _head(stream: BinaryIO) -> bytes:
    return cast(io.BufferedReader, stream).peek(_HEAD_BYTES)


def _format(name: str, head: bytes, columns: set[str]) -> str:
    """What a file is, by its first bytes, else by its name; these columns tell a table.

    Raises:
        TraceError: none of what is known.
    """
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow"
    if head.startswith((b"PERFILE2", b"2ELIFREP")):
        raise TraceError(
            f"{name} is perf's own recording: print it with '{perf.COMMAND} -i {name} | tracekit import -'"
        )
    for magic, kind in _COMPRESSED.items():
        if head.startswith(magic):
            raise TraceError(f"{name} is compressed ({kind}): unpack it first")
    if len(head) >= 4 and blktrace.MAGIC >> 8 in (
        int.from_bytes(head[:4], "little") >> 8,
        int.from_bytes(head[:4], "big") >> 8,
    ):
        return "blktrace"
    text = _text_format(head, columns) or _ENDINGS.get(Path(name).suffix.lower())
    if text is None:
        raise TraceError(f"{name} is of no kind that can be imported: say what it is with --format, or see --help")
    return text


def _text_format(head: bytes, columns: set[str]) -> str | None:
    lines = head.replace(b"\r\n", b"\n").split(b"\n")[:_HEAD_LINES]
    if head.lstrip()[:1] == b"{":
        return "jsonl"
    if any(tools.heading_of(line) for line in lines):
        return "tools"
    # Many blanks in a line would take a regular expression very long.
    lines = [_BLANKS.sub(b" ", line[:_LINE_BYTES]) for line in lines]
    for kind, pattern in (("perf", perf.LINE), ("blkparse", blktrace.LINE)):
        whole = re.compile(pattern.encode())
        if any(whole.fullmatch(line) for line in lines):
            return kind
    header = header_of(lines[0])[1]
    return "csv" if len(header) > 1 and set(header) & columns else None
