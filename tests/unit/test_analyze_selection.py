"""A part of a trace tells of that part all that the whole would; and how a trace is divided changes nothing."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tracebuilder import SECOND_NS, START_NS, TraceBuilder

from tracekit import open_trace
from tracekit.analyze import Selection, analyze, raw_events
from tracekit.analyze.report.json import to_json
from tracekit.cli.main import main
from tracekit.errors import UsageError

MS, US = 1_000_000, 1000
DISK = {"dev": 8 << 20, "disk": "sda", "op": "read", "bytes": 4096}


def opens(builder, comm, count, slow=0, **more):
    """Opens of a command at chance times; the last ones take 900 ms."""
    chance = np.random.default_rng(1)
    for turn in range(count):
        took = 900 * MS + turn if turn >= count - slow else int(chance.lognormal(8, 0.5))
        columns = {"path": f"/{comm}", "ret": 3} | more
        builder.add("open", int(chance.integers(0, 9 * SECOND_NS)), pid=1, comm=comm, duration_ns=took, **columns)


def requests(builder, count, disks=("sda",), **more):
    """I/O that is issued in another order than it was submitted, some of it twice."""
    chance = np.random.default_rng(2)
    for turn in range(count):
        at = turn * MS
        place = DISK | {"disk": disks[turn % len(disks)], "dev": turn % len(disks), "request": turn % 40}
        place |= {"sector": 8 * turn} | more
        issue = at + int(chance.integers(10, 4 * MS))
        builder.add("block_start", at, comm="app", pid=7, **place)
        builder.add("block_issue", issue, **place)
        if turn % 9 == 0:
            builder.add("block_requeue", issue + MS, **place)
            issue += 3 * MS
            builder.add("block_issue", issue, **place)
        builder.add("block_complete", issue + int(chance.integers(MS, 9 * MS)), ret=0, **place)


def the(report, metric):
    return next(one for one in report.latency if one.metric == metric and not one.group)


def test_one_command_has_the_outliers_that_it_has(tmp_path):
    builder = TraceBuilder()
    opens(builder, "app", 5000, slow=10)
    opens(builder, "other", 50)
    found = analyze(builder.trace(tmp_path / "t"), Selection(comm="app"))
    assert the(found, "open").outliers.count == 10


@pytest.mark.parametrize("disk", ["sda", None])
def test_outliers_of_what_is_in_no_group(tmp_path, disk):
    builder = TraceBuilder()
    requests(builder, 2000, disk=disk)
    for turn in range(5):
        place = DISK | {"disk": disk, "dev": 0, "request": 100 + turn, "sector": 8}
        builder.add("block_issue", turn * MS, **place).add("block_complete", 5 * SECOND_NS + turn * MS, ret=0, **place)
    assert the(analyze(builder.trace(tmp_path / "t")), "block.device").outliers.count == 5


def test_outliers_among_many_rare_commands(tmp_path):
    builder = TraceBuilder()
    for command in range(250):
        opens(builder, f"c{command}", 20, slow=int(command < 8))
    assert the(analyze(builder.trace(tmp_path / "t")), "open").outliers.count == 8


@pytest.mark.parametrize("rows", [7, 50, 600])
@pytest.mark.parametrize("slots", [True, False])
def test_io_in_any_order_is_the_same_however_it_is_divided(tmp_path, monkeypatch, rows, slots):
    builder = TraceBuilder()
    requests(builder, 900, ("sda", "sdb"), **({} if slots else {"request": None}))
    whole = to_json(analyze(builder.trace(tmp_path / "t")))
    monkeypatch.setattr("tracekit.writer.ROW_GROUP_ROWS", rows)
    assert to_json(analyze(builder.trace(tmp_path / "t"))) == whole


@pytest.mark.parametrize(
    "selection",
    [Selection(start_ns=0), Selection(comm="postgres"), Selection(end_ns=9 * SECOND_NS), Selection(disk="sda")],
    ids=str,
)
def test_processes_that_run_no_program_of_their_own_live_nevertheless(tmp_path, selection):
    builder = TraceBuilder()
    for turn in range(200):
        who = {"pid": 100 + turn, "tid": 100 + turn, "ppid": 50, "comm": "postgres"}
        builder.add("fork", turn * MS, **who)
        builder.add("exit", turn * MS + 40 * MS, start_ns=START_NS + turn * MS, exit_code=0, exit_signal=0, **who)
    requests(builder, 1)
    assert the(analyze(builder.trace(tmp_path / "t"), selection), "process.lifetime").count == 200


def test_columns_that_are_no_dictionaries(tmp_path):
    builder = TraceBuilder()
    opens(builder, "app", 40)
    builder.add("exec", 5, pid=3, tid=3, comm="cat", path="/bin/cat")
    path = builder.write(tmp_path / "t.parquet")
    dictionaries = to_json(analyze(open_trace(path)))
    table = pq.read_table(path)
    kinds = [
        pa.field(item.name, item.type.value_type if pa.types.is_dictionary(item.type) else item.type)
        for item in table.schema
    ]
    # Families in row groups of their own, as the writer has them.
    plain = table.cast(pa.schema(kinds, metadata=table.schema.metadata)).replace_schema_metadata(table.schema.metadata)
    metadata = pq.ParquetFile(path).metadata.metadata
    with pq.ParquetWriter(path, plain.schema, store_schema=False) as writer:
        for family in (plain.slice(0, 1), plain.slice(1)):
            writer.write_table(family)
        writer.add_key_value_metadata({b"tracekit": metadata[b"tracekit"]})
    assert to_json(analyze(open_trace(path))) == dictionaries


def test_the_greatest_duration_there_is(tmp_path):
    builder = TraceBuilder().add("open", 5, comm="app", path="/a", ret=3, duration_ns=2**63 - 1)
    assert the(analyze(builder.trace(tmp_path / "t")), "open").max_ns == 2**63 - 1


# --- raw events ------------------------------------------------------------------------------------------------


def behind(trace, kind, selection=None):
    """The rows behind the finding of a kind."""
    selection = selection or Selection()
    (finding,) = (one for one in analyze(trace, selection).findings if one.kind == kind)
    return [row for rows in raw_events(trace, selection, finding.where) for row in rows.to_pylist()]


def test_events_of_one_command_only(tmp_path):
    builder = TraceBuilder()
    opens(builder, "app", 2000, slow=8)
    opens(builder, "other", 2000, slow=8)
    rows = behind(builder.trace(tmp_path / "t"), "outliers", Selection(comm="app"))
    assert [row["comm"] for row in rows] == ["app"] * 8


@pytest.mark.parametrize("selection", [Selection(disk="sda"), Selection(comm="a")])
def test_failed_io_of_one_disk_or_command_only(tmp_path, selection):
    builder = TraceBuilder()
    for turn in range(20):
        name = "ab"[turn % 2]
        place = DISK | {"disk": f"sd{name}", "dev": turn % 2, "request": turn, "sector": 8}
        builder.add("block_start", turn * MS, comm=name, **place).add("block_issue", turn * MS + 5, **place)
        builder.add("block_complete", turn * MS + 9, comm="swapper", ret=-5, **place)
    rows = behind(builder.trace(tmp_path / "t"), "io_errors", selection)
    assert [(row["event"], row["disk"]) for row in rows] == [("block_complete", "sda")] * 10


def test_failing_opens_of_nobody_that_is_known(tmp_path):
    builder = TraceBuilder()
    opens(builder, None, 100, ret=-2)
    assert len(behind(builder.trace(tmp_path / "t"), "failed_opens")) == 100


def test_the_last_moment_counts_for_the_report_and_for_its_events_alike(tmp_path):
    builder = TraceBuilder()
    for turn in range(51):
        builder.add("open", turn * 100 * MS, comm="app", path="/a", ret=-2, duration_ns=900)
    assert len(behind(builder.trace(tmp_path / "t"), "failed_opens", Selection(end_ns=5 * SECOND_NS))) == 50


def test_what_is_left_out_is_counted_right(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tracekit.writer.ROW_GROUP_ROWS", 600)
    builder = TraceBuilder()
    opens(builder, "app", 3000, ret=-2)
    path = str(builder.write(tmp_path / "t.parquet"))
    for top, more in ((1000, 2000), (500, 2500), (600, 2400), (3000, 0)):
        assert main(["report", path, "--finding", "1", "--top", str(top)]) == 0
        said = capsys.readouterr()
        assert len(said.out.splitlines()) == 2 + top
        assert said.err == (f"and {more:,} more: --top 3000 shows all\n" if more else "")


# --- quality ---------------------------------------------------------------------------------------------------


def test_completions_of_another_disk_are_not_counted(tmp_path):
    builder = TraceBuilder()
    requests(builder, 20)
    for turn in range(10):
        builder.add("block_complete", turn, ret=0, **DISK | {"disk": "sdb", "dev": 9, "request": turn, "sector": 8})
    report = analyze(builder.trace(tmp_path / "t"), Selection(disk="sda"))
    assert not any("under way" in note for note in report.quality.notes)


def test_where_nothing_was_selected_it_is_not_said_that_nothing_was_recorded(tmp_path):
    builder = TraceBuilder()
    opens(builder, "app", 20)
    report = analyze(builder.trace(tmp_path / "t"), Selection(comm="app", start_ns=9 * SECOND_NS))
    assert not any("no event was recorded" in note for note in report.quality.notes)


def test_a_command_or_disk_that_is_not_there_is_wrong_usage_and_those_there_are_told(tmp_path):
    builder = TraceBuilder()
    opens(builder, "app", 50)
    requests(builder, 20)
    trace = builder.trace(tmp_path / "t")
    with pytest.raises(
        UsageError, match=r"^the recording has nothing of the command ap: did you mean 'app'\? It has app$"
    ):
        analyze(trace, Selection(comm="ap"))
    with pytest.raises(UsageError, match=r"the command a: did you mean 'app'\? It has app$"):
        analyze(trace, Selection(comm="a"))
    with pytest.raises(
        UsageError, match=r"^the recording has nothing of the disk sdb: did you mean 'sda'\? It has sda$"
    ):
        analyze(trace, Selection(disk="sdb"))


@pytest.mark.parametrize("command", [["report"], ["slice", "-o", "part.parquet"]], ids=lambda words: words[0])
def test_a_long_name_is_cut_as_the_kernel_cuts_it(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    builder = TraceBuilder()
    opens(builder, "a_very_long_pro", 50)
    trace = builder.trace(tmp_path / "t")
    assert main([*command, str(trace.path), "--comm", "a_very_long_program_name"]) == 0
    said = capsys.readouterr()
    assert "15 bytes of a command's name: a_very_long_program_name is a_very_long_pro\n" in said.err
    assert len(open_trace(trace.path).part(comm="a_very_long_program_name").opens()) == 50
    if command == ["report"]:
        assert "a_very_long_pro" in said.out


def test_who_was_on_the_cpu_when_an_io_completed_did_nothing(tmp_path):
    builder = TraceBuilder().add("process", 1, pid=4, tid=4, comm="idler")
    requests(builder, 3)
    builder.add("block_complete", SECOND_NS, comm="swapper/0", **DISK)
    trace = builder.trace(tmp_path / "t")
    with pytest.raises(UsageError, match=r"^the recording has nothing of the command swapper/0; it has app$"):
        analyze(trace, Selection(comm="swapper/0"))
    notes = analyze(trace, Selection(comm="idler")).quality.notes
    assert "nothing of the command idler was recorded in this part" in notes


def test_where_nobody_was_seen_to_submit_who_issues_acts(tmp_path):
    builder = TraceBuilder().add("block_issue", 5, comm="app", **DISK).add("block_complete", 9, comm="swapper", **DISK)
    with pytest.raises(UsageError, match=r"^the recording has nothing of the command x; it has app$"):
        analyze(builder.trace(tmp_path / "t"), Selection(comm="x"))


def test_who_starts_a_command_is_told_though_it_is_not_looked_at(service):
    """A shell that is new in each round starts it and others: nobody starts it again because it fails."""
    finding = analyze(service, Selection(comm="cat")).findings[0]
    assert "started by start-service below supervise (pid 31480), running cat" in finding.title
    assert finding.kind == "periodic"
    again = analyze(service, Selection(comm="start-service")).findings[0]
    assert "started by supervise (pid 31480), running start-service" in again.title
    assert again.kind == "restarts"


def test_a_command_that_did_nothing_for_a_while_is_said_to(tmp_path):
    builder = TraceBuilder()
    opens(builder, "app", 50)
    builder.add("open", 1, pid=1, comm="first", duration_ns=5, path="/f", ret=3)
    trace = builder.trace(tmp_path / "t")
    notes = analyze(trace, Selection(comm="first", start_ns=SECOND_NS)).quality.notes
    assert "nothing of the command first was recorded in this part" in notes
    assert not any("nothing" in note for note in analyze(trace, Selection(comm="first")).quality.notes)
