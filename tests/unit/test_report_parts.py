"""`tracekit report` of a part of a recording, and of the events behind a finding."""

import json

import pytest
from click.testing import CliRunner
from scenarios import demonstration, everything, io
from tracebuilder import SECOND_NS, TraceBuilder

from tracekit.cli.main import cli, main

MS, US = 1_000_000, 1_000


def lines_of(*arguments):
    done = CliRunner().invoke(cli, ["report", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def test_a_stretch_of_time(tmp_path):
    builder = TraceBuilder()
    for turn in range(10):
        io(builder, turn * SECOND_NS, slot=turn, device_ns=(turn + 1) * MS)
        builder.add("open", turn * SECOND_NS, pid=1, comm="cat", path="/a", ret=3, duration_ns=100)
    path = str(builder.write(tmp_path / "t.parquet"))
    found = json.loads("\n".join(lines_of(path, "--format", "json", "--from", "2s", "--to", "5s")))
    device = next(one for one in found["latency"] if one["metric"] == "block.device")
    assert (device["count"], device["min_ns"], device["max_ns"]) == (3, 3 * MS, 5 * MS)
    assert found["trace"]["duration_ns"] == 3 * SECOND_NS
    assert found["trace"]["events"] == {"block_start": 3, "block_issue": 3, "block_complete": 3, "open": 3}
    assert found["quality"]["notes"] == ["this report is of a part of the recording: from 2.00 s to 5.00 s"]


def test_one_command_and_one_disk(tmp_path):
    path = str(demonstration(seed=3).write(tmp_path / "t.parquet"))
    found = json.loads("\n".join(lines_of(path, "--format", "json", "--comm", "file-worker", "--disk", "sdb")))
    assert {one["name"] for one in found["workload"]["block"]["by_disk"]} == {"sdb"}
    assert [one["name"] for one in found["workload"]["open"]["by_comm"]] == ["file-worker"]
    assert found["workload"]["process"] == {"by_path": [], "by_parent": []}
    assert found["patterns"] == []
    whole = json.loads("\n".join(lines_of(path, "--format", "json")))
    of_sdb = next(one for one in whole["latency"] if one["group"] == {"disk": "sdb", "op": "write"})
    assert next(one for one in found["latency"] if one["metric"] == "block.device")["count"] == of_sdb["count"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "1h"), "the part from 3,600 s on is after the end of the recording, which has 10.0 s"),
        (
            ("--from", "5s", "--to", "5s"),
            "the part from 5.00 s to 5.00 s has no length: its end must be later",
        ),
        (("--from", "soon"), "is not a duration"),
        (("--finding", "99"), "there is no finding 99"),
    ],
)
def test_what_there_is_not(tmp_path, arguments, said, capsys):
    path = str(demonstration(seed=3).write(tmp_path / "t.parquet"))
    assert main(["report", path, *arguments]) == 2
    assert said in capsys.readouterr().err


def test_the_top_of_each_list(tmp_path):
    path = str(demonstration(seed=3).write(tmp_path / "t.parquet"))
    shown = {top: "\n".join(lines_of(path, "--top", str(top))) for top in (1, 3, 50)}
    assert len(shown[1].splitlines()) < len(shown[3].splitlines()) < len(shown[50].splitlines())
    assert "more" not in shown[50].split("WHO DOES WHAT")[1]


def test_the_events_behind_each_finding(tmp_path):
    path = str(everything().write(tmp_path / "t.parquet"))
    kinds = [one["kind"] for one in json.loads("\n".join(lines_of(path, "--format", "json")))["findings"]]
    assert set(kinds) == {"restarts", "outliers", "modes", "failed_opens"}
    behind = {kind: lines_of(path, "--finding", str(rank), "--top", "9999")[2:] for rank, kind in enumerate(kinds, 1)}
    service = [line for line in behind["restarts"] if " exec " in line]
    assert len(service) == 9 * 30
    assert len([line for line in service if "start-service" in line.split("tid=")[0]]) == 9
    found = [line.split()[2] for line in behind["outliers"]]
    assert found == ["block_start", "block_issue"] * 5 + ["block_complete"] * 5
    assert all("bytes=65536" in line for line in behind["outliers"])
    assert len(behind["failed_opens"]) == 380
    assert all("ret=ENOENT" in line and "/srv/worker.conf" in line for line in behind["failed_opens"])
    assert {line.split("disk=")[1].split()[0] for line in behind["modes"]} == {"sdb"}


def test_so_many_events_of_a_finding(tmp_path, capsys):
    path = str(everything().write(tmp_path / "t.parquet"))
    assert main(["report", path, "--finding", "4", "--top", "7"]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2 + 7
    assert said.err == "and 373 more: --top 380 shows all\n"
