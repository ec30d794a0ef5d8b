"""The command that tells what changed: `tracekit diff`."""

import json
from pathlib import Path

import pytest
from tracebuilder import TraceBuilder

from tracekit.cli.main import main

SAMPLES = Path(__file__).parents[2] / "sample_traces"
NOTHING, SERVICE = SAMPLES / "nothing-to-find.parquet", SAMPLES / "service-restart.parquet"


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    sample = str(SERVICE)
    assert main(["diff", sample, "--at", "6s"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"before  {sample}")
    assert "No change: none of the " in out
    assert max(map(len, out.splitlines())) <= 80
    assert main(["diff", str(NOTHING), sample, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["diff_format"] == 1
    assert told["before"]["trace"]["path"] == str(NOTHING)
    assert told["changes"][0]["kind"] == "rhythm"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ([], "name two recordings, or one and with --at the time at which it is divided"),
        (["{sample}", "--at", "6s"], "name two recordings, or one"),
        (["--at", "0.0"], "the part from 0 s to 0 s has no length"),
        (["--at", "1h"], "after the end of the recording"),
        (["--at", "soon"], "soon"),
        (["{sample}", "--comm", "nobody"], "nobody"),
    ],
)
def test_wrong_usage(more: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    sample = str(SERVICE)
    assert main(["diff", sample, *(one.format(sample=sample) for one in more)]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_what_the_kernel_keeps_of_a_name_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def recorded(comm: str, file: str) -> str:
        builder = TraceBuilder()
        for at in range(9):
            builder.add("open", at * 1_000_000_000, comm=comm, path="/a", ret=3, duration_ns=1000)
        return str(builder.write(tmp_path / file))

    cut, other = (recorded("databases-very-", name) for name in ("cut.parquet", "other.parquet"))
    whole = recorded("databases-very-long", "whole.parquet")
    sides = ([cut, other], 1), ([cut, "--at", "5s"], 1), ([cut, whole], 1), ([whole, cut], 1), ([whole, whole], 0)
    for paths, times in sides:
        assert main(["diff", *paths, "--comm", "databases-very-long"]) == 0
        assert capsys.readouterr().err.count("the kernel keeps 15 bytes") == times
