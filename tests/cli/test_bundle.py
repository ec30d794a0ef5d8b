"""`tracekit bundle`: one file with all that is needed, and nothing that must not leave."""

import contextlib
import dataclasses
import hashlib
import io
import os
import pty
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest
from hostile import NAMES, hostile
from needs import small_disk
from recording import TRACEKIT
from tracebuilder import TraceBuilder

from tracekit.analyze import analyze
from tracekit.bundle import CHECKSUMS, TRACE
from tracekit.cli.main import main
from tracekit.metadata import Disk
from tracekit.trace import open_trace

SAMPLES = Path(__file__).parents[2] / "sample_traces"
SAMPLE = SAMPLES / "several-at-once.parquet"
MEMBERS = ["README.txt", "report.md", "report.html", "machine.txt", TRACE, CHECKSUMS]


def bundled(source: Path, output: Path, *options: str) -> dict[str, bytes]:
    assert main(["bundle", str(source), "-o", str(output), *options]) == 0
    with zipfile.ZipFile(output) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_what_is_inside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inside = bundled(SAMPLE, tmp_path / "b.zip")
    err = capsys.readouterr().err
    assert list(inside) == MEMBERS
    assert all(name in err for name in MEMBERS)
    assert "Redacted: replaced 7,058 program names (" in err
    assert "machine.txt tells: CPUs 2" in err
    sums = dict(line.split("  ")[::-1] for line in inside[CHECKSUMS].decode().splitlines())
    assert sums == {name: hashlib.sha256(inside[name]).hexdigest() for name in MEMBERS[:-1]}
    assert inside["report.md"].startswith(b"# Report of trace.parquet\n")
    assert b"<!doctype html>" in inside["report.html"].lower()
    assert b"scheduler" not in inside["report.md"] + inside["report.html"]
    assert str(tmp_path).encode() not in b"".join(inside.values())
    assert [path.name for path in tmp_path.iterdir()] == ["b.zip"]


