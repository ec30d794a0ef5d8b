"""`tracekit import`: what it says, exit codes, and that nothing half-written stays."""

import io
import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blktrace_files as files
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recording import TRACEKIT

from tracekit import open_trace

ROOT = Path(__file__).parents[2]
OPENS = "PID    COMM               FD ERR PATH\n1      init                3   0 /etc/fstab\nnonsense\n"


def run(folder: Path, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*TRACEKIT, "import", *arguments], cwd=folder, input=given, capture_output=True)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def refused(folder: Path, code: int, wrong: str, *arguments: str, given: bytes = b"") -> None:
    before = sorted(folder.iterdir())
    done = run(folder, *arguments, given=given)
    assert done.returncode == code, done.stderr
    assert wrong in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert sorted(folder.iterdir()) == before


def test_it_says_what_became_of_everything(tmp_path: Path) -> None:
    done = run(tmp_path, "-", "-o", "opens.parquet", given=OPENS.encode())
    assert done.returncode == 0
    assert "1 line makes no sense and was left out:\n  3: nonsense\n" in done.stderr
    assert "note: this output has no times" in done.stderr
    assert "imported 1 events of 0 ns: open 1." in done.stderr
    assert "Next: tracekit report opens.parquet" in done.stderr
    assert open_trace(tmp_path / "opens.parquet").counts == {"open": 1}
    assert (tmp_path / "opens.parquet").stat().st_mode & 0o777 == 0o600


def test_what_a_terminal_must_not_be_shown_is_escaped(tmp_path: Path) -> None:
    done = run(tmp_path, "-", given=OPENS.encode() + b"\x1b[2Jcleared\n")
    assert done.returncode == 0
    assert "\x1b" not in done.stderr


def test_an_output_is_kept_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "opens.txt").write_text(OPENS)
    (tmp_path / "trace.parquet").write_text("precious")
    refused(tmp_path, 2, "--force", "opens.txt")
    assert (tmp_path / "trace.parquet").read_text() == "precious"
    assert run(tmp_path, "--force", "opens.txt").returncode == 0


def test_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "opens.txt").write_text(OPENS)
    (tmp_path / "rows.csv").write_text("ts_ns,event\n1,exec\n")
    refused(tmp_path, 2, "there is no file missing.txt", "missing.txt")
    refused(tmp_path, 2, "is a folder", str(tmp_path))
    refused(tmp_path, 2, "one by one", "opens.txt", "opens.txt")
    refused(tmp_path, 2, "not OURS=THEIRS", "opens.txt", "--column", "ts_ns")
    refused(tmp_path, 2, "no column 'when'", "rows.csv", "--column", "ts_ns=when")
    refused(tmp_path, 2, "no column 'height'", "rows.csv", "--column", "height=event")
    refused(tmp_path, 2, "no event 'boom'", "rows.csv", "--event", "boom")
    refused(tmp_path, 2, "does not exist", "opens.txt", "-o", "no/where.parquet")
    refused(tmp_path, 2, "save it first", "-", given=_parquet(ROWS))
    refused(tmp_path, 2, "save it first", "-", given=_arrow(ROWS, pa.ipc.new_file))
    closed = subprocess.run(["sh", "-c", f"{shlex.join(TRACEKIT)} import - <&-"], cwd=tmp_path, capture_output=True)
    assert closed.returncode == 2
    assert b"the standard input cannot be opened" in closed.stderr


def test_a_stream_of_arrow_or_blktrace_from_a_pipe(tmp_path: Path) -> None:
    assert run(tmp_path, "-", given=_arrow(ROWS, pa.ipc.new_stream)).returncode == 0
    assert open_trace(tmp_path / "trace.parquet").counts == {"exec": 1, "open": 1}
    given = files.process(5, b"reader") + files.record(1, 9, files.ISSUE | files.READ, sector=1, size=512, pid=5)
    assert run(tmp_path, "-", "--force", given=given).returncode == 0
    assert open_trace(tmp_path / "trace.parquet").table("block_issue")["comm"].to_pylist() == ["reader"]


def test_what_comes_through_a_pipe_bit_by_bit(tmp_path: Path) -> None:
    parts = "printf ts_; sleep 1; printf 'ns,event,path\\n5,open,/x\\n'"
    command = f"({parts}) | {shlex.join(TRACEKIT)} import -"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert open_trace(tmp_path / "trace.parquet").counts == {"open": 1}


