"""What is fuzzed: each reader of foreign bytes, what it is given at first, and how that is damaged.

A find is whatever is not said in one line with an exit code: any exception but tracekit's own, the end of the process,
more than ten seconds, more than a gigabyte of memory.
"""

import contextlib
import functools
import io
import shutil
import tempfile
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import damaging
import foreign
import pyarrow as pa
from damaging import Blind
from laboratory.recording import START_NS
from tracebuilder import TraceBuilder

from tracekit import open_trace
from tracekit.capture.finish import recover
from tracekit.capture.journal import RUNNING, SCHEMAS, JournalWriter
from tracekit.cli.main import cli
from tracekit.errors import TraceError, TracekitError, UsageError
from tracekit.exchange.bring import Import, bring
from tracekit.exchange.give import Export, give
from tracekit.files import journal_path
from tracekit.metadata import Anchor, Clock, Counters
from tracekit.schema import FAMILIES
from tracekit.units import SECOND_NS

# What is done with a trace: each input meets one of them, always the same, and one in so many a slow one.
_FAST = (
    *(("report", "{}", "--format", style) for style in ("text", "json", "md")),
    ("report", "{}", "--from", "50ms", "--to", "120ms"),
    ("report", "{}", "--finding", "1"),
    ("slice", "{}", "--from", "20ms", "--to", "100ms", "-o", "{}.slice"),
    ("slice", "{}", "--comm", "job1", "-o", "{}.slice"),
    ("redact", "{}", "-o", "{}.redacted"),
    ("redact", "{}", "--check"),
    *(("export", "{}", "-o", f"{{}}.{style}") for style in ("csv", "jsonl", "arrow", "pftrace")),
)
# A bundle is no Parquet file, and import says so.
_OF_PARQUET = (("import", "{}", "-o", "{}.imported"),)
_SLOW = (
    ("report", "{}", "-o", "{}.html"),
    ("diff", "{}", "{}"),
    ("diff", "{}", "--at", "100ms"),
    ("plot", "rates", "{}", "-o", "{}.svg"),
)
_SLOW_SHARE = 40


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        seeds: good inputs.
        run: reads an input in a folder; what it raises, but for what a reader may say, is a find.
        damage: makes another input of one; by default bytes are changed that nothing is known of.
        words: what stands in such inputs.
    """

    seeds: Callable[[], Sequence[bytes]]
    run: Callable[[bytes, Path], None]
    damage: Callable[[bytes, Random, Blind], bytes] | None = None
    words: Sequence[bytes] = ()


def is_read(target: Target, raw: bytes) -> bool:
    """Whether an input can be read, in a folder of its own; if not, one line says why.

    Raises:
        Exception: it is a find.
    """
    folder = Path(tempfile.mkdtemp())
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("error")
            target.run(raw, folder)
    except TraceError as error:
        if "\n" in str(error):
            raise AssertionError("it is more than one line") from error
        return False
    finally:
        shutil.rmtree(folder)
    return True


def _tracekit(*arguments: str) -> None:
    # What is asked for of a part that a damaged trace does not have is wrong usage.
    with contextlib.suppress(*([] if arguments[0] == "info" else [UsageError])):
        cli.main(list(arguments), "tracekit", standalone_mode=False)


def _trace(
    raw: bytes, folder: Path, name: str = "t.parquet", others: tuple[tuple[str, ...], ...] = _OF_PARQUET
) -> None:
    path = folder / name
    path.write_bytes(raw)
    number = zlib.crc32(raw)
    among = _FAST + others if number % _SLOW_SHARE else _SLOW
    command = among[number // _SLOW_SHARE % len(among)]
    try:
        _tracekit("info", "--verify", str(path))
    finally:
        _tracekit(*(part.replace("{}", str(path)) for part in command))


def _journal(raw: bytes, folder: Path) -> None:
    path = folder / "t.parquet"
    inside = journal_path(path)
    inside.mkdir()
    for name, content in damaging.unzipped(raw).items():
        if name and len(name) < 30 and not set(name) & {"/", "\0"} and name not in (".", ".."):
            (inside / name).write_bytes(content)
    recover(path, None, force=False)
    _check_made(path)


def _import(kind: str) -> Callable[[bytes, Path], None]:
    def run(raw: bytes, folder: Path) -> None:
        source, made = folder / "input", folder / "t.parquet"
        source.write_bytes(raw)
        named = kind if zlib.crc32(raw) % 8 else None
        try:
            bring(Import((source,), made, named))
        except TracekitError:
            assert [*folder.iterdir()] == [source]
            raise
        _check_made(made)

    return run


def _check_made(path: Path) -> None:
    """What tracekit wrote is a trace, whatever it was made of."""
    try:
        open_trace(path).verify()
    except TraceError as error:
        raise AssertionError("what was written cannot be read") from error


def _builder() -> TraceBuilder:
    """A few events of every family, with losses, failures, and two disks."""
    builder, ms = TraceBuilder(duration_ns=200_000_000), 1_000_000
    builder.add("process", 0, pid=1, tid=1, comm="init", argv=["/sbin/init", "splash"], start_ns=START_NS - 5)
    for number in range(12):
        at, who = number * 11 * ms, {"pid": 50 + number, "tid": 50 + number, "ppid": 1, "comm": f"job{number % 3}"}
        builder.add("fork", at, **who)
        event, ret = ("exec_failed", -2) if number % 5 == 4 else ("exec", None)
        builder.add(event, at + 1, path=f"/bin/job{number % 3}", argv=["job", "--all"], ret=ret, **who)
        builder.add("open", at + ms, path=f"/tmp/{number}", ret=-2 if number % 2 else 3, duration_ns=2000, **who)
        io = {"dev": 8 << 20 | number % 2, "disk": f"sd{number % 2}", "request": number % 3, "sector": 8 * number}
        io |= {"bytes": 4096, "op": ("read", "write", "flush")[number % 3], "flags": 1}
        for event, delay in (("block_start", 2), ("block_issue", 3), ("block_complete", 3 + number)):
            builder.add(event, at + delay * ms, ret=0 if event == "block_complete" else None, **io)
        builder.add("exit", at + 9 * ms, start_ns=START_NS + at, exit_code=number % 2, exit_signal=0, **who)
    builder.add("lost", 100 * ms, start_ns=START_NS + 90 * ms, lost=3, lost_family="open")
    return builder


@functools.cache
def _traces() -> tuple[bytes, ...]:
    """As tracekit writes them; and without checksums and compression, so that changed values get through."""
    with tempfile.TemporaryDirectory() as name:
        written = _builder().write(Path(name) / "t.parquet").read_bytes()
    table = damaging.read_parquet(written)
    plain = damaging.write_parquet(table, 40, compression="none", use_dictionary=False)
    coded = damaging.write_parquet(table, compression="none", data_page_version="2.0", store_schema=False)
    return written, plain, coded


def _bundles() -> list[bytes]:
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
        path = Path(name) / "t.parquet"
        path.write_bytes(_traces()[0])
        cli.main(["bundle", str(path), "--yes", "-o", f"{path}.zip"], "tracekit", standalone_mode=False)
        whole = damaging.unzipped(Path(f"{path}.zip").read_bytes())
    # The page of it is large, and nothing reads it.
    return [damaging.zipped({name: raw if len(raw) < 1 << 15 else raw[:99] for name, raw in whole.items()})]


def _journals() -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        path, footer = Path(name) / "t.parquet", _builder().footer()
        rows = {family: table.to_batches() for family, table in _builder().tables().items()}
        empty = {family: Counters() for family in ("process", "block", "open")}
        metadata = replace(footer, clock=Clock(anchors=(Anchor(START_NS, 9),)), counters=empty)
        writer = JournalWriter(path, metadata, force=False)
        listed = pa.RecordBatch.from_pylist([{"ts_ns": START_NS, "event": "process", "pid": 1}], SCHEMAS[RUNNING])
        counted = dict(empty)
        for segment in range(2):
            writer.append(RUNNING, listed)
            for family in FAMILIES:
                batch = rows[family][0].select(SCHEMAS[family].names)
                writer.append(family, batch)
                if family in counted:
                    many = counted[family].written + batch.num_rows
                    counted[family] = Counters(seen=many, written=many)
            writer.flush(Anchor(START_NS + (segment + 1) * SECOND_NS, 9), counted)
            if not segment:
                writer.begin_segment(Anchor(START_NS + SECOND_NS, 9), counted, None)
        writer.close()
        return [damaging.zipped({one.name: one.read_bytes() for one in sorted(journal_path(path).iterdir())})]


@functools.cache
def _exported(kind: str) -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as name:
        trace = _builder().write(Path(name) / "t.parquet")
        made = Path(name) / f"rows.{kind}"
        give(Export(trace, made))
        return (made.read_bytes(),)


def _arrows() -> list[bytes]:
    table = pa.ipc.open_file(_exported("arrow")[0]).read_all()
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return [*_exported("arrow"), sink.getvalue()]


def _words(*texts: bytes) -> tuple[bytes, ...]:
    """What stands between blanks, and some numbers."""
    found = {word for text in texts for word in text.split() if 2 < len(word) < 60}
    return (*sorted(found), b"-1", b"4294967296", b"18446744073709551615", b"99999999999999999999", b"\xff", b"\0")


_COLUMNS = tuple(f'"{name}":'.encode() for name in ("ts_ns", "event", "argv", "sector", "comm", "start_ns"))

TARGETS = {
    "trace": Target(_traces, _trace, damaging.parquet),
    "journal": Target(_journals, _journal, damaging.journal),
    "bundle": Target(_bundles, lambda raw, folder: _trace(raw, folder, "t.zip", ()), damaging.bundle),
    "perf": Target(lambda: [foreign.PERF], _import("perf"), words=_words(foreign.PERF)),
    "tools": Target(lambda: foreign.TOOLS, _import("tools"), words=_words(*foreign.TOOLS)),
    "blkparse": Target(lambda: [foreign.BLKPARSE], _import("blkparse"), words=_words(foreign.BLKPARSE)),
    "blktrace": Target(lambda: [foreign.BLKTRACE], _import("blktrace"), words=(b"\x07tae", b"eat\x07")),
    "parquet": Target(_traces, _import("parquet"), damaging.parquet),
    "arrow": Target(_arrows, _import("arrow"), damaging.arrow),
    "csv": Target(lambda: _exported("csv"), _import("csv"), words=_words(b"ts_ns , \"\" '= '- [] \r\n block_issue")),
    "jsonl": Target(lambda: _exported("jsonl"), _import("jsonl"), words=(*_COLUMNS, b"null", b"1e400", b"\\ud800")),
}
