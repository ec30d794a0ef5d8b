"""`tracekit plot`: what is written where, and what is refused with one line."""

import shutil
from pathlib import Path

import pytest
from damage import small_trace
from scenarios import demonstration

from tracekit.analyze.plots import KINDS
from tracekit.cli.main import main

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demonstration(seed=2).write(tmp_path_factory.mktemp("plot") / "nightly.parquet")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_written(kind: str, recorded: Path, here: Path, capsys: Output) -> None:
    assert main(["plot", kind, str(recorded)]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"tracekit: wrote nightly-{kind}.png (")
    assert [path.name for path in here.iterdir()] == [f"nightly-{kind}.png"]
    assert Path(f"nightly-{kind}.png").read_bytes().startswith(b"\x89PNG")


def test_the_ending_says_what_is_written(recorded: Path) -> None:
    assert main(["plot", "rates", str(recorded), "-o", "x.SVG"]) == 0
    assert b"<svg" in Path("x.SVG").read_bytes()


def test_the_usual_trace_is_in_this_folder(here: Path) -> None:
    small_trace(here / "trace.parquet")
    assert main(["plot", "rates"]) == 0
    assert Path("trace-rates.png").exists()


def test_nothing_is_overwritten_without_force(recorded: Path, capsys: Output) -> None:
    Path("x.png").write_text("mine")
    arguments = ["plot", "rates", str(recorded), "-o", "x.png"]
    assert main(arguments) == 2
    assert "x.png exists already" in capsys.readouterr().err
    assert Path("x.png").read_text() == "mine"
    assert main([*arguments, "--force"]) == 0
    assert Path("x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "options",
    [
        ["latency", "--metric", "block.total", "--group", "disk=sda,op=read"],
        ["latency", "--metric", "process.lifetime", "--from", "1s", "--to", "9s"],
        ["heatmap", "--metric", "block.device", "--group", "disk=sda,op=read"],
        ["heatmap", "--metric", "open", "--comm", "file-worker"],
        ["subsecond", "--event", "open"],
        ["rates", "--event", "exec", "--event", "exit", "--event", "block_complete"],
        ["rates", "--disk", "sda", "--event", "block_issue"],
        ["timeline", "--pattern", "1"],
        ["io", "--disk", "sdb"],
        ["rates", "--size", "3000x1700"],
        ["rates", "--dpi", "120"],
        ["rates", "--size", "300x170"],
    ],
    ids=" ".join,
)
def test_options(options: list[str], recorded: Path) -> None:
    kind, *rest = options
    assert main(["plot", kind, str(recorded), *rest]) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["histogram"], "there are latency, heatmap, subsecond, rates, timeline, io"),
        (["latncy"], "did you mean 'latency'?"),
        (["rates", "--metric", "open"], "rates takes no metric: that is for latency and heatmap"),
        (["subsecond", "--event", "open", "--event", "exec"], "subsecond takes no events: that is for rates"),
        (["rates", "--event", "opne"], "did you mean 'open'?"),
        (["latency", "--metric", "block.devic"], "did you mean 'block.device'?"),
        (["latency", "--group", "sda"], "'sda' is no group: give fields and values"),
        (["latency", "--group", "comm=nobody", "--metric", "open"], "no group comm=nobody in the report"),
        (["heatmap", "--group", "disk=sdz"], "no latencies of block.device sdz"),
        (["rates", "--comm", "nobody"], "nothing to draw: no exec or block_issue or open events"),
        (["timeline", "--comm", "nobody"], "nothing to draw: no process starts"),
        (["timeline", "--pattern", "7"], "there is no rhythm 7"),
        (["io", "--disk", "sdz"], "nothing to draw: no block I/O"),
        (["io", "--from", "1h"], "after the end of the recording"),
        (["io", "--size", "large"], "'large' is no size: give pixels, such as 1920x1080"),
        (["io", "--size", "1920x1080", "--dpi", "300"], "give at most "),
        (["io", "--size", "10x10"], "nobody could read a picture of 10x10: give at least 300x170"),
        (["io", "--size", "10x10", "--dpi", "100"], "nobody could read a picture of 10x10: give at least 300x170"),
        (["io", "--dpi", "29"], "nobody could read a picture at 29 dpi: give at least 30"),
        (["io", "-o", "x.pdf"], "must end in .png or .svg"),
        (["io", "-o", "missing/x.png"], "does not exist"),
        (["io", "--from", "soon"], "'soon' is not a duration"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_one_line(
    options: list[str], words: str, recorded: Path, here: Path, capsys: Output
) -> None:
    kind, *rest = options
    assert main(["plot", kind, str(recorded), *rest]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tracekit: ")
    assert err.count("\n") == 1
    assert words in err
    assert not list(here.iterdir())


def test_the_picture_of_a_finding(recorded: Path, here: Path, capsys: Output) -> None:
    assert main(["plot", "--finding", "1", str(recorded)]) == 0
    assert capsys.readouterr().err.startswith("tracekit: wrote nightly-finding-1.png (")
    assert main(["plot", "timeline", str(recorded), "-o", "timeline.png"]) == 0
    assert Path("nightly-finding-1.png").read_bytes() == Path("timeline.png").read_bytes()
    shutil.copy(recorded, "trace.parquet")
    assert main(["plot", "--finding", "1", "-o", "x.svg", "--size", "1800x1000"]) == 0
    assert b"<svg" in Path("x.svg").read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--finding", "99", "RECORDED"], "there is no finding 99: the report has "),
        (["latency", "RECORDED", "--finding", "1"], "--finding chooses the kind of picture"),
        (["--finding", "1", "RECORDED", "--metric", "open"], "--finding chooses the kind of picture"),
        (["--finding", "1", "latncy"], "there is no file latncy"),
        (["--finding", "1", "RECORDED", "-o", "x.pdf"], "must end in .png or .svg"),
        ([], "name a kind of picture: there are latency, heatmap, subsecond, rates, timeline, io; or give --finding N"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_finding_that_cannot_be_drawn(
    options: list[str], words: str, recorded: Path, here: Path, capsys: Output
) -> None:
    assert main(["plot", *(str(recorded) if word == "RECORDED" else word for word in options)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err
    assert not list(here.iterdir())


def test_help_names_every_kind_with_examples(capsys: Output) -> None:
    assert main(["plot", "--help"]) == 0
    out = capsys.readouterr().out
    for name, kind in KINDS.items():
        assert f"  {name} " in out
        assert kind.help.split(",")[0] in " ".join(out.split())
    assert "tracekit plot timeline --pattern 2" in out