def test_it_is_read_as_a_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "b.zip"
    bundled(SAMPLE, path)
    told = [dataclasses.replace(one, title="", detail="") for one in analyze(open_trace(path)).findings]
    whole = [dataclasses.replace(one, title="", detail="") for one in analyze(open_trace(SAMPLE)).findings]
    assert [(one.kind, one.where.start_ns, one.where.low_ns) for one in told] == [
        (one.kind, one.where.start_ns, one.where.low_ns) for one in whole
    ]
    capsys.readouterr()
    picture = tmp_path / "p.png"
    for command in (["report"], ["report", "--finding", "2"], ["info"], ["plot", "latency", "-o", str(picture)]):
        place = 2 if command[0] == "plot" else 1
        assert main([*command[:place], str(path), *command[place:]]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "b.zip" in capsys.readouterr().out
    # And it can be compared, handed on, cut and bundled again.
    for command in (["diff", str(path), str(SAMPLE)], ["redact", "--check", str(path)]):
        assert main(command) == 0
    assert main(["export", str(path), "-o", str(tmp_path / "rows.csv")]) == 0
    assert main(["redact", str(path), "-o", str(tmp_path / "r.parquet")]) == 0
    assert main(["slice", str(path), "--to", "2s", "-o", str(tmp_path / "s.parquet")]) == 0
    assert list(bundled(path, tmp_path / "again.zip")) == MEMBERS
    assert bundled(path, tmp_path / "same.zip", "--no-redact")[TRACE] == zipfile.ZipFile(path).read(TRACE)


def test_the_same_bytes(tmp_path: Path) -> None:
    for turn in range(2):
        bundled(SAMPLE, tmp_path / f"key{turn}.zip", "--key-file", str(tmp_path / "key"))
        bundled(SAMPLE, tmp_path / f"plain{turn}.zip", "--no-redact")
    for kind in ("key", "plain"):
        assert (tmp_path / f"{kind}0.zip").read_bytes() == (tmp_path / f"{kind}1.zip").read_bytes()


def test_without_redaction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inside = bundled(SAMPLE, tmp_path / "b.zip", "--no-redact")
    assert inside[TRACE] == SAMPLE.read_bytes()
    assert "Nothing was redacted" in capsys.readouterr().err
    assert b"Nothing was redacted" in inside["README.txt"]


def test_without_the_machine(tmp_path: Path) -> None:
    builder = TraceBuilder().add("open", 1, pid=1, tid=1, comm="sh", path="/x", duration_ns=1)
    builder.metadata(kernel="6.1.77", disks=(Disk("sda", 8 << 20, "Supermodel", "bfq", True, 10**12),))
    source = builder.write(tmp_path / "trace.parquet")
    inside = bundled(source, tmp_path / "with.zip")
    assert inside["machine.txt"].decode().splitlines() == [
        "kernel: 6.1.77",
        "architecture: x86_64",
        "CPUs: 2",
        "recorded with: tracekit 0.1.0, backend core",
        "disk sda: 931.3 GiB, rotational, scheduler bfq",
    ]
    inside = bundled(source, tmp_path / "without.zip", "--no-machine")
    assert "machine.txt" not in inside
    assert b"machine.txt" not in inside["README.txt"]
    assert not [name for name, content in inside.items() if b"6.1.77" in content or b"x86_64" in content]
    footer = open_trace(tmp_path / "without.zip").metadata
    assert (footer.kernel, footer.cpus, footer.disks) == (None, None, (Disk("sda", 8 << 20),))


def test_what_does_not_fit_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "b.zip"
    inside = bundled(SAMPLE, path, "--max-size", "200K")
    err = capsys.readouterr().err
    assert path.stat().st_size <= 200 << 10
    assert "trace.parquet is a part of it: cut from trace.parquet (10,029 events, 12.9 s): " in err
    assert inside["report.md"].startswith(b"# Report of the whole recording\n")
    assert b"17 times" in inside["report.md"]
    # Who has the bundle has not what the report is of: no command would print the same of the part.
    command = b"<code>tracekit report"
    assert command not in inside["report.html"]
    assert command in bundled(SAMPLE, tmp_path / "whole.zip")["report.html"]
    (tmp_path / "whole.zip").unlink()
    part = open_trace(path)
    assert 0 < part.metadata.duration_ns < open_trace(SAMPLE).metadata.duration_ns
    # The first finding goes through the whole recording; the stall fits in.
    assert "outliers" in [finding.kind for finding in analyze(part).findings]
    assert main(["bundle", str(SAMPLE), "-o", str(tmp_path / "c.zip"), "--max-size", "20K"]) == 2
    assert "choose a larger --max-size" in capsys.readouterr().err
    assert [one.name for one in tmp_path.iterdir()] == ["b.zip"]


@pytest.mark.parametrize("missing", [0, 1])
def test_reports_go_with_the_trace_that_goes_along(missing: int, tmp_path: Path) -> None:
    whole = bundled(SAMPLE, tmp_path / "whole.zip", "--no-redact")
    texts = sum(len(zlib.compress(whole[name])) for name in ("report.md", "report.html", "machine.txt"))
    size = SAMPLE.stat().st_size + texts + 8192 - missing
    inside = bundled(SAMPLE, tmp_path / "b.zip", "--no-redact", "--max-size", str(size))
    assert (inside[TRACE] == SAMPLE.read_bytes()) is (missing == 0)
    assert (b"<code>tracekit report" in inside["report.html"]) is (missing == 0)
    assert (b"trace.parquet is a part of it" in inside["README.txt"]) is (missing == 1)


@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 1), (b"y\n", 0), (b"\x03", 130)])
def test_it_asks_on_a_terminal(answer: bytes, code: int, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*TRACEKIT, "bundle", str(SAMPLE), "-o", "b.zip"]
    # In a session of its own with this terminal, so that Ctrl-C on it reaches the command.
    started = subprocess.Popen(["setsid", "-cw", *command], cwd=tmp_path, stdin=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while b"Write it? [y/N]" not in shown:
        shown += os.read(ours, 4096)
    for _ in range(30):
        os.write(ours, answer)
        # A signal that comes just before Python begins to wait for input is noticed with the next one only.
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(timeout=2)
            break
    assert started.poll() == code
    os.close(ours)
    assert b"trace.parquet" in shown
    assert [path.name for path in tmp_path.iterdir()] == (["b.zip"] if code == 0 else [])


def test_hostile_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = hostile().write(tmp_path / "trace.parquet")
    inside = bundled(source, tmp_path / "b.zip")
    everything = b"".join(inside.values())
    assert not [name for name in NAMES if name.encode() in everything]
    bundled(source, tmp_path / "plain.zip", "--no-redact")
    assert all(line.isprintable() for line in capsys.readouterr().err.splitlines())


def test_what_still_looks_like_a_secret_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    builder = TraceBuilder().add("open", 1, pid=1, tid=1, comm="sh", path="/x?token=hunter2", duration_ns=1)
    source = builder.write(tmp_path / "trace.parquet")
    bundled(source, tmp_path / "a.zip", "--no-redact")
    assert (
        "Look at this: password in an argument in path, once, in an open at 0.000000001 s: /x?t..."
        in capsys.readouterr().err
    )
    bundled(source, tmp_path / "b.zip")
    assert "Look at this" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--no-redact", "--no-machine"), "leave --no-machine"),
        (("--no-redact", "--allow", "x"), "--allow"),
        (("--max-size", "big"), "is not a size"),
        (("--max-size", "9T"), "at most"),
        (("--max-size", "0"), "at most"),
    ],
)
def test_what_makes_no_sense(
    options: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", str(SAMPLE), "-o", str(tmp_path / "b.zip"), *options]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    path.write_text("mine")
    assert main(["bundle", str(SAMPLE), "-o", str(path)]) == 2
    assert path.read_text() == "mine"
    assert zipfile.is_zipfile(io.BytesIO(bundled(SAMPLE, path, "--force") and path.read_bytes()))


@pytest.mark.parametrize(
    ("command", "size"),
    [(["bundle", "--yes"], "40k"), (["bundle", "--yes"], "40k,nr_inodes=1"), (["report"], "40k")],
    ids=["bundle", "bundle without room for a folder", "report"],
)
def test_a_full_disk_is_told_of_the_file_that_was_to_be(
    tmp_path: Path, command: list[str], size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "small", size) as small:
        output = small / ("b.zip" if command[0] == "bundle" else "b.html")
        assert main([*command, str(SAMPLE), "-o", str(output)]) == 1
        assert capsys.readouterr().err == f"tracekit: {output}: No space left on device\n"
        assert list(small.iterdir()) == []
