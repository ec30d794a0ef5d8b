"""Durations, sizes and counts: from what a person types, to what a person reads."""

import re

from tracekit.errors import UsageError

SECOND_NS = 1_000_000_000
MAX_DURATION_NS = 365 * 24 * 3600 * SECOND_NS

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?|\.[0-9]{1,12})(ms|s|m|h|d)?")
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,12})?)(?:([KMGT])(?:i?B)?|B)?", re.IGNORECASE)
_UNIT_NS = {"ms": 10**6, "s": SECOND_NS, "m": 60 * SECOND_NS, "h": 3600 * SECOND_NS, "d": 86400 * SECOND_NS}
_SIZES = ("KiB", "MiB", "GiB", "TiB", "PiB")
_STEPS = ((SECOND_NS, "s"), (10**6, "ms"), (10**3, "us"))


def parse_offset(text: str) -> int:
    """Nanoseconds into a recording, as `parse_duration` has them, or zero, which is its start.

    Raises:
        UsageError: it is no such thing, or longer than a year.
    """
    duration_ns = _parsed(text)
    if duration_ns > MAX_DURATION_NS:
        raise UsageError(f"the time {text!r} must be at most a year")
    return duration_ns


def parse_duration(text: str) -> int:
    """Nanoseconds of `10`, `1.5`, `250ms`, `90s`, `10m`, `1h` or `2d`; a bare number is seconds.

    Raises:
        UsageError: it is no such thing, or not above zero, or longer than a year.
    """
    duration_ns = _parsed(text)
    if not 0 < duration_ns <= MAX_DURATION_NS:
        raise UsageError(f"the duration {text!r} must be above zero and at most a year")
    return duration_ns


def _parsed(text: str) -> int:
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{text!r} is not a duration: give seconds, or a number with ms, s, m, h or d, such as 90s or 10m"
        )
    return round(float(match[1]) * _UNIT_NS[match[2] or "s"])


def parse_size(text: str) -> int:
    """Bytes of `4096`, `64K`, `100M`, `1.5G` or `2T`; units are powers of 1024, and may be written `MiB` or `MB`.

    Raises:
        UsageError: it is no such thing.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a size: give bytes, or a number with K, M, G or T, such as 100M")
    factor = int(1024 ** (" KMGT".index(match[2].upper()) if match[2] else 0))
    return round(float(match[1]) * factor)


def format_ns(value_ns: int | float | None) -> str:
    """A duration with three digits and its unit, such as `1.02 s`, `47.0 ms`, `512 ns`; `?` if unknown."""
    if value_ns is None:
        return "?"
    magnitude = abs(value_ns)
    for step_ns, unit in _STEPS:
        if magnitude >= step_ns * 0.9995:
            scaled = value_ns / step_ns
            digits = 0 if abs(scaled) >= 99.95 else 1 if abs(scaled) >= 9.995 else 2
            return f"{scaled:,.{digits}f} {unit}"
    return f"{value_ns:.0f} ns"


def format_span(value_ns: int) -> str:
    """A length of time as a person gives it, such as `1 h`, `1 min 30 s`, `0 s`; short ones as `format_ns`."""
    if not value_ns:
        return "0 s"
    if value_ns < 60 * SECOND_NS:
        return format_ns(value_ns)
    left, parts = round(value_ns / SECOND_NS), []
    for seconds, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, seconds)
        parts += [f"{count} {unit}"] if count else []
    return " ".join(parts)


def format_bytes(size: int | float | None) -> str:
    """A size in binary units, such as `4.0 KiB`; `?` if unknown."""
    if size is None:
        return "?"
    if size < 1024:
        return f"{size:.0f} B"
    for unit in _SIZES[:-1]:
        size /= 1024
        if size < 1023.95:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} {_SIZES[-1]}"


def format_count(count: int | None) -> str:
    """A count with thousands separators; `?` if unknown."""
    return "?" if count is None else f"{count:,}"


def format_share(share: float | None) -> str:
    """A share of one as a percentage; small shares keep two digits, and no part of something shows as 0 %."""
    if share is None:
        return "?"
    percent = share * 100
    if 0 < percent < 0.01:
        return "<0.01 %"
    digits = 0 if percent >= 9.95 or percent == 0 else 1 if percent >= 0.95 else 2
    return f"{percent:.{digits}f} %"
