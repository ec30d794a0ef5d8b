"""What every command does with a trace that it cannot read: one line, the documented exit code, no traceback."""

import errno
import os
from pathlib import Path

import pytest
from damage import DAMAGES, Damage, small_trace

from tracekit.cli.main import main

COMMANDS = ("info", "report", "plot rates", "plot latency", "slice", "redact", "redact --check", "bundle")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_unreadable_trace(command: str, damage: Damage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.parquet"
    damage.make(path)

    code = main([*command.split(), str(path)])

    out, err = capsys.readouterr()
    assert (code, out) == (damage.exit_code, "")
    assert err.startswith("tracekit: ")
    assert err.count("\n") == 1
    assert damage.words in err
    assert "trace.parquet" in err


@pytest.mark.parametrize("command", COMMANDS)
def test_trace_that_may_not_be_read(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small_trace(tmp_path / "trace.parquet")
    # The tests often run as root, who may read everything.
    monkeypatch.setattr(Path, "open", _refuse)

    code = main([*command.split(), str(path)])

    assert code == 2
    advice = "use sudo, or have its owner give it to you"
    assert capsys.readouterr().err == f"tracekit: {path} is not yours to read: {advice}\n"


def _refuse(*_: object, **__: object) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
