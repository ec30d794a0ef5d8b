"""Durations, sizes and counts, as typed and as read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import UsageError
from tracekit.units import (
    MAX_DURATION_NS,
    SECOND_NS,
    format_bytes,
    format_count,
    format_ns,
    format_share,
    parse_duration,
    parse_offset,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10", 10), ("1.5", 1.5), ("250ms", 0.25), ("90s", 90), ("10m", 600), ("1h", 3600), ("2d", 172_800), (" 3s ", 3)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds * SECOND_NS


@pytest.mark.parametrize(
    "text",
    ["", "0", "0s", "-1", "ten", "1 0", "10 s", "1w", "1e3", "nan", "inf", "366d", "9" * 400, "0.0000000001s", "10S"],
)
def test_nonsense_durations(text: str) -> None:
    with pytest.raises(UsageError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("0s", 0), (" 0ms ", 0), ("0.0", 0), ("0.0s", 0), ("00s", 0), (".0h", 0), ("1.5", 1.5), ("10m", 600)],
)
def test_times_in_a_recording(text: str, seconds: float) -> None:
    assert parse_offset(text) == seconds * SECOND_NS


@pytest.mark.parametrize(("text", "words"), [("-0", "duration"), ("", "duration"), ("366d", "at most a year")])
def test_nonsense_times_in_a_recording(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_offset(text)


@given(st.integers(1, MAX_DURATION_NS // SECOND_NS))
def test_whole_seconds_are_exact(seconds: int) -> None:
    assert parse_duration(str(seconds)) == parse_duration(f"{seconds}s") == seconds * SECOND_NS


@pytest.mark.parametrize(
    ("value_ns", "text"),
    [
        (None, "?"),
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1.00 us"),
        (999_500, "1.00 ms"),
        (47_040_000, "47.0 ms"),
        (999_400_000, "999 ms"),
        (999_600_000, "1.00 s"),
        (1_020_000_000, "1.02 s"),
        (3_600 * SECOND_NS, "3,600 s"),
        (-1_500_000, "-1.50 ms"),
    ],
)
def test_time_as_read(value_ns: int | None, text: str) -> None:
    assert format_ns(value_ns) == text


@given(st.integers(0, 10**15))
def test_time_as_read_is_true_to_three_digits(value_ns: int) -> None:
    number, unit = format_ns(value_ns).replace(",", "").split()
    scale = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}[unit]
    assert float(number) * scale == pytest.approx(value_ns, rel=0.005)
    assert float(number) < 1000 or unit == "s"


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "?"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (2**20 - 1, "1.0 MiB")],
)
def test_sizes(size: int | None, text: str) -> None:
    assert format_bytes(size) == text


def test_huge_sizes() -> None:
    assert (format_bytes(10**12), format_bytes(2**60)) == ("931.3 GiB", "1024.0 PiB")


def test_counts() -> None:
    assert [format_count(count) for count in (None, 0, 1234567)] == ["?", "0", "1,234,567"]


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "?"), (0, "0 %"), (0.00005, "<0.01 %"), (0.0031, "0.31 %"), (0.031, "3.1 %"), (0.31, "31 %"), (1, "100 %")],
)
def test_shares(share: float | None, text: str) -> None:
    assert format_share(share) == text


@given(st.floats(min_value=1e-300, max_value=1))
def test_a_part_of_something_is_never_nothing(share: float) -> None:
    assert format_share(share) not in ("0 %", "0.0 %", "0.00 %")
