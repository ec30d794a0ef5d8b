"""`tracekit report -o`: the ending says what is written, whole or not at all, and nothing is overwritten."""

import json
import re
from pathlib import Path

import pytest
from hostile import NAMES, hostile
from scenarios import everything
from tracebuilder import TraceBuilder

from tracekit import open_trace
from tracekit.cli.main import main
from tracekit.schema import SCHEMA

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return everything().write(tmp_path_factory.mktemp("report") / "nightly.parquet")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("x.html", "<!DOCTYPE html>\n<html"),
        ("x.HTML", "<!DOCTYPE html>\n<html"),
        ("x.json", '{\n  "'),
        ("x.md", "# Report of "),
        ("x.txt", "Report of "),
    ],
)
def test_the_ending_says_what_is_written(name: str, begins: str, recorded: Path, here: Path, capsys: Output) -> None:
    assert main(["report", str(recorded), "-o", name]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"tracekit: wrote {name} (")
    assert [path.name for path in here.iterdir()] == [name]
    text = Path(name).read_text()
    assert text.startswith(begins)
    assert text.endswith("\n")


@pytest.mark.parametrize(("style", "name"), [("text", "x.txt"), ("json", "x.json"), ("md", "x.md")])
def test_a_file_has_what_would_be_printed(style: str, name: str, recorded: Path, capsys: Output) -> None:
    assert main(["report", str(recorded), "--format", style]) == 0
    printed = capsys.readouterr().out
    assert main(["report", str(recorded), "--format", style, "-o", name]) == 0
    assert Path(name).read_text() == printed


def test_the_events_of_a_finding_as_text(recorded: Path, capsys: Output) -> None:
    assert main(["report", str(recorded), "--finding", "1", "--top", "2"]) == 0
    out, err = capsys.readouterr()
    shown, columns, *events = out.splitlines()
    assert main(["report", str(recorded)]) == 0
    report = " ".join(capsys.readouterr().out.split())
    assert shown.startswith("Raw events behind finding 1: ")
    assert f"1. {shown.removeprefix('Raw events behind finding 1: ')}" in report
    assert columns.split() == ["time", "event", "command", "(pid)", "more"]
    assert len(events) == 2
    more = int(err.split(" more: --top ")[0].rpartition(" ")[2].replace(",", ""))
    assert f"--top {more + 2} shows all" in err


def test_the_events_of_a_finding_as_json(recorded: Path, capsys: Output) -> None:
    assert main(["report", str(recorded), "--finding", "1", "--top", "2", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    told = json.loads(out)
    assert list(told) == ["report_format", "finding", "start_ns", "rows", "omitted"]
    assert main(["report", str(recorded), "--format", "json"]) == 0
    assert told["finding"] == json.loads(capsys.readouterr().out)["findings"][0]
    trace = open_trace(recorded)
    assert [list(row) for row in told["rows"]] == [SCHEMA.names] * 2
    assert all(told["start_ns"] == trace.start_ns <= row["ts_ns"] < trace.end_ns for row in told["rows"])
    assert told["omitted"] > 0
    for name in ("x.json", "x.txt"):
        assert main(["report", str(recorded), "--finding", "1", "--top", "2", "-o", name]) == 0
        capsys.readouterr()
    assert Path("x.json").read_text() == out
    assert Path("x.txt").read_text().startswith("Raw events behind finding 1: ")


def test_numbers_of_raw_events_are_written_as_people_read_them(here: Path, capsys: Output) -> None:
    builder = TraceBuilder()
    for number in range(40):
        builder.add(
            "open", 10**9 + number, pid=7, comm="app", path="/x", ret=-2, duration_ns=2480, flags=0x8000, mode=420
        )
    path = str(builder.write(here / "t.parquet"))
    assert main(["report", path, "--finding", "1", "--top", "1"]) == 0
    event = capsys.readouterr().out.splitlines()[-1]
    expected = "1.000000000 s  open  app (7)  path=/x ret=ENOENT duration=2.48 us flags=0x8000 mode=0644"
    assert re.sub(" +", " ", event).strip() == re.sub(" +", " ", expected)


def test_two_runs_give_the_same_page(recorded: Path) -> None:
    for name in ("a.html", "b.html"):
        assert main(["report", str(recorded), "-o", name]) == 0
    assert Path("a.html").read_bytes() == Path("b.html").read_bytes()


def test_nothing_is_overwritten_without_force(recorded: Path, capsys: Output) -> None:
    Path("x.html").write_text("mine")
    assert main(["report", str(recorded), "-o", "x.html"]) == 2
    assert "x.html exists already" in capsys.readouterr().err
    assert Path("x.html").read_text() == "mine"
    assert main(["report", str(recorded), "-o", "x.html", "--force"]) == 0
    assert Path("x.html").read_text().startswith("<!DOCTYPE")


def test_it_is_readable_by_its_owner_only(recorded: Path) -> None:
    assert main(["report", str(recorded), "-o", "x.html"]) == 0
    assert Path("x.html").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "x.pdf"], "must end in .html, .json, .md, .txt"),
        (["-o", "report"], "must end in .html, .json, .md, .txt"),
        (["-o", "x.html", "--format", "text"], "--format text contradicts the ending of x.html"),
        (["-o", "x.json", "--format", "md"], "--format md contradicts the ending of x.json"),
        (["-o", "x.html", "--finding", "1"], "--finding gives text or JSON, not html"),
        (["--format", "md", "--finding", "1"], "--finding gives text or JSON, not md"),
        (["--finding", "99"], "there is no finding 99: the report has "),
        (["-o", "missing/x.html"], "does not exist"),
        (["--format", "html"], "there is no 'html': write a page with -o report.html"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_one_line(
    options: list[str], words: str, recorded: Path, here: Path, capsys: Output
) -> None:
    assert main(["report", str(recorded), *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert not list(here.iterdir())


def test_strict_and_a_part_of_the_trace(recorded: Path) -> None:
    assert main(["report", str(recorded), "-o", "x.html", "--strict", "--top", "3"]) == 3
    assert main(["report", str(recorded), "-o", "y.html", "--from", "2s", "--to", "4s", "--comm", "file-worker"]) == 0
    assert "from 2.00 s to 4.00 s, the command file-worker" in Path("y.html").read_text()
    assert "--from 2 --to 4 --comm file-worker --finding 1" in Path("y.html").read_text()


@pytest.mark.parametrize("options", [[], ["--format", "md"], ["--finding", "1", "--top", "5000"], ["--finding", "3"]])
def test_hostile_names_do_nothing_to_a_terminal(options: list[str], here: Path, capsys: Output) -> None:
    trace = hostile().write(here / "hostile.parquet")
    assert main(["report", str(trace), *options]) == 0
    out, err = capsys.readouterr()
    assert not any(unsafe in out + err for unsafe in "\x00\x07\x1b\r\u202e\u2066\u200b")
    assert "\\x1b[31m" in out.replace("\\[", "[").replace("\\\\", "\\") or "\\u202e" in out


def test_hostile_names_are_as_they_are_in_json(here: Path) -> None:
    trace = hostile().write(here / "hostile.parquet")
    assert main(["report", str(trace), "-o", "x.json"]) == 0
    text = Path("x.json").read_text()
    assert text.isascii()
    assert json.loads(text)["trace"]["kernel"] == NAMES[3]
