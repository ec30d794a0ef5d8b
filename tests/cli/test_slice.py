"""`tracekit slice`: what is in the trace that it writes."""

import os
from pathlib import Path

import pytest
from hostile import hostile
from tracebuilder import TraceBuilder

from tracekit.analyze import analyze
from tracekit.cli.main import main
from tracekit.metadata import Counters
from tracekit.trace import Trace, open_trace

SAMPLES = Path(__file__).parents[2] / "sample_traces"
MS = 1_000_000


def sliced(source: Path | str, output: Path, *options: str) -> Trace:
    assert main(["slice", str(source), "-o", str(output), *options]) == 0
    return open_trace(output)


def family_tree(path: Path) -> Path:
    """init (1) starts a shell (10), it starts cp (11), which starts dd (12); 11 ends, and is used again by another."""
    builder = TraceBuilder()
    builder.add("process", 0, pid=1, tid=1, ppid=0, comm="init", argv=["init"], start_ns=5)
    for at, pid, ppid, comm in ((10, 10, 1, "sh"), (20, 11, 10, "cp"), (30, 12, 11, "dd")):
        builder.add("fork", at * MS, pid=pid, tid=pid, ppid=ppid, comm="x")
        builder.add("exec", (at + 1) * MS, pid=pid, tid=pid, ppid=ppid, comm=comm, path=f"/bin/{comm}", argv=[comm])
    builder.add("exit", 40 * MS, pid=11, tid=11, ppid=10, comm="cp", start_ns=builder.start_ns + 20 * MS, exit_code=0)
    builder.add("fork", 50 * MS, pid=11, tid=11, ppid=1, comm="init")
    for at, pid, comm in ((35, 11, "cp"), (45, 12, "dd"), (46, 10, "sh"), (60, 11, "init")):
        builder.add("open", at * MS, pid=pid, tid=pid, comm=comm, path=f"/{comm}", duration_ns=9)
    for at, pid, comm, disk in ((36, 11, "cp", "sda"), (47, 12, "dd", "sdb"), (61, 11, "init", "sda")):
        io = {"disk": disk, "dev": 8 << 20, "request": at, "sector": at, "bytes": 512, "op": "read"}
        builder.add("block_start", at * MS, pid=pid, tid=pid, comm=comm, **io)
        builder.add("block_issue", at * MS + 1, pid=9, tid=9, comm="kworker", **io)
        builder.add("block_complete", at * MS + 100 * MS, pid=0, tid=0, comm="swapper", **io)
    return builder.write(path)


def opened(trace: Trace) -> list[str]:
    return trace.table("open").column("path").to_pylist()


def disks(trace: Trace) -> list[tuple[str, str]]:
    return [(row["event"], row["disk"]) for row in trace.table(columns=["event", "disk"]).to_pylist() if row["disk"]]


WHOLE = ("block_start", "block_issue", "block_complete")


def test_a_tree(tmp_path: Path) -> None:
    part = sliced(family_tree(tmp_path / "trace.parquet"), tmp_path / "part.parquet", "--tree", "11")
    # Its first life is gone when its number is used again; that other process is of the same number, too.
    assert opened(part) == ["/cp", "/dd", "/init"]
    assert len(disks(part)) == 9
    part = sliced(tmp_path / "trace.parquet", tmp_path / "part2.parquet", "--tree", "10")
    assert opened(part) == ["/cp", "/dd", "/sh"]
    rows = part.table("process", "exec", columns=["pid"]).column("pid").to_pylist()
    assert rows == [1, 10, 11, 12]


def test_a_command_and_who_led_to_it(tmp_path: Path) -> None:
    part = sliced(family_tree(tmp_path / "trace.parquet"), tmp_path / "part.parquet", "--comm", "dd")
    assert opened(part) == ["/dd"]
    assert disks(part) == [(event, "sdb") for event in WHOLE]
    assert part.table("process", "exec", columns=["comm"]).column("comm").to_pylist() == ["init", "sh", "cp", "dd"]
    assert part.table("exit").num_rows == 1


def test_who_ran_when_it_begins(tmp_path: Path) -> None:
    part = sliced(family_tree(tmp_path / "trace.parquet"), tmp_path / "part.parquet", "--from", "45ms")
    columns = ["ts_ns", "pid", "ppid", "comm", "argv", "start_ns"]
    rows = part.table("process", columns=columns).to_pylist()
    at_ns, start_ns = 1_000_045 * MS, 1_000_000 * MS
    assert [tuple(row.values()) for row in rows] == [
        (at_ns, 1, 0, "init", ["init"], 5),
        (at_ns, 10, 1, "sh", ["sh"], start_ns + 10 * MS),
        # Its parent has ended, and its number is about to be another's.
        (at_ns, 12, None, "dd", ["dd"], start_ns + 30 * MS),
    ]
    assert part.metadata.duration_ns == 10_000 * MS - 36 * MS
    assert part.metadata.counters["process"].written == 4


