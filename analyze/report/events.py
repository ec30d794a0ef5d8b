"""Raw events for a person: when, what, who, and whatever else the trace has of them; and as data for a program."""

import errno
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import pyarrow as pa

from tracekit.text import printable
from tracekit.units import SECOND_NS, format_ns

_FIRST = ("ts_ns", "event", "pid", "comm")
_LINE = "{:>18}  {:<14} {:<24} {}"


def event_lines(batches: Iterable[pa.RecordBatch], start_ns: int) -> Iterator[str]:
    """What the columns are, then a line for each row.

    Args:
        start_ns: of the recording; times count from there, in seconds.
    """
    yield _LINE.format("time", "event", "command (pid)", "more")
    for cells in event_cells(batches, start_ns):
        yield _LINE.format(*cells)


def event_cells(
    batches: Iterable[pa.RecordBatch], start_ns: int, limit: int | None = None
) -> Iterator[tuple[str, str, str, str]]:
    """When, what, who, and the rest of each row.

    Args:
        limit: the longest value in characters.
    """
    for rows in batches:
        for row in rows.to_pylist():
            who = f"{printable(row['comm'], limit)} ({'?' if row['pid'] is None else row['pid']})"
            at = _seconds(row["ts_ns"] - start_ns)
            if row.get("start_ns") is not None:
                row["start_ns"] = _seconds(row["start_ns"] - start_ns)
            told = (_told(name, value, limit) for name, value in row.items() if _is_told(name, value))
            yield at, row["event"], who, " ".join(told)


def _seconds(offset_ns: int) -> str:
    whole, rest = divmod(abs(offset_ns), SECOND_NS)
    return f"{'-' if offset_ns < 0 else ''}{whole}.{rest:09d} s"


def _is_told(name: str, value: Any) -> bool:
    return name not in _FIRST and value is not None


def _told(name: str, value: Any, limit: int | None) -> str:
    if isinstance(value, list):
        value = f"[{' '.join(printable(str(word)) for word in value)}]"
    told = printable(value, limit) if isinstance(value, str) else _FORMS.get(name, str)(value)
    return f"{name.removesuffix('_ns')}={told}"


def _error(ret: int) -> str:
    return errno.errorcode.get(-ret, str(ret)) if ret < 0 else str(ret)


def _signal(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return str(number)


#: How the numbers of a column are written, where not plainly.
_FORMS: dict[str, Callable[[int], str]] = {
    "ret": _error,
    "duration_ns": format_ns,
    "flags": hex,
    "mode": "{:04o}".format,
    "dev": lambda dev: f"{dev >> 20}:{dev & 0xFFFFF}",
    "exit_signal": _signal,
}
