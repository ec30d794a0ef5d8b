"""Raw events as lines of text: when, what, where, who, and whatever else the trace has of them."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from tracekit.text import printable
from tracekit.units import SECOND_NS

_FIRST = ("ts_ns", "event", "pid", "comm")


def event_lines(batches: Iterable[pa.RecordBatch], start_ns: int) -> Iterator[str]:
    """A line for each row.

    Args:
        start_ns: of the recording; times count from there, in seconds.
    """
    for rows in batches:
        for row in rows.to_pylist():
            yield _line(row, start_ns)


def _line(row: dict[str, Any], start_ns: int) -> str:
    whole, rest = divmod(row["ts_ns"] - start_ns, SECOND_NS)
    who = f"{printable(row['comm'])} ({'?' if row['pid'] is None else row['pid']})"
    more = [f"{name}={_value(value)}" for name, value in row.items() if name not in _FIRST and value is not None]
    return f"{whole:>6}.{rest:09d} s  {row['event']:<14} {who:<24} {' '.join(more)}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + " ".join(printable(str(word)) for word in value) + "]"
    return printable(value) if isinstance(value, str) else str(value)
