"""Strings from a trace, made safe to show."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.text import decode, did_you_mean, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, "?"),
        ("", ""),
        ("plain /usr/bin/cat", "plain /usr/bin/cat"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[2J\x07\x00", "\\x1b[2J\\x07\\x00"),
        ("\x9b31m", "\\x9b31m"),
        ("caf\u00e9 \u65e5\u672c", "caf\u00e9 \u65e5\u672c"),
        ("abc\u202edcba", "abc\\u202edcba"),
        ("line\u2028end", "line\\u2028end"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_is_shown(text: str | None, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(), max_size=50), st.none() | st.integers(4, 60))
def test_whatever_it_is_it_is_one_harmless_line(text: str, limit: int | None) -> None:
    shown = printable(text, limit)
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(character)[0] == "C" for character in shown)
    assert limit is None or len(shown) <= limit
    shown.encode()


def test_the_middle_gives_way() -> None:
    assert printable("a" * 10 + "b" * 10, 9) == "aaa...bbb"
    assert printable("123456789", 9) == "123456789"
    assert printable("123456789", 4) == "1..."


@given(st.binary(max_size=50))
def test_bytes_become_text_that_can_be_written(raw: bytes) -> None:
    decode(raw).encode()


def test_bytes_that_are_no_text_stay_recognizable() -> None:
    assert decode(b"a\xffb\xc3\xa9") == "a\\xffb\u00e9"


@pytest.mark.parametrize(
    ("name", "known", "told"),
    [
        ("servce", ["service", "server-old"], "did you mean 'service'?"),
        ("sv", ["svc.sh", "bash"], "did you mean 'svc.sh'?"),
        ("sv", ["svc.sh", "svelte.sh"], "there are svc.sh, svelte.sh"),
        ("zzz", ["svc.sh", "bash"], "there are svc.sh, bash"),
    ],
)
def test_what_was_meant(name: str, known: list[str], told: str) -> None:
    assert did_you_mean(name, known) == told
