"""Whatever the columns of a trace hold: what is written from it can be read, and nothing ends in a traceback."""

from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tracebuilder import TraceBuilder

from tracekit.errors import UsageError
from tracekit.metadata import Clock, Counters
from tracekit.schema import ALL_EVENTS, COLUMNS, Column
from tracekit.share.names import read_allowed
from tracekit.share.redacting import redact, suspects
from tracekit.share.slicing import Slice, slice_trace
from tracekit.trace import open_trace

TEXTS = (
    "",
    "a",
    "/",
    "//",
    "..",
    "\x00",
    "x" * 300,
    "--password",
    "p=",
    "=",
    "--a=b=c",
    "/usr/bin/sh",
    "1",
    "\n",
    None,
)
ALLOWED = read_allowed(())


def a_value(chance: Random, column: Column) -> object:
    if chance.random() < 0.25:
        return None
    if pa.types.is_dictionary(column.type):
        return chance.choice(TEXTS)
    if pa.types.is_list(column.type):
        return [chance.choice(TEXTS) for _ in range(chance.randrange(4))]
    least = -(1 << (column.type.bit_width - 1)) if pa.types.is_signed_integer(column.type) else 0
    greatest = least + (1 << column.type.bit_width) - 1
    return chance.choice((0, 1, 2, 7, least, greatest, chance.randint(least, greatest)))


def anything(chance: Random) -> TraceBuilder:
    builder = TraceBuilder(start_ns=chance.choice((10**12, 0, 2**62, -(2**40))))
    for _ in range(chance.randrange(60)):
        event = chance.choice(ALL_EVENTS)
        row = {column.name: a_value(chance, column) for column in COLUMNS[2:] if chance.random() < 0.7}
        row |= {"pid": chance.randrange(1, 6), "ppid": chance.randrange(6)} if chance.random() < 0.8 else {}
        if event.startswith("block") and chance.random() < 0.8:
            row |= {"dev": 1, "request": chance.randrange(3), "sector": chance.randrange(3)}
        builder.add(event, chance.randrange(10**10), **row)
    if chance.random() < 0.3:
        builder.metadata(clock=Clock(), counters={"process": Counters(-5, 1, 2, 3), "x": Counters()})
        builder.metadata(filters={"uid": [1, "x", None, 2.5, {"a": 1}], "comm": "x"}, command=("a", "--password", "b"))
    return builder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("anything")


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_anything(folder: Path, seed: int) -> None:
    chance, output = Random(seed), folder / "out.parquet"
    trace = anything(chance).trace(folder / "trace.parquet")
    wanted = Slice(
        chance.choice((None, 0, 10**9)),
        chance.choice((None, 5 * 10**9)),
        trees=chance.choice(((), (1, 2))),
        comms=chance.choice(((), ("a", ""))),
        disks=chance.choice(((), ("a",))),
    )
    try:
        slice_trace(trace, wanted, output, force=True)
    except UsageError as error:
        assert "nothing of" in str(error) or "no process" in str(error)  # noqa: PT017 - there may well be something
    else:
        assert 0 < open_trace(output).table().num_rows <= 2 * trace.rows
    redact(trace, output, b"k" * 32, ALLOWED, force=True)
    assert open_trace(output).counts == trace.counts
    suspects(trace)
