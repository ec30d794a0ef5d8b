"""Reading a trace back: events, columns, time slices, and the same rows in other readers."""

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damage import small_trace
from hypothesis import given
from hypothesis import strategies as st
from tracebuilder import START_NS, TraceBuilder

import tracekit
from tracekit.analyze import analyze
from tracekit.cli.main import main
from tracekit.errors import TraceError, UsageError
from tracekit.metadata import Clock
from tracekit.schema import ALL_EVENTS, FAMILY_OF, METADATA_KEY, SCHEMA
from tracekit.trace import Trace, open_trace

EVENTS = st.lists(st.tuples(st.sampled_from(ALL_EVENTS), st.integers(0, 50)), max_size=30)


def written(events: list[tuple[str, int]]) -> Trace:
    builder = TraceBuilder(start_ns=0)
    for number, (event, at_ns) in enumerate(events):
        builder.add(event, at_ns, tid=number)
    with tempfile.TemporaryDirectory() as folder:
        # Small row groups, so that some are passed over; the file stays open, and readable, when its name is gone.
        path = builder.write(Path(folder) / "trace.parquet")
        metadata = pq.read_metadata(path).metadata
        pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path, row_group_size=4)
        return open_trace(path)


@given(EVENTS, st.lists(st.sampled_from(ALL_EVENTS)), st.none() | st.integers(-5, 60), st.none() | st.integers(-5, 60))
def test_a_slice_is_what_a_filter_of_all_rows_would_give(
    events: list[tuple[str, int]], wanted: list[str], start_ns: int | None, end_ns: int | None
) -> None:
    trace = written(events)
    expected = [
        row
        for row in trace.table().to_pylist()
        if (not wanted or row["event"] in wanted)
        and (start_ns is None or row["ts_ns"] >= start_ns)
        and (end_ns is None or row["ts_ns"] < end_ns)
    ]
    assert trace.table(*wanted, start_ns=start_ns, end_ns=end_ns).to_pylist() == expected


@given(EVENTS, st.lists(st.sampled_from(SCHEMA.names), min_size=1, unique=True))
def test_columns_come_as_asked_for(events: list[tuple[str, int]], columns: list[str]) -> None:
    trace = written(events)
    table = trace.table("exec", "open", columns=columns)
    assert table.column_names == columns
    assert table.to_pylist() == trace.table("exec", "open").select(columns).to_pylist()