def test_lines_of_blanks_are_of_no_kind(tmp_path: Path) -> None:
    refused(tmp_path, 3, "of no kind that can be imported", "-", given=b"\n".join([b" " * 4000] * 60))


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _arrow(table: pa.Table, how: Callable[..., Any]) -> bytes:
    sink = io.BytesIO()
    with how(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


ROWS = pa.table({"ts_ns": [5, 3], "event": ["open", "exec"], "path": ["/a", "/b"]})


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "is empty"),
        (bytes(range(256)) * 40, "of no kind that can be imported"),
        (b"hello world\n" * 100, "of no kind that can be imported"),
        (b"\x1f\x8b\x08compressed", "gzip"),
        (_parquet(ROWS)[:-9], "damaged"),
        (b"PAR1" + b"\x7f" * 5000, "damaged"),
        (_arrow(ROWS, pa.ipc.new_file)[:-9], "damaged"),
        (_arrow(ROWS, pa.ipc.new_stream)[:100], "damaged"),
        (b"ts_ns,event\n", "no event"),
        (b"ts_ns,event\nx,exec\n5,never\n", "2 lines that make no sense"),
        (b"ts_ns,ts_ns,event\n1,1,exec\n", "two columns of one name"),
        (b"ts_ns,path\n1,/a\n", "--event NAME"),
        (b'{"event": "open", "ts_ns": }\n', "1 line that makes no sense"),
        (b'{"event": ' + b"[" * 900_000 + b"\n", "1 line that makes no sense"),
        (b'{"argv": ' + b'[{"a":' * 100_000 + b"\n", "1 line that makes no sense"),
        (_parquet(pa.table({"ts_ns": [[1]], "event": ["open"]})), "convert it first"),
    ],
)
def test_damaged_or_strange_input_is_one_line(tmp_path: Path, content: bytes, wrong: str) -> None:
    (tmp_path / "input").write_bytes(content)
    refused(tmp_path, 3, wrong, "input")


@pytest.mark.parametrize("kind", ["perf", "tools", "blkparse", "blktrace", "parquet", "arrow", "csv", "jsonl"])
def test_a_wrong_format_that_is_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "input").write_bytes(b"\x00\xff garbage\n" * 5000)
    refused(tmp_path, 3, "input", "--format", kind, "input")


@pytest.mark.parametrize("how", ["parquet", "file", "stream", "csv", "jsonl"])
def test_named_columns_of_a_stranger(tmp_path: Path, how: str) -> None:
    table = pa.table({"file": ["/a", "/b"], "who": [7, 8], "when": [2.5, 1.25], "note": ["x", "y"]})
    rows = table.to_pylist()
    content = {
        "parquet": lambda: _parquet(table),
        "file": lambda: _arrow(table, pa.ipc.new_file),
        "stream": lambda: _arrow(table, pa.ipc.new_stream),
        "csv": lambda: b"file;who;when;note\n/a;7;2.5;x\n/b;8;1.25;y\n",
        "jsonl": lambda: "".join(f"{json.dumps(row)}\n" for row in rows).encode(),
    }[how]()
    (tmp_path / "strange").write_bytes(content)
    kind = {"file": "arrow", "stream": "arrow"}.get(how, how)
    naming = [part for pair in ("path=file", "pid=who", "ts_ns=when") for part in ("--column", pair)]
    done = run(tmp_path, "--format", kind, *naming, "--event", "open", "--time-unit", "s", "strange")
    assert done.returncode == 0, done.stderr
    found = open_trace(tmp_path / "trace.parquet").table("open", columns=["ts_ns", "pid", "path"]).to_pylist()
    assert found == [
        {"ts_ns": 1_250_000_000, "pid": 8, "path": "/b"},
        {"ts_ns": 2_500_000_000, "pid": 7, "path": "/a"},
    ]
    if how != "jsonl":
        assert "left out: note" in done.stderr


def test_a_wall_clock_of_a_stranger_is_kept(tmp_path: Path) -> None:
    when = pa.array([1_700_000_000_000_000], pa.timestamp("us", "UTC"))
    (tmp_path / "p").write_bytes(_parquet(pa.table({"ts_ns": when, "event": ["exec"]})))
    assert run(tmp_path, "p").returncode == 0
    trace = open_trace(tmp_path / "trace.parquet")
    assert int(trace.metadata.clock.realtime_ns(trace.start_ns)) == 1_700_000_000_000_000_000


def test_values_that_do_not_fit_make_a_row_senseless(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        "ts_ns,event,pid,cpu\n1,exec,5,1\n2,exec,99999999999,1\n3,exec,7,70000\n4,exec,,\n"
    )
    done = run(tmp_path, "rows.csv")
    assert "2 lines make no sense" in done.stderr
    assert "  3: ts_ns=2, event=exec, cpu=1, pid=99999999999" in done.stderr
    assert open_trace(tmp_path / "trace.parquet").table("exec", columns=["pid"]).to_pylist() == [
        {"pid": 5},
        {"pid": None},
    ]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root mounts a small disk")
    small = tmp_path / "small"
    small.mkdir()
    text = OPENS.splitlines()[0] + "\n" + "".join(f"{n} sh 3 0 /{n * 2654435761:x}\n" for n in range(1, 400_000))
    (tmp_path / "opens.txt").write_text(text)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
    try:
        done = run(tmp_path, "opens.txt", "-o", "small/trace.parquet")
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)
