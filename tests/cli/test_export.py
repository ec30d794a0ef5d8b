"""`tracekit export`: what it writes, where, and what it refuses."""

import csv
import io
import json
import subprocess
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from damage import DAMAGES, Damage, small_trace
from hostile import hostile
from needs import small_disk
from recording import TRACEKIT
from tracebuilder import TraceBuilder

from tracekit import open_trace
from tracekit.cli.main import main

Output = pytest.CaptureFixture[str]


def exported(trace: Path, output: Path, *arguments: str) -> Path:
    assert main(["export", str(trace), "-o", str(output), *arguments]) == 0
    return output


@pytest.mark.parametrize("ending", ["csv", "jsonl", "arrow"])
def test_other_readers_see_the_same_rows(tmp_path: Path, ending: str) -> None:
    trace = small_trace(tmp_path / "trace.parquet")
    path = exported(trace, tmp_path / f"rows.{ending}", "--event", "open")
    columns = ["ts_ns", "pid", "path", "ret", "duration_ns"]
    expected = open_trace(trace).table("open", columns=columns).to_pylist()
    if ending == "arrow":
        with path.open("rb") as file:
            table = pa.ipc.open_file(file).read_all()
        assert table.select(columns).to_pylist() == expected
        assert pl.read_ipc(path).select(columns).to_dicts() == expected
    elif ending == "csv":
        assert pl.read_csv(path).select(columns).to_dicts() == expected
        assert duckdb.sql(f"SELECT count(*) FROM '{path}'").fetchall() == [(len(expected),)]
    else:
        assert [json.loads(line) for line in path.read_text().splitlines()][7] == {
            "event": "open",
            "comm": "reader",
            "tid": 7,
            **expected[7],
        }
        assert pl.read_ndjson(path).select(columns).to_dicts() == expected


def test_a_spreadsheet_takes_nothing_for_a_formula(tmp_path: Path) -> None:
    builder = hostile()
    for text in ("=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", "'=1", "=cmd|' /C calc'!A0"):
        builder.add("open", 1, comm=text, path=text, pid=1, tid=1, ret=-2)
        builder.add("exec", 1, comm=text, path=text, argv=[text], pid=1, tid=1)
    path = exported(builder.trace(tmp_path / "t.parquet").path, tmp_path / "rows.csv")
    cells = [cell for row in csv.reader(io.StringIO(path.read_text(), newline="")) for cell in row]
    negative = [cell for cell in cells if cell[:1] == "-"]
    assert negative
    assert all(cell.lstrip("-").isdecimal() for cell in negative)  # numbers, such as an errno
    assert not any(cell[:1] and cell[:1] in "=+@\t\r\n" for cell in cells)
    assert "'=cmd|' /C calc'!A0" in cells


def test_what_is_said_and_who_may_read_it(tmp_path: Path, capsys: Output) -> None:
    trace = small_trace(tmp_path / "trace.parquet")
    path = exported(trace, tmp_path / "t.pftrace")
    out, err = capsys.readouterr()
    assert out == ""
    assert "packets" in err
    assert path.stat().st_mode & 0o777 == 0o600
    assert (
        "rows"
        in (main(["export", str(trace), "-o", str(tmp_path / "x"), "--format", "csv"]), capsys.readouterr().err)[1]
    )


def test_the_standard_output(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "trace.parquet")
    for kind in ("csv", "jsonl", "arrow", "perfetto"):
        done = subprocess.run(
            [*TRACEKIT, "export", trace, "-o", "-", "--format", kind], capture_output=True, check=True
        )
        assert done.stderr == b""
        if kind == "arrow":
            assert pa.ipc.open_stream(done.stdout).read_all().num_rows == open_trace(trace).rows
        elif kind != "perfetto":
            assert done.stdout.count(b"\n") == open_trace(trace).rows + (kind == "csv")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "arrow", "perfetto"])
def test_a_pipe_that_is_closed_early(tmp_path: Path, kind: str) -> None:
    builder = TraceBuilder()
    for number in range(60_000):
        builder.add("open", number, path=f"/{number}", pid=1, tid=1)
    trace = builder.write(tmp_path / "trace.parquet")
    command = [*TRACEKIT, "export", str(trace), "-o", "-", "--format", kind]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait() == 141


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "rows.txt"], "give --format"),
        (["-o", "-"], "give --format"),
        (["-o", "rows.csv", "--event", "boom"], "there is no event 'boom'"),
        (["-o", "t.pftrace", "--event", "open"], "for formats with rows"),
        (["-o", "there.csv"], "--force"),
        (["-o", "no/where.csv"], "does not exist"),
        ([], "--output"),
    ],
)
def test_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str, capsys: Output
) -> None:
    monkeypatch.chdir(tmp_path)
    small_trace(tmp_path / "trace.parquet")
    (tmp_path / "there.csv").write_text("precious")
    before = sorted(tmp_path.iterdir())
    assert main(["export", *arguments]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.csv").read_text() == "precious"


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "arrow", "pftrace"])
def test_an_unreadable_trace_leaves_nothing(tmp_path: Path, damage: Damage, ending: str, capsys: Output) -> None:
    damage.make(tmp_path / "trace.parquet")
    before = sorted(tmp_path.iterdir())
    code = main(["export", str(tmp_path / "trace.parquet"), "-o", str(tmp_path / f"rows.{ending}")])
    err = capsys.readouterr().err
    assert code == damage.exit_code
    assert damage.words in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("ending", ["csv", "jsonl", "arrow", "pftrace"])
def test_a_full_disk_leaves_nothing(tmp_path: Path, ending: str, capsys: Output) -> None:
    builder = TraceBuilder()
    for number in range(40_000):
        builder.add("open", number, path=f"/{number * 2654435761:x}", pid=number, tid=1, comm=str(number))
    trace = builder.write(tmp_path / "trace.parquet")
    with small_disk(tmp_path / "small", "300k") as small:
        assert main(["export", str(trace), "-o", str(small / f"rows.{ending}")]) == 1
        assert capsys.readouterr().err == f"tracekit: {small}/rows.{ending}: No space left on device\n"
        assert list(small.iterdir()) == []
