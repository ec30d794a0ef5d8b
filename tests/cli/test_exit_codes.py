"""What every command does with a trace that it cannot read: one line, the documented exit code, no traceback."""

import errno
import os
from pathlib import Path

import pytest
from damage import DAMAGES, OF_A_COLUMN, Damage, small_trace

from tracekit.cli.main import main

COMMANDS = (
    "info",
    "info --verify",
    "report",
    "report -o page.html",
    "plot rates",
    "plot latency",
    "slice --from 0",
    "redact",
    "redact --check",
    "bundle",
    "diff --at 1s",
    "export -o rows.csv",
    "export -o trace.pftrace",
)


#: These read all that there is.
THOROUGH = ("info --verify", "slice --from 0", "redact", "bundle", "export -o rows.csv")


@pytest.fixture(scope="module", params=(*DAMAGES, *OF_A_COLUMN), ids=lambda damage: damage.name)
def damaged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Damage]:
    path = tmp_path_factory.mktemp("damaged") / "trace.parquet"
    request.param.make(path)
    return path, request.param


@pytest.mark.parametrize("command", COMMANDS)
def test_unreadable_trace(
    command: str,
    damaged: tuple[Path, Damage],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, damage = damaged
    monkeypatch.chdir(tmp_path)
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins anew
    before = _memory("VmRSS")

    code = main([*command.split(), str(path)])

    assert _memory("VmHWM") - before < 256 << 20
    out, err = capsys.readouterr()
    if code == 0:
        assert damage in OF_A_COLUMN
        assert command not in THOROUGH
        return
    assert (code, out) == (damage.exit_code, "")
    assert not any(tmp_path.iterdir())
    assert err.startswith("tracekit: ")
    assert err.count("\n") == 1
    assert damage.words in err
    assert "trace.parquet" in err


def _memory(what: str) -> int:
    """Bytes that this process has, or that it had at the most."""
    [line] = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(what)]
    return int(line.split()[1]) << 10


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


def test_a_trace_that_may_not_be_read_is_not_recovered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small_trace(tmp_path / "trace.parquet")
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr(Path, "open", _refuse)
    assert main(["recover", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"tracekit: {path} is not yours to read: ")
