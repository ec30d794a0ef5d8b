"""What commands show on a terminal: progress on what takes long, colours, and lines as wide as it is."""

import os
import re
import sys
from pathlib import Path

import pytest
from terminal import on_terminal, tracekit

from tracekit import open_trace
from tracekit.analyze import analyze, rows_to_read
from tracekit.cli.main import COMMANDS

SAMPLES = Path(__file__).parents[2] / "sample_traces"
SAMPLE = str(SAMPLES / "several-at-once.parquet")
#: Commands, as if everything took more than a second.
IMPATIENT = [
    sys.executable,
    "-c",
    "import sys, tracekit.cli.live as live\n"
    "live._PATIENCE_S, live._EVERY_S = 0, 0.01\n"
    "from tracekit.cli.main import main\n"
    "sys.exit(main())",
]

#: Nothing is attached to this machine's kernel.
WITHOUT_PRIVILEGES = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- progress --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", SAMPLE], "reading several-at-once.parquet  |###"),
        (["report", SAMPLE, "-o", "x.html"], "drawing the page  "),
        (["report", SAMPLE, "--finding", "1"], "looking for the events of finding 1"),
        (["plot", "latency", SAMPLE], "drawing several-at-once-latency.png  "),
        (["info", SAMPLE], "reading several-at-once.parquet  |"),
        (["info", SAMPLE, "--verify"], "reading several-at-once.parquet  |"),
        (["doctor", "--events", "open"], "looking at this machine"),
    ],
    ids=lambda value: " ".join(value).replace(SAMPLE, "sample") if isinstance(value, list) else "",
)
def test_progress_is_shown_on_a_terminal_and_gone_in_the_end(arguments: list[str], words: str) -> None:
    done = on_terminal([*WITHOUT_PRIVILEGES, *IMPATIENT, *arguments], piped=True, columns=100)
    assert words in done.shown
    assert not any(words in line for line in done.screen)
    assert done.shown.rindex("\x1b[?25h") > done.shown.rindex("\x1b[?25l"), "the cursor is hidden"


def test_progress_is_one_line_however_narrow_the_terminal_is() -> None:
    done = on_terminal([*IMPATIENT, "report", SAMPLE], piped=True, columns=30)
    assert "reading several-at-once.parque\r" in done.shown
    assert done.screen == []


def test_a_terminal_that_cannot_erase_shows_no_progress() -> None:
    assert on_terminal([*IMPATIENT, "report", SAMPLE], piped=True, TERM="dumb").shown == ""


def test_progress_is_not_in_the_output(here: Path) -> None:
    with_progress = on_terminal([*IMPATIENT, "report", SAMPLE], piped=True)
    assert "reading" in with_progress.shown
    assert with_progress.out == on_terminal(tracekit("report", SAMPLE), piped=True).out


def test_what_is_done_at_once_shows_no_progress() -> None:
    done = on_terminal(tracekit("info", SAMPLE))
    assert "\x1b[?25l" not in done.shown
    assert done.code == 0


def test_a_file_that_gets_messages_gets_no_progress(here: Path) -> None:
    command = f"'{IMPATIENT[0]}' -c '{IMPATIENT[2]}' report {SAMPLE} -o x.html 2>messages"
    assert on_terminal(["sh", "-c", command]).shown == ""
    assert len(Path("messages").read_text().splitlines()) == 1


def test_interrupted_it_leaves_the_line_clean(here: Path) -> None:
    slow = "import sys, time; from tracekit.trace import Trace; Trace.verify = lambda self: time.sleep(60)\n"
    command = [sys.executable, "-c", f"{slow}from tracekit.cli.main import main; sys.exit(main())"]
    done = on_terminal([*command, "info", SAMPLE, "--verify"], at="reading")
    assert done.code == 130
    assert "reading several-at-once.parquet  |" in done.shown
    assert done.screen == []
    assert done.shown.endswith("\x1b[2K")


def test_a_report_reads_about_as_many_rows_as_it_expects(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for large in (10**9, 0):
        monkeypatch.setattr("tracekit.analyze.analysis._LARGE", large)
        trace, read = open_trace(SAMPLE), []
        trace.on_read = read.append
        analyze(trace)
        counts.append(sum(read))
    expected = rows_to_read(open_trace(SAMPLE))
    assert counts[0] == counts[1], "the second process counts as well"
    assert 0.9 * expected < counts[0] <= expected


# --- colours and width -----------------------------------------------------------------------------------------

RECORDED = {"report": [SAMPLE], "info": [SAMPLE], "diff": [SAMPLE, "--at", "5s"], "doctor": []}
SHOWN = [[name, *more] for name, more in RECORDED.items()]
#: What sets colours, or weight.
COLOUR = re.compile(r"\x1b\[\d+(;\d+)*m")


def whole(command: list[str]) -> list[str]:
    return [*WITHOUT_PRIVILEGES, *tracekit(*command)]


def test_every_command_with_colours_is_looked_at() -> None:
    plain = {"record", "recover", "plot", "completion", "slice", "redact", "bundle", "export", "import"}
    assert set(RECORDED) | plain == set(COMMANDS)


@pytest.mark.parametrize("command", SHOWN, ids=lambda command: command[0])
def test_colours_are_for_terminals_and_for_who_asks(command: list[str]) -> None:
    assert COLOUR.search(on_terminal(whole(command)).shown)
    assert not COLOUR.search(on_terminal(whole(command), NO_COLOR="1").shown)
    assert not COLOUR.search(on_terminal(whole(command), TERM="dumb").shown)
    piped = on_terminal(whole(command), piped=True, columns=200).out
    assert piped
    assert "\x1b" not in piped
    assert COLOUR.search(on_terminal(whole(command), piped=True, FORCE_COLOR="1").out)
    assert not COLOUR.search(on_terminal(whole(command), piped=True, FORCE_COLOR="1", NO_COLOR="1").out)


@pytest.mark.parametrize("command", [*SHOWN, ["--help"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_lines_are_as_wide_as_the_terminal(command: list[str]) -> None:
    for columns in (80,) if "--help" in command else (80, 130):
        lines = on_terminal(whole(command), columns=columns, NO_COLOR="1").screen
        # Commands to copy are whole.
        prose = [line for line in lines if not line.strip().startswith(("sudo ", "docker ", "apt "))]
        assert max(map(len, prose)) <= columns


def test_a_wide_terminal_is_used() -> None:
    narrow, wide = (on_terminal(tracekit("report", SAMPLE), columns=columns).screen for columns in (80, 130))
    assert len(narrow) > len(wide)
    assert max(map(len, wide)) > 100
    piped = on_terminal(tracekit("report", SAMPLE), columns=130, piped=True)
    assert max(map(len, piped.out.splitlines())) <= 80
