"""Tiny traces, written event by event through the project's own writer."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from laboratory.recording import SECOND_NS, START_NS, footer

from tracekit import Trace, open_trace
from tracekit.metadata import Metadata
from tracekit.schema import FAMILIES, FAMILY_OF, RECORDED_FAMILIES, SCHEMA
from tracekit.writer import TraceWriter


class TraceBuilder:
    """Collects rows in any order and writes them as a trace.

    `start_ns` is the boot-clock time of the recording's start; the time given to `add` counts from there.
    """

    def __init__(self, start_ns: int = START_NS, duration_ns: int = 10 * SECOND_NS) -> None:
        self.start_ns = start_ns
        self.duration_ns = duration_ns
        self.rows: list[dict[str, Any]] = []
        self.changes: dict[str, Any] = {}

    def add(self, event: str, at_ns: int, **columns: Any) -> "TraceBuilder":
        """One row; `at_ns` counts from the start of the recording."""
        unknown = set(columns) - set(SCHEMA.names)
        assert not unknown, unknown
        self.rows.append({"ts_ns": self.start_ns + at_ns, "event": event, **columns})
        return self

    def metadata(self, **changes: Any) -> "TraceBuilder":
        """Fields of the footer that differ from the usual."""
        self.changes.update(changes)
        return self

    def footer(self) -> Metadata:
        written = {family: sum(FAMILY_OF[row["event"]] == family for row in self.rows) for family in RECORDED_FAMILIES}
        base = footer(written, self.duration_ns, self.start_ns)
        return replace(base, **self.changes)

    def tables(self) -> Mapping[str, pa.Table]:
        """The rows of each family that has some, sorted by time."""
        result = {}
        for family in FAMILIES:
            rows = sorted((r for r in self.rows if FAMILY_OF[r["event"]] == family), key=lambda row: row["ts_ns"])
            if rows:
                columns = {item.name: pa.array([row.get(item.name) for row in rows], type=item.type) for item in SCHEMA}
                result[family] = pa.table(columns, schema=SCHEMA)
        return result

    def write(self, path: Path) -> Path:
        writer = TraceWriter(path)
        for family, table in self.tables().items():
            writer.write(family, table)
        writer.close(self.footer())
        return path

    def trace(self, path: Path) -> Trace:
        return open_trace(self.write(path))
