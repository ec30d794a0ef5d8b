"""The footer: what is written is read, and what is damaged is refused."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import TraceError
from tracekit.metadata import Anchor, Clock, Counters, Cut, Disk, Metadata
from tracekit.schema import MOST_NS

COUNTS = st.integers(0, 2**63 - 1)
TEXTS = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)
)

FOOTERS = st.builds(
    Metadata,
    tool_version=TEXTS,
    created=TEXTS,
    duration_ns=st.integers(0, MOST_NS),
    kernel=st.none() | TEXTS,
    cpus=st.none() | COUNTS,
    events=st.lists(TEXTS).map(tuple),
    filters=st.dictionaries(TEXTS, JSON),
    clock=st.builds(Clock, anchors=st.lists(st.builds(Anchor, COUNTS, COUNTS)).map(tuple)),
    counters=st.dictionaries(TEXTS, st.builds(Counters, seen=COUNTS, lost_ring_full=COUNTS)),
    disks=st.lists(st.builds(Disk, TEXTS, COUNTS, rotational=st.none() | st.booleans())).map(tuple),
    complete=st.booleans(),
    command=st.none() | st.lists(TEXTS).map(tuple),
    cuts=st.lists(st.builds(Cut, st.none() | TEXTS, *[COUNTS] * 5, st.dictionaries(TEXTS, JSON))).map(tuple),
)
PLAIN = Metadata(tool_version="0.1.0", created="2026-01-02T03:04:05+00:00", duration_ns=1)


@given(FOOTERS)
def test_what_is_written_is_read(footer: Metadata) -> None:
    assert Metadata.from_json(footer.to_json()) == footer


def test_fields_of_a_later_version_are_passed_over() -> None:
    raw = json.loads(dataclasses.replace(PLAIN, disks=(Disk("sda", 1),)).to_json())
    raw["colour"] = raw["clock"]["colour"] = raw["disks"][0]["colour"] = "blue"
    assert Metadata.from_json(json.dumps(raw)).disks == (Disk("sda", 1),)


def test_what_is_absent_is_unknown() -> None:
    raw = json.loads(PLAIN.to_json())
    del raw["kernel"]
    assert Metadata.from_json(json.dumps(raw)).kernel is None


@pytest.mark.parametrize("field", ["format", "tool_version", "created", "duration_ns", "clock", "counters"])
def test_what_must_be_there(field: str) -> None:
    raw = json.loads(PLAIN.to_json())
    del raw[field]
    with pytest.raises(TraceError, match=f"damaged.*{field}"):
        Metadata.from_json(json.dumps(raw))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 0),
        ("format", "1"),
        ("format", True),
        ("duration_ns", -1),
        ("duration_ns", 1.5),
        ("duration_ns", MOST_NS + 1),
        ("duration_ns", 2**63),
        ("created", None),
        ("events", "block"),
        ("events", [1]),
        ("clock", {"anchors": [{"boot_ns": 1}]}),
        ("clock", []),
        ("counters", {"block": 5}),
        ("counters", {"block": {"seen": None}}),
        ("disks", [{"name": "sda"}]),
        ("complete", 1),
        ("command", "ls"),
    ],
)
def test_what_does_not_fit_is_refused(field: str, value: Any) -> None:
    raw = json.loads(PLAIN.to_json()) | {field: value}
    with pytest.raises(TraceError, match="damaged"):
        Metadata.from_json(json.dumps(raw))


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "null", "[" * 100_000, b"\xff", '{"format":1}'])
def test_what_is_no_footer_is_refused(text: str | bytes) -> None:
    with pytest.raises(TraceError, match="damaged"):
        Metadata.from_json(text)


def test_a_higher_format_names_both_numbers() -> None:
    raw = json.loads(PLAIN.to_json()) | {"format": 7, "clock": "other"}
    with pytest.raises(TraceError, match=r"format 7.* format 1"):
        Metadata.from_json(json.dumps(raw))


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_a_trace_error(raw: bytes) -> None:
    with pytest.raises(TraceError):
        Metadata.from_json(raw)


def test_wall_clock_follows_the_last_anchor() -> None:
    clock = Clock(anchors=(Anchor(100, 1_000), Anchor(200, 5_000)))
    assert clock.realtime_ns([50, 100, 199, 200, 250]).tolist() == [950, 1_000, 1_099, 5_000, 5_050]


def test_without_an_anchor_wall_clock_is_unknown() -> None:
    with pytest.raises(TraceError, match="anchor"):
        Clock().realtime_ns(5)
