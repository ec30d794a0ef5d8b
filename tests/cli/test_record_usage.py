"""What `tracekit record` and `recover` say where nothing can be recorded or recovered."""

from pathlib import Path

import pytest
from damage import DAMAGES, Damage, small_trace

from tracekit.capture.filters import Filters
from tracekit.capture.options import RecordOptions
from tracekit.cli.live import LiveLine
from tracekit.cli.main import main
from tracekit.cli.record import _Screen
from tracekit.metadata import Counters

Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("command", "noted"),
    [
        (["sleep", "1", "-d", "5"], "-d"),
        (["sleep", "--events=open"], "--events=open"),
        (["sleep", "1", "-x", "5"], ""),
        (["--", "sleep", "1", "-d", "5"], ""),
        (["-d", "5", "sleep", "1"], ""),
        (["-d", "5"], ""),
    ],
    ids=" ".join,
)
def test_an_option_behind_the_command_is_noted(
    command: list[str], noted: str, capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["record", "-o", "missing/t.parquet", *command]) == 2
    *notes, error = capsys.readouterr().err.splitlines()
    assert "does not exist" in error
    said = f"tracekit: note: {noted} goes to sleep: options of tracekit stand before it. '-- sleep' says it is meant."
    assert notes == ([said] if noted else [])


def test_families_that_there_are_not(capsys: Output) -> None:
    assert main(["record", "--events", "block,opne"]) == 2
    assert capsys.readouterr().err == "tracekit: there are no 'opne' events: did you mean 'open'?\n"


#: What opening a file does not see, and what is there to recover it from.
_UNSEEN = ("row-group-flipped", "rows-in-one-group", "more-values-than-there-are", "strange-statistics")
_OTHERWISE = (*_UNSEEN, "cut-off-with-journal")


@pytest.mark.parametrize(
    "damage",
    [one for one in DAMAGES if one.exit_code == 3 and one.name not in _OTHERWISE],
    ids=lambda damage: damage.name,
)
def test_what_can_be_done_about_a_damaged_trace_without_a_journal(
    damage: Damage, tmp_path: Path, capsys: Output
) -> None:
    path, journal = tmp_path / "trace.parquet", tmp_path / ".trace.parquet.journal"
    damage.make(path)
    assert main(["recover", str(path)]) == 3
    err = capsys.readouterr().err
    assert damage.words in err
    assert f"could only be recovered from the journal {journal}, and there is none\n" in err
    assert err.count("\n") == 1


def test_nothing_is_to_be_done_about_a_whole_trace(tmp_path: Path, capsys: Output) -> None:
    path = small_trace(tmp_path / "trace.parquet")
    assert main(["recover", str(path)]) == 2
    assert "there is no unfinished recording of it: nothing is to be done" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seen", "said"),
    [(0, "no events were seen of uid nobody"), (1200, "1,200 events were seen, but none of uid nobody")],
)
def test_filters_that_nothing_met(seen: int, said: str, tmp_path: Path, capsys: Output) -> None:
    options = RecordOptions(tmp_path / "t.parquet", filters=Filters(uids=("nobody",)))
    _Screen(options, LiveLine()).ended(None, {"open": Counters(seen=seen, filtered=seen)})
    assert capsys.readouterr().err == f"tracekit: WARNING: {said}.\n"