@given(EVENTS)
def test_nothing_is_lost_and_families_stay_in_time_order(events: list[tuple[str, int]]) -> None:
    trace = written(events)
    rows = trace.table(columns=["event", "ts_ns"]).to_pylist()
    assert sorted((row["event"], row["ts_ns"]) for row in rows) == sorted(events)
    assert trace.counts == {event: n for event in ALL_EVENTS if (n := sum(name == event for name, _ in events))}
    for family in set(FAMILY_OF.values()):
        times = [row["ts_ns"] for row in rows if FAMILY_OF[row["event"]] == family]
        assert times == sorted(times)


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    builder = TraceBuilder()
    long, odd = "x" * 5000, "spaces and\nnewlines \\xff \u00e9"
    builder.add(
        "exec", 5, pid=2, tid=2, ppid=1, uid=0, comm="a", path="/bin/a", argv=["a", odd, long, ""], argv_bytes=9000
    )
    builder.add("exec_failed", 6, pid=2, tid=3, comm="a", path="/nope", argv=[], ret=-2)
    builder.add("exit", 9, pid=2, tid=2, exit_code=255, exit_signal=9, start_ns=START_NS + 5)
    builder.add("block_issue", 7, cpu=65535, dev=2**32 - 1, disk="sda", request=0, sector=2**64 - 1, bytes=2**32 - 1)
    builder.add("block_complete", 8, cpu=1, dev=2**32 - 1, disk="sda", request=0, sector=None, ret=-5, op="flush")
    builder.add("open", 1, pid=2, tid=2, path=odd, ret=-13, duration_ns=2**62, flags=0o2000000, mode=0o644, dirfd=-100)
    builder.add("lost", 10, start_ns=START_NS, lost=2**64 - 1, lost_family="open")
    return builder.trace(tmp_path_factory.mktemp("trace") / "trace.parquet")


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of any reader with its own kinds of null and list replaced."""
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, list | np.ndarray):
        return list(value)
    return None if pd.isna(value) else value


def test_the_same_rows_in_pandas(trace: Trace) -> None:
    frame = trace.pandas()
    assert plain(frame.to_dict("records")) == trace.table().to_pylist()
    assert isinstance(frame["sector"].dtype, pd.UInt64Dtype)
    assert isinstance(frame["event"].dtype, pd.CategoricalDtype)
    assert plain(pd.read_parquet(trace.path, dtype_backend="pyarrow").to_dict("records")) == trace.table().to_pylist()


def test_the_same_rows_in_polars(trace: Trace) -> None:
    assert plain(pl.read_parquet(trace.path).to_dicts()) == trace.table().to_pylist()


def test_the_same_rows_in_duckdb(trace: Trace) -> None:
    relation = duckdb.connect().execute("SELECT * FROM read_parquet(?)", [str(trace.path)])
    names = [column[0] for column in relation.description or ()]
    assert [dict(zip(names, row, strict=True)) for row in relation.fetchall()] == trace.table().to_pylist()


def test_metadata_and_times(trace: Trace) -> None:
    assert trace.metadata.backend == "core"
    assert (trace.start_ns, trace.end_ns) == (START_NS, START_NS + 10 * 10**9)
    assert "7 events" in repr(trace)


def test_without_anchors_the_start_is_the_first_event(tmp_path: Path) -> None:
    builder = TraceBuilder().add("exec", 5).add("open", 3).metadata(clock=Clock())
    assert builder.trace(tmp_path / "t").start_ns == START_NS + 3
    assert TraceBuilder().metadata(clock=Clock()).trace(tmp_path / "empty").start_ns == 0


def test_a_trace_without_events(tmp_path: Path) -> None:
    trace = TraceBuilder().trace(tmp_path / "trace.parquet")
    assert trace.counts == {}
    assert trace.table().schema.equals(SCHEMA)
    assert trace.pandas("exec", columns=["ts_ns"]).shape == (0, 1)


def test_names_that_do_not_exist(trace: Trace) -> None:
    with pytest.raises(UsageError, match=r"no event 'exce'.* exec"):
        next(trace.batches("exce"))
    with pytest.raises(UsageError, match=r"no column 'time'.* ts_ns"):
        next(trace.batches(columns=["time"]))


def test_columns_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    path = small_trace(tmp_path / "trace.parquet")
    metadata, table = pq.read_metadata(path).metadata, pq.read_table(path)
    nested = pa.array([{"a": 1, "b": 2}] * table.num_rows)
    table = table.add_column(0, "colour", nested).replace_schema_metadata(metadata)
    pq.write_table(table, path, row_group_size=100)
    trace = open_trace(path)
    assert trace.table().schema.names == SCHEMA.names
    assert trace.table("open").num_rows == 200


@pytest.mark.parametrize("name", ["ts_ns", "event"])
def test_each_event_has_a_time_and_a_name(name: str, tmp_path: Path) -> None:
    path = small_trace(tmp_path / "trace.parquet")
    metadata, table = pq.read_metadata(path).metadata, pq.read_table(path)
    place = table.schema.get_field_index(name)
    column = pa.chunked_array([table[name].slice(1).combine_chunks(), pa.nulls(1, table[name].type)])
    pq.write_table(table.set_column(place, name, column).replace_schema_metadata(metadata), path)
    with pytest.raises(TraceError, match=f"its column '{name}' has nothing in some row"):
        open_trace(path).verify()


@pytest.mark.parametrize("store_schema", [True, False])
def test_row_groups_of_several_families(store_schema: bool, tmp_path: Path) -> None:
    """As another program may write them, with strings of any kind."""
    whole = small_trace(tmp_path / "whole.parquet")
    trace, mixed = open_trace(whole), tmp_path / "mixed.parquet"
    with pq.ParquetWriter(mixed, trace.table().schema, store_schema=store_schema) as writer:
        writer.write_table(trace.table(), 150)
        writer.add_key_value_metadata({METADATA_KEY: trace.metadata.to_json().encode()})
    again = open_trace(mixed)
    assert again.table().to_pylist() == trace.table().to_pylist()
    for event in ("exec", "open", "block_issue"):
        rows = again.table(event)
        assert rows["event"].combine_chunks().dictionary.to_pylist() == [event]
        assert rows.to_pylist() == trace.table(event).to_pylist()
    assert replace(analyze(again).trace, path="") == replace(analyze(trace).trace, path="")
    for path in (whole, mixed):
        assert main(["slice", str(path), "--comm", "reader", "--force", "-o", str(tmp_path / f"{path.stem}-part")]) == 0
    parts = [open_trace(tmp_path / f"{name}-part").table().to_pylist() for name in ("whole", "mixed")]
    assert parts[0] == parts[1] != []


@given(st.data())
def test_flipped_bytes_are_found_or_harmless(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = small_trace(Path(folder) / "trace.parquet")
        rows = open_trace(path).table()
        raw = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(raw)
        # Whatever is wrong with the file, the only thing raised is the error that names it.
        with contextlib.suppress(TraceError):
            trace = open_trace(path)
            assert trace.table().num_rows <= rows.num_rows
            assert sum(trace.counts.values()) <= rows.num_rows


def test_the_package_exports_what_it_says() -> None:
    assert {name: getattr(tracekit, name).__name__ for name in tracekit.__all__ if name != "__version__"} == {
        name: name for name in ("Part", "Recording", "Trace", "open_trace")
    }
    assert issubclass(tracekit.Recording, Trace)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tracekit.nonsense


def test_a_trace_that_polars_wrote(tmp_path: Path) -> None:
    """Its strings and lists are large ones."""
    sample = Path(__file__).parents[2] / "sample_traces" / "service-restart.parquet"
    metadata = pq.read_metadata(sample).metadata[METADATA_KEY].decode()
    made = tmp_path / "t.parquet"
    for frame in (pl.read_parquet(sample), pl.read_parquet(sample).cast({pl.Categorical: pl.String})):
        frame.write_parquet(made, metadata={METADATA_KEY.decode(): metadata})
        assert pq.read_schema(made).field("argv").type == pa.large_list(pa.large_string())
        found = open_trace(made).table()
        assert found.schema.equals(SCHEMA)
        assert found.to_pylist() == open_trace(sample).table().to_pylist()


@pytest.mark.parametrize(("at_ns", "anchored"), [(2**62, True), (-(2**62), True), (2**62, False)])
def test_a_time_that_is_of_no_recording_is_damage(at_ns: int, anchored: bool, tmp_path: Path) -> None:
    def written(last_ns: int) -> Trace:
        builder = TraceBuilder(start_ns=5 if anchored else 0).add("exec", 0, pid=1).add("exec", last_ns, pid=1)
        if not anchored:
            builder.metadata(clock=replace(builder.footer().clock, anchors=()))
        return builder.trace(tmp_path / "trace.parquet")

    nearly = at_ns - 1 if at_ns > 0 else at_ns + 1
    assert len(written(nearly).table("exec")) == 2
    with pytest.raises(TraceError, match=f"row group 0: its column 'ts_ns' holds {5 * anchored + at_ns}, which is no"):
        written(at_ns).table("exec")
