"""`tracekit import`: what it says, exit codes, and that nothing half-written stays."""

import io
import json
import shlex
import struct
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import blktrace_files as files
import duckdb
import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damage import OF_A_COLUMN, small_trace
from needs import small_disk
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


EXEC = "ls 7/7 [001] 5.000000001: sched:sched_process_exec: filename=/bin/ls pid=7 old_pid=7\n"


@pytest.mark.parametrize(
    ("given", "known"),
    [
        (OPENS, False),
        ("ts_ns,event,path\n1,open,/x\n", False),
        (OPENS + "Possibly lost 17 samples\n", True),
        ("8,0    1        1     0.000000000   301  C   R 8 + 8 [0]\n", True),
        (EXEC, False),
        (EXEC + "ls 7/7 [001] 6.000000000: PERF_RECORD_LOST lost 5\n", True),
    ],
    ids=["opensnoop", "csv", "opensnoop with losses", "blkparse", "perf", "perf with losses"],
)
def test_losses_are_unknown_unless_the_source_counts_them(tmp_path: Path, given: str, known: bool) -> None:
    done = run(tmp_path, "-", given=given.encode())
    assert done.returncode == 0, done.stderr
    shown = [
        subprocess.run([*TRACEKIT, command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for command in ("info", "report")
    ]
    assert ["whether events were lost is unknown" not in text for text in shown] == [known, known]


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


@pytest.mark.parametrize("line", ["null", " null", "null {}", "true", "[]", "5"])
def test_a_line_of_json_that_is_no_object(tmp_path: Path, line: str) -> None:
    """Arrow's reader crashes of a file that is nothing but null."""
    refused(tmp_path, 3, "holds no event", "-", "--format", "jsonl", given=f"{line}\n".encode())
    good = '{"ts_ns":5,"event":"open","path":"/x"}'
    done = run(tmp_path, "-", "--format", "jsonl", given=f"{line}\n{good}\n".encode())
    assert done.returncode == 0, done.stderr
    assert "1 line makes no sense" in done.stderr


def test_a_time_beyond_the_calendar_is_shown_as_a_number(tmp_path: Path) -> None:
    times = pa.array([10**18, -(2**62)], pa.int64()).cast(pa.timestamp("s"), safe=False)
    table = pa.table({"ts_ns": pa.array([5, None], pa.int64()), "event": ["open", "open"], "seen": times})
    with pa.ipc.new_file(tmp_path / "t.arrow", table.schema) as writer:
        writer.write_table(table)
    done = run(tmp_path, "t.arrow", "-o", "t.parquet")
    assert done.returncode == 0, done.stderr
    assert f"seen={-(2**62)}" in done.stderr


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
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _arrow(table: pa.Table, how: Callable[..., Any]) -> bytes:
    sink = io.BytesIO()
    with how(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


ROWS = pa.table({"ts_ns": [5, 3], "event": ["open", "exec"], "path": ["/a", "/b"]})


def repeated(text: str, rows: int) -> pa.Table:
    """The same path in all rows: Parquet has it once."""
    path = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))
    return pa.table({"ts_ns": range(rows), "event": ["open"] * rows, "path": path})


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
        (_parquet(pa.Table.from_arrays([ROWS["ts_ns"], *ROWS.columns], ["ts_ns", *ROWS.column_names])), "of one name"),
        (_parquet(pa.table({"ts_ns": [-(2**63), 2**63 - 1], "event": ["open"] * 2})), "is --time-unit right"),
        (_parquet(pa.table({"ts_ns": [0, 2**62], "event": ["open"] * 2})), "is --time-unit right"),
    ],
)
def test_damaged_or_strange_input_is_one_line(tmp_path: Path, content: bytes, wrong: str) -> None:
    (tmp_path / "input").write_bytes(content)
    refused(tmp_path, 3, wrong, "input")


def test_a_row_that_is_not_in_its_dictionary(tmp_path: Path) -> None:
    damages = {damage.name: damage for damage in OF_A_COLUMN}
    damages["not-in-dictionary"].make(small_trace(tmp_path / "input"))
    refused(tmp_path, 3, "column comm has a row with what is not in its dictionary", "input")


def prefixed(table: pa.Table) -> bytes:
    """With paths that are written as what each adds to the one before."""
    sink = io.BytesIO()
    pq.write_table(table, sink, use_dictionary=False, column_encoding={"path": "DELTA_BYTE_ARRAY"}, compression="zstd")
    return sink.getvalue()


def views(rows: int) -> pa.Table:
    """A path of a megabyte in each row, which is in the table once."""
    text = b"x" * (1 << 20)
    each = np.array([[len(text), 0x78787878, 0, 0]] * rows, "<i4")
    path = pa.Array.from_buffers(pa.string_view(), rows, [None, pa.py_buffer(each), pa.py_buffer(text)])
    return repeated("", rows).set_column(2, "path", path)


