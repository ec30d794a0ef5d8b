"""What is exported and imported again has the same events, whatever is in them."""

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tracebuilder import TraceBuilder

from tracekit import Trace, open_trace
from tracekit.exchange.bring import Import, bring
from tracekit.exchange.give import Export, give
from tracekit.exchange.lanes import Lanes
from tracekit.exchange.protobuf import raw, varints
from tracekit.schema import ALL_EVENTS, COLUMNS
from tracekit.trace import to_pandas

TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    [
        "",
        "'",
        "=1+1",
        "'=1",
        "+a",
        "-1",
        "@x",
        "\t",
        "\rx",
        "\n",
        "a,b",
        '"',
        '""',
        "\x00",
        "null",
        "NA",
        "\\x41",
        "\u202e",
    ]
)
RANGES = {"int64": (0, 2**63 - 1), "int32": (-(2**31), 2**31 - 1), "uint8": (0, 255), "uint16": (0, 2**16 - 1)}
RANGES |= {"uint32": (0, 2**32 - 1), "uint64": (0, 2**64 - 1)}


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = []
    for event in draw(st.lists(st.sampled_from(ALL_EVENTS), min_size=1, max_size=12)):
        row: dict[str, Any] = {"event": event, "at_ns": draw(st.integers(0, 3) | st.integers(0, 2**61))}
        for column in COLUMNS:
            if column.name in ("ts_ns", "event") or not column.of_event(event) or draw(st.booleans()):
                continue
            kind = str(column.type)
            if kind.startswith("dictionary"):
                row[column.name] = draw(TEXT)
            elif kind.startswith("list"):
                row[column.name] = draw(st.lists(TEXT, max_size=3))
            else:
                row[column.name] = draw(st.integers(*RANGES[kind]))
        made.append(row)
    return made


def written(folder: Path, made: list[dict[str, Any]]) -> Trace:
    builder = TraceBuilder(start_ns=1)
    for row in made:
        builder.add(**row)
    return builder.trace(folder / "trace.parquet")


@pytest.mark.parametrize("ending", ["csv", "jsonl", "arrow", "stream", "parquet"])
@settings(max_examples=30)
@given(made=rows())
def test_there_and_back_again(ending: str, made: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trace = written(folder, made)
        other = folder / f"exported.{ending}"
        if ending == "parquet":
            other = trace.path
        elif ending == "stream":
            other.write_bytes(_stream(trace.path))
        else:
            give(Export(trace.path, other))
        done = bring(Import((other,), folder / "back.parquet", force=True))
        back = open_trace(folder / "back.parquet")
        assert done.tally.nonsense == 0
        assert back.table().to_pylist() == trace.table().to_pylist()
        if ending in ("arrow", "stream", "parquet"):
            assert back.metadata == trace.metadata


def _stream(path: Path) -> bytes:
    held = io.TextIOWrapper(io.BytesIO())
    stdout, sys.stdout = sys.stdout, held
    try:
        give(Export(path, Path("-"), "arrow"))
        return held.buffer.getvalue()  # type: ignore[attr-defined,no-any-return]
    finally:
        sys.stdout = stdout


INTERVALS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(0, 12)), max_size=40)


@given(st.lists(INTERVALS, max_size=4))
def test_nothing_overlaps_on_a_lane_and_there_are_no_more_than_needed(pieces: list[list[tuple[int, int, int]]]) -> None:
    lanes, taken = Lanes(), []
    for piece in pieces:
        group, begin, length = (np.array([one[part] for one in piece], np.int64) for part in range(3))
        lane = lanes.assign(group, begin, begin + length)
        taken += zip(
            group.tolist(), lane.tolist(), begin.tolist(), (begin + np.maximum(length, 1)).tolist(), strict=True
        )
    for number in range(3):
        mine = [one for one in taken if one[0] == number]
        for one in mine:
            others = [other for other in mine if other is not one and other[1] == one[1]]
            assert not any(other[2] < one[3] and one[2] < other[3] for other in others)
        if len(pieces) == 1:
            deepest = max((sum(a[2] <= t < a[3] for a in mine) for t in range(60)), default=0)
            assert len({one[1] for one in mine}) == deepest


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_integers_as_protocol_buffers_have_them(values: list[int]) -> None:
    expected = b""
    for value in values:
        left = value % 2**64
        while left >= 128:
            expected += bytes([left & 127 | 128])
            left >>= 7
        expected += bytes([left])
    assert bytes(raw(varints(np.array(values, np.int64)))) == expected


def test_frames_of_a_round_trip_are_equal_for_a_sample(tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "sample_traces" / "service-restart.parquet"
    give(Export(path, tmp_path / "rows.csv"))
    bring(Import((tmp_path / "rows.csv",), tmp_path / "back.parquet"))
    one, other = (to_pandas(open_trace(p).table()) for p in (path, tmp_path / "back.parquet"))
    assert one.astype(object).fillna(-1).equals(other.astype(object).fillna(-1))
