"""Tables of a recording: their columns, times and parts, and block I/O as the report pairs it."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tracebuilder import START_NS, TraceBuilder

import tracekit
from tracekit.analyze import Selection, analyze
from tracekit.analyze.frames import EVENT_TABLES, TABLES, columns_of, type_name
from tracekit.analyze.plots import KINDS
from tracekit.analyze.report.words import TITLES
from tracekit.errors import UsageError
from tracekit.metadata import Anchor, Clock
from tracekit.recording import Metric, PictureKind, Recording, Table
from tracekit.schema import ALL_EVENTS, FAMILY_OF, SCHEMA

SAMPLES = Path(__file__).parents[2] / "sample_traces"
SECOND_NS = 10**9


def small(tmp_path: Path, clock: Clock | None = None) -> Recording:
    builder = TraceBuilder()
    for at_ns, comm, path in ((1, "a", "/x"), (2 * SECOND_NS, "b", "/y"), (3 * SECOND_NS, "a", "/z")):
        builder.add("open", at_ns, pid=7, tid=7, comm=comm, path=path, ret=3, duration_ns=5)
    builder.add("open", 4 * SECOND_NS, comm=None, path=None)
    builder.add("lost", 5, start_ns=START_NS, lost=3, lost_family="open")
    if clock is not None:
        builder.metadata(clock=clock)
    return tracekit.open_trace(builder.write(tmp_path / "trace.parquet"))


@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_the_columns_that_are_documented(service: Recording, table: Table) -> None:
    frame, arrow = getattr(service, table)(), getattr(service.arrow, table)()
    documented = service.columns(table)
    assert list(frame.columns) == arrow.column_names == documented["column"].to_list()
    assert [type_name(field.type) for field in arrow.schema] == documented["type"].to_list()
    assert documented["meaning"].all()
    times = [name for name in frame if str(name).endswith("_ns")]
    assert set(documented.set_index("column").loc[times]["unit"]) <= {"ns"}
    assert len(frame) == arrow.num_rows


def test_a_column_is_in_a_table_exactly_where_its_events_may_fill_it() -> None:
    for event in ALL_EVENTS:
        filled = {column.name for column in columns_of("block_events") if column.of_event(event)}
        assert FAMILY_OF[event] == "block" or "sector" not in filled
    assert "argv" in {column.name for column in columns_of("execs")}
    assert not {"argv", "path", "exit_code", "event", "duration_ns"} & {one.name for one in columns_of("forks")}
    assert {"exit_code", "start_ns", "ppid"} <= {column.name for column in columns_of("exits")}


@pytest.mark.parametrize("name", ["service-restart", "disk-two-modes", "failing-opens"])
def test_no_column_with_values_is_left_out(name: str) -> None:
    trace = tracekit.open_trace(SAMPLES / f"{name}.parquet")
    for table, events in EVENT_TABLES.items():
        rows = trace.table(*events)
        filled = {column for column in SCHEMA.names if rows.column(column).null_count < rows.num_rows} - {"event"}
        assert filled <= {column.name for column in columns_of(table)}, table


def test_the_rows_are_those_of_the_trace(service: Recording) -> None:
    for table, events in EVENT_TABLES.items():
        mine, raw = getattr(service.arrow, table)(), service.table(*events)
        assert mine.drop_columns("time").to_pylist() == raw.select(mine.column_names[1:]).to_pylist()


def test_names_are_categories_without_those_of_other_events(service: Recording) -> None:
    assert service.execs()["comm"].value_counts().min() > 0
    assert service["1s":"2s"].block()["comm"].value_counts().min() > 0


def test_time_is_the_wall_clock_of_the_anchors(tmp_path: Path) -> None:
    anchors = (Anchor(START_NS, 10**18), Anchor(START_NS + 2 * SECOND_NS, 10**18 + 3 * SECOND_NS))
    opens = small(tmp_path, Clock(anchors=anchors)).opens()
    assert str(opens["time"].dtype) == "datetime64[ns, UTC]"
    assert opens["time"].astype("int64").to_list() == [10**18 + at for at in (1, 3 * 10**9, 4 * 10**9, 5 * 10**9)]
    assert isinstance(opens["ret"].dtype, pd.Int32Dtype)


def test_time_is_null_without_anchors(tmp_path: Path) -> None:
    opens = small(tmp_path, Clock()).opens(["time", "path"])
    assert opens["time"].isna().all()
    assert str(opens["time"].dtype) == "datetime64[ns, UTC]"


def test_parts_of_a_recording(tmp_path: Path) -> None:
    trace = small(tmp_path)
    assert trace["1s":"3s"].opens()["path"].to_list() == ["/y"]
    assert trace[2:].opens()["path"].to_list()[:2] == ["/y", "/z"]
    assert trace.part(comm="a").opens(["path"])["path"].to_list() == ["/x", "/z"]
    assert trace.part(comm="a")["0s":0.5].arrow.opens(["path"]).to_pydict() == {"path": ["/x"]}
    with pytest.raises(UsageError, match=r"^the recording has nothing of the command nobody; it has a, b"):
        trace.part(comm="nobody")
    with pytest.raises(UsageError, match=r"^the recording has nothing of the disk sdz"):
        trace.part(disk="sdz")
    assert len(trace.part(comm="a").lost()) == 1
    assert trace.part("1s", "2s", comm="a").selection == Selection(SECOND_NS, 2 * SECOND_NS, "a", None)
    assert trace.selection == Selection()


def test_what_cannot_be_asked_for(disk: Recording, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"opens has no column 'sector': it has time, ts_ns"):
        disk.opens(["sector"])
    with pytest.raises(UsageError, match=r"a slice has"):
        disk[1:2:3]
    with pytest.raises(UsageError, match=r"^the part from 7,200 s on is after the end"):
        disk.part("2h")
    with pytest.raises(UsageError, match=r"^the part from 5.00 s to 1.00 s has no length"):
        disk["5s":"1s"]
    for never in (-1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="count from its start"):
            disk[never:]
    with pytest.raises(UsageError, match="not a duration"):
        disk["soon":]
    with pytest.raises(UsageError, match=r"who submitted.*block\(\)"):
        disk.part(comm="database").block_events()
    with pytest.raises(UsageError, match="no table 'exec'"):
        columns_of("exec")


def test_a_copy_in_another_process_is_the_same(service: Recording) -> None:
    copy = pickle.loads(pickle.dumps(service))
    assert type(copy) is Recording
    assert copy.execs(["ts_ns"]).equals(service.execs(["ts_ns"]))


def test_a_trace_without_events_has_empty_tables(tmp_path: Path) -> None:
    trace = tracekit.open_trace(TraceBuilder().write(tmp_path / "trace.parquet"))
    for table in TABLES:
        frame = getattr(trace, table)()
        assert frame.empty
        assert list(frame.columns) == [column.name for column in columns_of(table)]


@pytest.mark.parametrize("metric", ["device", "queue", "total"])
def test_block_has_the_latencies_of_the_report(disk: Recording, metric: str) -> None:
    told = next(one for one in analyze(disk).latency if one.metric == f"block.{metric}" and not one.group)
    values = disk.block()[f"{metric}_ns"].dropna()
    assert (len(values), values.min(), values.max()) == (told.count, told.min_ns, told.max_ns)
    assert np.percentile(values.astype(int), 50) == pytest.approx(told.p50_ns, rel=0.02)


def test_block_tells_of_each_request_what_is_known(tmp_path: Path) -> None:
    builder = TraceBuilder()
    request = {"dev": 1, "disk": "sda", "request": 1, "sector": 8, "bytes": 4096, "op": "read"}
    builder.add("block_start", 10, pid=7, comm="db", flags=0, **request)
    builder.add("block_issue", 30, pid=1, comm="other", flags=0, **request)
    builder.add("block_complete", 130, pid=0, comm="idle", flags=0, ret=-5, **request)
    late = request | {"request": 2, "sector": None, "bytes": 0}
    builder.add("block_start", builder.duration_ns - 200, pid=8, comm="db", flags=0, **late)
    row, open_end = (
        tracekit.open_trace(builder.write(tmp_path / "trace.parquet")).part(comm="db").arrow.block().to_pylist()
    )
    assert (row["comm"], row["pid"], row["disk"], row["op"], row["bytes"]) == ("db", 7, "sda", "read", 4096)
    assert (row["queue_ns"], row["device_ns"], row["total_ns"], row["depth"]) == (20, 100, 120, 1)
    assert (row["failed"], row["ts_ns"]) == (True, START_NS + 10)
    assert (open_end["in_flight"], open_end["total_ns"], open_end["sector"], open_end["bytes"]) == (True, None, None, 0)


def test_block_is_in_time_order_and_has_the_disk_asked_for(disk: Recording) -> None:
    name = disk.block(["disk"])["disk"].iloc[0]
    table = disk.part(disk=name).arrow.block(["ts_ns"])
    assert table.num_rows == disk.arrow.block().num_rows
    assert (np.diff(table.column("ts_ns").to_numpy()) >= 0).all()


def processes(tmp_path: Path) -> Recording:
    """A shell that ran already starts a program, twice with the same pid; one could not be run."""
    builder = TraceBuilder()
    builder.add("process", 0, pid=5, tid=5, ppid=1, comm="sh", start_ns=START_NS - 7, argv=["sh", "-l"])
    for at_s, comm, code in ((1, "one", 0), (3, "two", 3)):
        at, who = at_s * SECOND_NS, {"pid": 9, "tid": 9, "ppid": 5}
        builder.add("fork", at, comm="sh", **who)
        builder.add("exec", at + 100, comm=comm, path=f"/bin/{comm}", argv=[comm, "-v"], cgroup="/c", **who)
        builder.add("exit", at + SECOND_NS, start_ns=START_NS + at, comm=comm, exit_code=code, exit_signal=0, **who)
    builder.add("exec_failed", 5 * SECOND_NS, pid=8, tid=8, ppid=5, comm="sh", path="/no", argv=["no"], ret=-2)
    return tracekit.open_trace(builder.write(tmp_path / "trace.parquet"))


def test_a_row_of_processes_is_a_life(tmp_path: Path) -> None:
    trace = processes(tmp_path)
    failed, shell, one, two = trace.arrow.processes().to_pylist()
    assert (failed["pid"], failed["start_ns"], failed["time"], failed["exec_ns"]) == (8, None, None, None)
    assert (failed["path"], failed["argv"], failed["parent"]) == ("/no", ["no"], "sh")
    assert (shell["start_ns"], shell["exit_ns"], shell["argv"], shell["path"]) == (
        START_NS - 7,
        None,
        ["sh", "-l"],
        None,
    )
    assert [(row["pid"], row["comm"], row["path"], row["argv"]) for row in (one, two)] == [
        (9, "one", "/bin/one", ["one", "-v"]),
        (9, "two", "/bin/two", ["two", "-v"]),
    ]
    assert [(row["ppid"], row["parent"], row["cgroup"]) for row in (one, two)] == [(5, "sh", "/c")] * 2
    assert [(row["lifetime_ns"], row["exit_code"], row["exit_signal"]) for row in (one, two)] == [
        (SECOND_NS, 0, 0),
        (SECOND_NS, 3, 0),
    ]
    assert trace.processes(["time"])["time"].iloc[2] == trace.forks(["time"])["time"].iloc[0]


def test_lifetimes_that_are_not_known_or_make_no_sense(tmp_path: Path) -> None:
    """An exit that tells when its process began needs nothing else; without that, one in between may be lost."""
    builder = TraceBuilder().add("lost", 2 * SECOND_NS, start_ns=START_NS + SECOND_NS, lost=1, lost_family="process")
    for pid, told in ((7, {"start_ns": START_NS + SECOND_NS}), (8, {}), (9, {"start_ns": START_NS + 4 * SECOND_NS})):
        builder.add("fork", SECOND_NS, pid=pid, tid=pid, ppid=1).add("exit", 3 * SECOND_NS, pid=pid, tid=pid, **told)
    trace = tracekit.open_trace(builder.write(tmp_path / "trace.parquet"))
    assert trace.arrow.processes(["pid", "lifetime_ns"]).sort_by("pid").to_pydict() == {
        "pid": [7, 8, 9],
        "lifetime_ns": [2 * SECOND_NS, None, 0],
    }


def test_names_of_processes_and_of_parents_that_are_seen_later(tmp_path: Path) -> None:
    builder = TraceBuilder()
    builder.add("exec", 100, pid=9, tid=9, ppid=5, comm="one", path="/bin/one")
    builder.add("exec_failed", 200, pid=9, tid=10, comm="a thread", path="/no", ret=-2)
    builder.add("fork", 300, pid=5, tid=5, ppid=1, comm="sh")
    trace = tracekit.open_trace(builder.write(tmp_path / "trace.parquet"))
    assert trace.arrow.processes(["pid", "comm", "parent"]).sort_by("pid").to_pylist()[-1] == {
        "pid": 9,
        "comm": "one",
        "parent": "sh",
    }


def test_processes_of_a_part_lived_meanwhile(tmp_path: Path) -> None:
    trace = processes(tmp_path)
    assert trace["1.5s":"1.7s"].arrow.processes(["comm", "exit_code"]).to_pydict() == {
        "comm": ["sh", "sh", "one"],
        "exit_code": [None, None, 0],
    }
    assert trace.part("2.5s", comm="two").arrow.processes(["pid"]).to_pylist() == [{"pid": 9}]


def test_processes_have_the_lifetimes_of_the_report(service: Recording) -> None:
    told = next(one for one in analyze(service).latency if one.metric == "process.lifetime" and not one.group)
    lifetimes = service.processes()["lifetime_ns"].dropna()
    assert (len(lifetimes), lifetimes.min(), lifetimes.max()) == (told.count, told.min_ns, told.max_ns)


def test_names_that_an_editor_completes_are_those_that_there_are() -> None:
    assert set(get_args(Table)) == set(TABLES)
    assert get_args(Metric) == tuple(TITLES)
    assert get_args(PictureKind) == tuple(KINDS)


def test_nothing_is_imported_that_is_not_needed() -> None:
    program = (
        "import sys, tracekit; there = lambda: sorted({'pandas', 'matplotlib', 'rich', 'tracekit.analyze'}"
        " & set(sys.modules)); print('pyarrow' in sys.modules);"
        f"trace = tracekit.open_trace({str(SAMPLES / 'disk-two-modes.parquet')!r}); print(there());"
        "trace.arrow.block(); trace.arrow.opens(); print(there()); trace.opens(); print(there());"
        "str(trace.report()); print(there())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "False",
        "[]",
        "['tracekit.analyze']",
        "['pandas', 'tracekit.analyze']",
        "['pandas', 'rich', 'tracekit.analyze']",
    ]


def test_no_other_columns_are_read(service: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    batches = Recording.batches

    def watched(self: Recording, *events: str, columns: list[str], **bounds: int | None) -> object:
        read.extend(columns)
        return batches(self, *events, columns=columns, **bounds)

    monkeypatch.setattr(Recording, "batches", watched)
    part = service.part(comm="cat")
    read.clear()
    assert isinstance(part.arrow.execs(["time", "path"]), pa.Table)
    assert sorted(read) == ["comm", "path", "ts_ns"]