ZSTD = pa.ipc.IpcWriteOptions(compression="zstd")
BOMBS: dict[str, Callable[[], bytes]] = {
    "parquet": lambda: _parquet(repeated("x" * (300 << 20), 1)),
    "parquet-repeated": lambda: _parquet(repeated("x" * (1 << 20), 1000)),
    "parquet-prefixes": lambda: prefixed(
        repeated("x" * (1 << 20), 300).set_column(2, "path", pa.array(["x" * (1 << 20)] * 300))
    ),
    "arrow": lambda: _arrow(repeated("x" * (300 << 20), 1), partial(pa.ipc.new_file, options=ZSTD)),
    "arrow-stream": lambda: _arrow(repeated("x" * (300 << 20), 1), partial(pa.ipc.new_stream, options=ZSTD)),
    "arrow-views": lambda: _arrow(views(300), partial(pa.ipc.new_file, options=ZSTD)),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_some_kilobytes_that_become_hundreds_of_megabytes(bomb: Callable[[], bytes], tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(bomb())
    assert (tmp_path / "input").stat().st_size < 100_000
    refused(tmp_path, 3, "claim", "input")


def test_a_footer_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "input").open("wb") as file:
        file.write(b"PAR1")
        file.seek((1 << 30) + 4)
        file.write((1 << 30).to_bytes(4, "little") + b"PAR1")
    refused(tmp_path, 3, "its footer claims to have 1,073,741,824 bytes", "input")


def test_parquet_of_another_version(tmp_path: Path) -> None:
    """DuckDB writes strings as lengths and then all text; others as what each adds to the one before."""
    path = tmp_path / "input"
    rows = pa.table({"ts_ns": range(5000), "event": ["open"] * 5000, "path": [f"/some/{n}" for n in range(5000)]})
    duckdb.sql(f"COPY (FROM rows) TO '{path}' (FORMAT parquet, PARQUET_VERSION v2)")
    encodings = pq.read_metadata(path).row_group(0).column(2).encodings
    assert encodings == ("DELTA_LENGTH_BYTE_ARRAY",)
    for content in (path.read_bytes(), prefixed(rows)):
        path.write_bytes(content)
        done = run(tmp_path, "--force", "input")
        assert done.returncode == 0, done.stderr
        found = open_trace(tmp_path / "trace.parquet").table(columns=["path"])
        assert found["path"].to_pylist() == rows["path"].to_pylist()


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
@pytest.mark.parametrize("level", [polars.CompatLevel.oldest(), polars.CompatLevel.newest()], ids=["old", "new"])
def test_arrow_of_polars(tmp_path: Path, level: Any, compression: Any) -> None:
    frame = polars.DataFrame(ROWS).with_columns(event=polars.col("event").cast(polars.Categorical))
    frame = frame.with_columns(argv=polars.Series([None, ["ls", "a name of more than twelve bytes"]]))
    frame.write_ipc(tmp_path / "input", compat_level=level, compression=compression)
    done = run(tmp_path, "input")
    assert done.returncode == 0, done.stderr
    found = open_trace(tmp_path / "trace.parquet").table(columns=["ts_ns", "event", "path", "argv"]).to_pylist()
    assert found == frame.sort("ts_ns").select("ts_ns", "event", "path", "argv").to_dicts()


@pytest.mark.parametrize(
    ("at", "head", "body", "wrong"),
    [
        (0, 0, 1 << 20, "does not say where its messages are"),
        (0, 8, 0, "is not as long as its end says"),
        (8, 0, 0, "damaged"),
        (0, 0, -(1 << 20), "does not say where its messages are"),
    ],
)
def test_an_arrow_file_whose_end_is_wrong(tmp_path: Path, at: int, head: int, body: int, wrong: str) -> None:
    raw, block = bytearray(_arrow(ROWS, pa.ipc.new_file)), struct.Struct("<qi4xq")
    end = len(raw) - 10 - int.from_bytes(raw[-10:-6], "little")
    # Before the footer is the end of the stream, in eight bytes; before it the rows, whose place is in the footer.
    place = next(here for here in range(end, len(raw) - 24) if sum(block.unpack_from(raw, here)) == end - 8)
    before = block.unpack_from(raw, place)
    block.pack_into(raw, place, *(one + more for one, more in zip(before, (at, head, body), strict=True)))
    (tmp_path / "input").write_bytes(raw)
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


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "strange.csv",
            b"when,what\n1,2\n",
            "strange.csv has no column ts_ns and no column event: name it with --column",
        ),
        ("strange.JSONL", b"[1]\n", "strange.JSONL holds no event that a trace has, but 1 line that makes no sense"),
        ("strange.parquet", b"something else", "strange.parquet is damaged"),
        ("strange.arrow", b"something else", "strange.arrow is damaged"),
        ("strange.txt", b"when,what\n1,2\n", "strange.txt is of no kind that can be imported"),
    ],
)
def test_a_table_by_its_name_alone(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path, 3, words, name)


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
    text = OPENS.splitlines()[0] + "\n" + "".join(f"{n} sh 3 0 /{n * 2654435761:x}\n" for n in range(1, 400_000))
    (tmp_path / "opens.txt").write_text(text)
    with small_disk(tmp_path / "small", "1m") as small:
        done = run(tmp_path, "opens.txt", "-o", "small/trace.parquet")
        assert done.returncode == 1
        assert done.stderr == "tracekit: small/trace.parquet: No space left on device\n"
        assert list(small.iterdir()) == []