def test_who_ran_is_what_it_ran_last_and_began_when_that_is_certain(tmp_path: Path) -> None:
    builder = TraceBuilder().add("lost", 35 * MS, start_ns=TraceBuilder().start_ns + 30 * MS, lost=1)
    for at, pid in ((10, 10), (40, 12)):
        who = {"pid": pid, "tid": pid, "ppid": 1}
        builder.add("fork", at * MS, comm="x", **who)
        builder.add("exec", at * MS + 1, comm="sh", path="/bin/sh", argv=["sh"], **who)
        builder.add("exec_failed", at * MS + 2, comm="a thread", path="/no", argv=["no"], ret=-2, **who)
    part = sliced(builder.write(tmp_path / "trace.parquet"), tmp_path / "part.parquet", "--from", "45ms")
    rows = part.table("process", columns=["pid", "comm", "argv", "start_ns"]).to_pylist()
    # The number may be that of another, whose beginning was lost.
    assert [tuple(row.values()) for row in rows] == [
        (10, "sh", ["sh"], None),
        (12, "sh", ["sh"], builder.start_ns + 40 * MS),
    ]


def test_a_deep_tree(tmp_path: Path) -> None:
    builder = TraceBuilder()
    for pid in range(10, 40):
        builder.add("fork", pid * MS, pid=pid, tid=pid, ppid=pid - 1, comm="sh")
        builder.add("open", pid * MS + 1, pid=pid, tid=pid, comm="sh", path=f"/{pid}")
    part = sliced(builder.write(tmp_path / "trace.parquet"), tmp_path / "part.parquet", "--tree", "20")
    assert opened(part) == [f"/{pid}" for pid in range(20, 40)]


def test_a_disk_and_a_family(tmp_path: Path) -> None:
    whole = family_tree(tmp_path / "trace.parquet")
    part = sliced(whole, tmp_path / "part.parquet", "--disk", "sdb")
    assert disks(part) == [(event, "sdb") for event in WHOLE]
    assert part.table("open").num_rows == 4
    part = sliced(whole, tmp_path / "io.parquet", "--events", "block", "--to", "40ms")
    assert part.counts == dict.fromkeys(WHOLE, 1)
    assert part.metadata.events == ("block",)
    # The I/O that begins in it ends after it.
    assert part.metadata.duration_ns == 136 * MS


def test_around_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = SAMPLES / "several-at-once.parquet"
    findings = analyze(open_trace(whole)).findings
    number = next(finding.rank for finding in findings if finding.kind == "outliers")
    part = sliced(whole, tmp_path / "part.parquet", "--finding", str(number), "--margin", "200ms")
    told = [finding for finding in analyze(part).findings if finding.kind == "outliers"]
    assert told[0].evidence["count"] == findings[number - 1].evidence["count"]
    assert part.metadata.duration_ns < open_trace(whole).metadata.duration_ns
    assert "cut from several-at-once.parquet (10,029 events, 12.9 s)" in "".join(analyze(part).quality.notes)
    capsys.readouterr()
    assert main(["info", str(part.path)]) == 0
    assert "\nslice      cut from several-at-once.parquet" in capsys.readouterr().out


def test_what_was_lost_elsewhere_is_not_lost_here(tmp_path: Path) -> None:
    builder = TraceBuilder()
    for at in (100, 900):
        builder.add("open", at * MS, pid=1, tid=1, comm="a", path="/", duration_ns=1)
        builder.add("lost", (at + 20) * MS, start_ns=builder.start_ns + at * MS, lost=at, lost_family="open")
    builder.metadata(counters={"open": Counters(seen=1012, filtered=10, written=2, lost_ring_full=1000)})
    part = sliced(builder.write(tmp_path / "trace.parquet"), tmp_path / "part.parquet", "--to", "500ms")
    assert part.metadata.counters["open"] == Counters(seen=1012, filtered=911, written=1, lost_ring_full=100)
    assert analyze(part).quality.lost == 100


