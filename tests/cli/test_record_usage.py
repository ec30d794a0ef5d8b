"""What `tracekit record` and `recover` say where nothing can be recorded or recovered."""

from pathlib import Path

import pytest
from damage import DAMAGES, Damage, small_trace

from tracekit.cli.main import main

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
_OTHERWISE = ("row-group-flipped", "cut-off-with-journal")


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
