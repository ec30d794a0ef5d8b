"""Journals as a recorder leaves them, and as somebody may have changed them."""

import dataclasses
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from tracebuilder import START_NS, TraceBuilder

from tracekit import open_trace
from tracekit.capture.journal import RUNNING, JournalWriter, Keep
from tracekit.metadata import Anchor, Clock, Counters, Metadata
from tracekit.schema import family_schema
from tracekit.units import SECOND_NS


def start() -> Metadata:
    return dataclasses.replace(TraceBuilder().footer(), duration_ns=0, clock=Clock(anchors=(Anchor(START_NS, 0),)))


def opens(first: int, count: int, path: str) -> pa.RecordBatch:
    """Opens at one a microsecond, latest first, as the calls may return."""
    rows = [
        {
            "ts_ns": START_NS + 1000 * number,
            "event": "open",
            "cpu": 0,
            "pid": 7,
            "tid": 7,
            "path": f"{path}{number % 3}",
        }
        for number in reversed(range(first, first + count))
    ]
    return pa.RecordBatch.from_pylist(rows, schema=family_schema("open"))


def counted(rows: int) -> dict[str, Counters]:
    return {"process": Counters(), "block": Counters(), "open": Counters(seen=rows + 5, filtered=5, written=rows)}


def write(output: Path, seconds: int = 3, rows: int = 1000) -> None:
    journal = JournalWriter(output, start(), force=False)
    for second in range(seconds):
        journal.append("open", opens(second * rows, rows // 2, "/a/"))
        journal.append("open", opens(second * rows + rows // 2, rows - rows // 2, f"/{second}/"))
        journal.flush(Anchor(START_NS + (second + 1) * SECOND_NS, 1), counted((second + 1) * rows))
    journal.close()


def write_segments(output: Path, segments: int = 3, keep: Keep | None = None) -> None:
    """A journal of several segments, each with two flushes of 500 opens, and of listed processes a growing number."""
    journal = JournalWriter(output, start(), force=False)
    for number in range(segments):
        listed = {"event": "process", "ts_ns": START_NS + number * SECOND_NS}
        running = [listed | {"pid": pid, "tid": pid} for pid in range(number + 1)]
        journal.append(RUNNING, pa.RecordBatch.from_pylist(running, schema=family_schema("process")))
        for half in range(2):
            first = (2 * number + half) * 500
            journal.append("open", opens_at(START_NS + number * SECOND_NS, first, 500))
            journal.flush(Anchor(START_NS + number * SECOND_NS + (half + 1) * SECOND_NS // 2, 1), counted(first + 500))
        if number + 1 < segments:
            anchor = Anchor(START_NS + (number + 1) * SECOND_NS, 1)
            journal.begin_segment(anchor, counted((number + 1) * 1000), keep)
    journal.close()


def opens_at(start_ns: int, first: int, count: int) -> pa.RecordBatch:
    """Opens that `mode` numbers."""
    times = [{"ts_ns": start_ns + n, "event": "open", "mode": n, "path": f"/{n}"} for n in range(first, first + count)]
    return pa.RecordBatch.from_pylist(times, schema=family_schema("open"))


def numbers(output: Path) -> list[int]:
    return open_trace(output).table("open", columns=["mode"])["mode"].to_pylist()  # type: ignore[no-any-return]


def seal(folder: Path, change: Callable[[dict[str, Any]], object] = lambda line: None, more: int = 0) -> None:
    """Make the only account vouch for what is there, and for so many bytes more, with its lines changed."""
    account = folder / "00000000.account"
    sealed = b""
    for line in account.read_bytes().splitlines():
        told = json.loads(line[9:])
        change(told)
        streams = told.get("streams")
        for stream, mark in streams.items() if isinstance(streams, dict) else ():
            content = (folder / f"00000000.{stream}.arrows").read_bytes()
            mark[:] = len(content) + more, zlib.crc32(content)
        raw = json.dumps(told).encode()
        sealed += b"%08x %s\n" % (zlib.crc32(raw), raw)
    account.write_bytes(sealed)


def stream_of(rows: pa.RecordBatch) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return sink.getvalue()