def test_of_what_was_lost_only_what_may_be_of_the_slice_comes_along(tmp_path: Path) -> None:
    """Whatever was lost of other families, or later; of losses of two kinds nobody knows which were elsewhere."""
    builder = TraceBuilder()
    for at in (100, 900):
        builder.add("open", at * MS, pid=1, tid=1, comm="a", path="/", duration_ns=1)
    builder.add("lost", 200 * MS, lost=100, lost_family="open").add("lost", 900 * MS, lost=900, lost_family="open")
    builder.add("lost", 200 * MS, lost=7, lost_family="block")
    seen = Counters(seen=1002, written=2, lost_ring_full=500, lost_state_full=500, truncated=2)
    whole = builder.metadata(counters={"open": seen}).write(tmp_path / "trace.parquet")
    part = sliced(whole, tmp_path / "part.parquet", "--to", "500ms", "--events", "open")
    assert part.table("lost", columns=["lost", "lost_family"]).to_pylist() == [{"lost": 100, "lost_family": "open"}]
    assert part.metadata.counters["open"] == Counters(
        seen=1002, filtered=901, written=1, lost_state_full=100, truncated=1
    )


def test_a_slice_of_a_slice(tmp_path: Path) -> None:
    part = sliced(SAMPLES / "disk-two-modes.parquet", tmp_path / "a.parquet", "--from", "1s")
    part = sliced(part.path, tmp_path / "b.parquet", "--to", "1s", "--comm", "database")
    assert [cut.trace for cut in part.metadata.cuts] == ["disk-two-modes.parquet", "a.parquet"]
    assert part.metadata.cuts[1].filters == {"comm": ["database"]}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "say what to keep: --from, --to, --finding, --events, --tree, --comm or --disk"),
        (("--from", "99h"), "after the end"),
        (("--from", "2s", "--to", "1s"), "must be later than its start"),
        (("--comm", "nosuch"), "nothing of the command nosuch; it has "),
        (("--disk", "nosuch", "--events", "block"), "nothing of the disk nosuch; it has disk0"),
        (("--tree", "4"), "no process of this number"),
        (("--events", "nosuch"), "there are no 'nosuch' events"),
        (("--finding", "99"), "there is no finding 99"),
        (("--finding", "1", "--to", "2s"), "leave --from and --to out"),
        (("--finding", "99", "--margin", "0s"), "there is no finding 99"),
        (("--margin", "1s"), "--margin belongs to --finding"),
        (("--from", "1ms", "--to", "2ms"), "nothing of this"),
    ],
)
def test_what_makes_no_sense(
    options: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "part.parquet"
    assert main(["slice", str(SAMPLES / "disk-two-modes.parquet"), "-o", str(output), *options]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, output = family_tree(tmp_path / "trace.parquet"), tmp_path / "part.parquet"
    output.write_text("mine")
    assert main(["slice", str(whole), "-o", str(output), "--to", "1s"]) == 2
    assert output.read_text() == "mine"
    assert "--force" in capsys.readouterr().err
    part = sliced(whole, output, "--to", "1s", "--force")
    assert part.metadata.duration_ns == 1000 * MS


@pytest.mark.parametrize("command", ["slice --to 1s", "redact", "bundle", "export --format csv", "import"])
@pytest.mark.parametrize("name", ["trace.parquet", "linked", "other name", "through/trace.parquet"])
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_what_is_read_is_not_overwritten(
    command: str, name: str, force: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, output = family_tree(tmp_path / "trace.parquet"), tmp_path / name
    (tmp_path / "linked").symlink_to(whole)
    (tmp_path / "other name").hardlink_to(whole)
    (tmp_path / "through").symlink_to(tmp_path)
    before = whole.read_bytes(), sorted(tmp_path.iterdir())
    assert main([*command.split(), str(whole), "-o", str(output), *force]) == 2
    assert capsys.readouterr().err == f"tracekit: {output} is what is read: choose another output with -o\n"
    assert (whole.read_bytes(), sorted(tmp_path.iterdir())) == before


def test_hostile_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = tmp_path / os.fsdecode("\u202e\x1b[31m.parquet".encode())
    hostile().write(whole)
    part = sliced(whole, tmp_path / "part.parquet", "--from", "1s", "--comm", "line\nbreak\r\ttab\x00")
    capsys.readouterr()
    assert set(part.table("open").column("comm").to_pylist()) == {"line\nbreak\r\ttab\x00"}
    for command in ("report", "info"):
        assert main([command, str(part.path)]) == 0
        out, _ = capsys.readouterr()
        assert "cut from \\u202e\\x1b[31m.parquet" in " ".join(out.split())
        assert all(line.isprintable() for line in out.splitlines())
