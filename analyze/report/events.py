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
    for at, event, who, more in event_cells(batches, start_ns):
        yield f"{at:>18}  {event:<14} {who:<24} {more}"


def event_cells(
    batches: Iterable[pa.RecordBatch], start_ns: int, limit: int | None = None
) -> Iterator[tuple[str, str, str, str]]:
    """When, what, who, and the rest of each row.

    Args:
        limit: the longest value in characters.
    """
    for rows in batches:
        for row in rows.to_pylist():
            whole, rest = divmod(row["ts_ns"] - start_ns, SECOND_NS)
            who = f"{printable(row['comm'], limit)} ({'?' if row['pid'] is None else row['pid']})"
            told = (f"{name}={_value(value, limit)}" for name, value in row.items() if _is_told(name, value))
            yield f"{whole}.{rest:09d} s", row["event"], who, " ".join(told)


def _is_told(name: str, value: Any) -> bool:
    return name not in _FIRST and value is not None


def _value(value: Any, limit: int | None) -> str:
    if isinstance(value, list):
        return printable(f"[{' '.join(printable(str(word)) for word in value)}]", limit)
    return printable(value, limit) if isinstance(value, str) else str(value)
