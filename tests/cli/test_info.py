"""What `tracekit info` prints."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from damage import small_trace
from tracebuilder import TraceBuilder

from tracekit.cli.live import Progress
from tracekit.cli.main import main
from tracekit.metadata import Clock, Counters, Disk

EXPECTED = """\
trace      TRACE (SIZE, format 1)
state      complete; 5 events lost
recorded   2026-01-02 03:04:05 UTC to 2026-01-02 03:04:15 UTC
duration   10.0 s
machine    db1, 2 CPUs, x86_64
kernel     6.1.0
recorder   tracekit 0.1.0, backend core
command    sh -c 'sleep 1'
asked for  process, block, open
filters    comm sh
redaction  none

event  rows
exec      1
open      2

family   seen  filtered  written  lost ring full  lost state full  lost not run  lost damaged  truncated
process     9         3        1               5                0             0             0          2
filtered: the recorder's own events, what the filters did not want, and what was outside the recording

disk       size  device  kind            scheduler  model
sda   931.3 GiB     8:0  not rotational  none       ?
"""


@pytest.fixture
def builder() -> TraceBuilder:
    return TraceBuilder().add("exec", 1, comm="sh").add("open", 2).add("open", 3)


def shown(builder: TraceBuilder, path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    builder.write(path)
    assert main(["info", str(path), *options]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_everything(builder: TraceBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    builder.metadata(
        command=("sh", "-c", "sleep 1"),
        filters={"comm": "sh"},
        counters={"process": Counters(seen=9, filtered=3, written=1, lost_ring_full=5, truncated=2)},
        disks=(Disk("sda", 8 << 20, None, "none", False, 10**12),),
    )
    path = tmp_path / "trace.parquet"
    out = shown(builder, path, capsys)
    first = out.splitlines()[0]
    assert out.replace(first, "trace      TRACE (SIZE, format 1)") == EXPECTED
    assert first == f"trace      {path} ({path.stat().st_size / 1024:.1f} KiB, format 1)"


def test_what_is_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    builder = TraceBuilder().metadata(
        kernel=None, arch=None, cpus=None, hostname=None, backend=None, clock=Clock(), counters={}, complete=False
    )
    out = shown(builder, tmp_path / "trace.parquet", capsys)
    assert "recovered" in out
    assert "whether events were lost is unknown" in out
    assert "name unknown, ? CPUs, ?" in out
    assert "kernel     ?" in out
    assert "recorded   ? (it has no wall-clock time)" in out


def test_hostile_strings_stay_text(builder: TraceBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b]0;x\x07[red]\u202e\n[/red]"
    builder.metadata(
        hostname=hostile,
        kernel=hostile,
        command=(hostile,),
        filters={hostile: hostile},
        counters={hostile: Counters()},
        disks=(Disk(hostile, 1, hostile),),
    )
    out = shown(builder, tmp_path / "trace.parquet", capsys)
    assert out.count("\\x1b]0;x\\x07[red]\\u202e\\n[/red]") == 8
    assert all(line.isprintable() for line in out.splitlines())


def test_rows_of_loss_count_where_the_footer_has_no_counters(
    builder: TraceBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    builder.add("lost", 9, start_ns=4, lost=7, lost_family="open").metadata(counters={})
    assert "complete; 7 events lost\n" in shown(builder, tmp_path / "trace.parquet", capsys)


def test_what_was_redacted_is_told_in_words(
    builder: TraceBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    builder.metadata(hostname=None, redaction={"rows": "only half of them", "names": "replaced"})
    out = shown(builder, tmp_path / "trace.parquet", capsys)
    assert "redaction  only half of them; replaced\n" in out
    assert "name removed" in out


@pytest.mark.parametrize("shift", [2**61, -(2**61)])
def test_a_clock_gone_mad(shift: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    builder = TraceBuilder(start_ns=shift, duration_ns=2**61)
    assert "recorded" in shown(builder, tmp_path / "trace.parquet", capsys)


def test_json(builder: TraceBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.parquet"
    facts = json.loads(shown(builder, path, capsys, "--format", "json"))
    assert facts["path"] == str(path)
    assert facts["rows"] == {"exec": 1, "open": 2}
    assert facts["metadata"]["duration_ns"] == 10 * 10**9
    assert facts["metadata"]["clock"]["name"] == "CLOCK_BOOTTIME"


def test_what_is_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = small_trace(tmp_path / "trace.parquet")
    assert main(["info", str(path), "--verify"]) == 0
    assert "verified   all of it can be read\n" in capsys.readouterr().out
    assert main(["info", str(path), "--verify", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"] is True


@pytest.mark.parametrize("part", range(20))
def test_damage_is_found_wherever_it_is(part: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = small_trace(tmp_path / "trace.parquet")
    groups = pq.read_metadata(path)
    raw = bytearray(path.read_bytes())
    column = groups.row_group(part % groups.num_row_groups).column(part)
    begin = column.dictionary_page_offset or column.data_page_offset
    raw[begin + column.total_compressed_size - 1] ^= 0xFF
    path.write_bytes(raw)
    assert main(["info", str(path), "--verify"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{path} is damaged in row group {part % groups.num_row_groups}: " in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("options", [[], ["--verify"], ["--format", "json"]], ids=" ".join)
def test_all_reading_shows_progress(
    options: list[str], builder: TraceBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Watched(Progress):
        def __exit__(self, *error: Any) -> None:
            super().__exit__(*error)
            said.append("end")

        def add(self, more: int) -> None:
            super().add(more)
            said.append("read")

    monkeypatch.setattr("tracekit.cli.info.Progress", Watched)
    builder.add("lost", 4, lost=5, lost_family="open")
    assert main(["info", str(builder.write(tmp_path / "trace.parquet")), *options]) == 0
    assert said.count("read") >= 3
    assert said.index("end") == len(said) - 1
