"""`tracekit redact`: nothing leaks, and an analysis finds the same."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile import NAMES, hostile
from tracebuilder import TraceBuilder

from tracekit.analyze import analyze
from tracekit.cli.main import main
from tracekit.metadata import Cut, Disk
from tracekit.schema import METADATA_KEY, SCHEMA
from tracekit.share.names import PSEUDONYM
from tracekit.trace import Trace, open_trace
from tracekit.units import SECOND_NS

SAMPLES = sorted((Path(__file__).parents[2] / "sample_traces").glob("*.parquet"))
TOKEN = "ghp_" + "a1B2" * 9
SECRETS = ("alice", "hunter2", "acme", "db1.example.com", TOKEN, "Supermodel 9000", "nightly")


def redacted(source: Path, output: Path, *options: str) -> Trace:
    assert main(["redact", str(source), "-o", str(output), *options]) == 0
    return open_trace(output)


def telling(path: Path) -> Path:
    """A trace that tells what it should not, in every place that there is."""
    builder = TraceBuilder()
    who = {"pid": 7, "tid": 7, "uid": 1234, "cgroup": "/user.slice/user-1234.slice/acme.service"}
    builder.add("process", 0, comm="acme", argv=["acme", "--user", "alice"], argv_bytes=19, **who)
    argv = ["/usr/bin/mysql", "--password", "postgres", "-phunter2", f"https://alice:hunter2@acme/{TOKEN}", "-n", "5"]
    builder.add("exec", 1, comm="mysql", path="/usr/bin/mysql", argv=argv, argv_bytes=5000, **who)
    builder.add("exec", 2, comm="x", path="/x", argv=None, **who)
    builder.add("exec", 3, comm="x", path="/x", argv=[], argv_bytes=0, **who)
    builder.add("open", 4, comm="db1", path="/home/alice/acme.conf", ret=-2, duration_ns=1, **who)
    builder.add("open", 5, comm="sh", path=f"/usr/share/{TOKEN}", ret=3, duration_ns=1, **who)
    io = {"disk": "acme-disk", "dev": 1, "request": 1, "sector": 1, "bytes": 512, "op": "read", "comm": "sh"}
    builder.add("block_start", 6, **io).add("block_issue", 7, **io).add("block_complete", 8, **io)
    builder.metadata(
        hostname="db1.example.com",
        kernel="6.1.0-18-amd64-acme",
        command=("mysql", "--password", "hunter2"),
        filters={"comm": ["acme"], "uid": [1234], "cgroup": ["/acme"], "disk": "acme-disk", "command": True},
        disks=(Disk("acme-disk", 1, "Supermodel 9000"), Disk("sda", 2, "Supermodel 9000")),
        cuts=(Cut("nightly-db1.parquet", 1, 1, 0, 1, 0, {"comm": ["acme"]}),),
    )
    return builder.write(path)


def test_nothing_leaks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = redacted(telling(tmp_path / "trace.parquet"), tmp_path / "out.parquet")
    everything = repr(trace.table().to_pylist()) + trace.metadata.to_json()
    assert not [secret for secret in SECRETS if secret in everything]
    assert "1234" not in everything
    # Nor does it hide in a dictionary or in statistics.
    assert not [secret for secret in SECRETS if secret.encode() in (tmp_path / "out.parquet").read_bytes()]
    err = capsys.readouterr().err
    assert "6 control groups (1 different), 6 user ids (1 different), 6 arguments (6 different)" in err
    assert "1 host name" in err
    assert "GitHub token 2" in err
    assert not [secret for secret in SECRETS if secret in err]
    assert trace.metadata.kernel == "6.1.0-18-amd64"
    assert trace.metadata.filters["command"] is True
    assert [disk.name for disk in trace.metadata.disks][1:] == ["sda"]
    assert trace.metadata.redaction is not None


def test_what_was_replaced_stands_though_nothing_is_left_to_replace(tmp_path: Path) -> None:
    once = redacted(telling(tmp_path / "trace.parquet"), tmp_path / "once.parquet")
    twice = redacted(tmp_path / "once.parquet", tmp_path / "twice.parquet")
    assert once.metadata.redaction is not None
    assert "1 host name" in once.metadata.redaction["replaced"]
    assert twice.metadata.redaction == once.metadata.redaction


def test_what_was_replaced_later_is_told_after_what_was_before(tmp_path: Path) -> None:
    redacted(telling(tmp_path / "trace.parquet"), tmp_path / "once.parquet", "--allow", "acme")
    twice = redacted(tmp_path / "once.parquet", tmp_path / "twice.parquet").metadata.redaction
    assert twice is not None
    assert re.fullmatch(r"replaced .*1 host name.*, and then replaced .*program name.*", twice["replaced"])


def test_a_password_follows_its_option_within_a_command_only(tmp_path: Path) -> None:
    builder = TraceBuilder()
    for at, argv in enumerate((["/usr/bin/mysql", "--password"], ["/usr/bin/ls", "-n"], None, ["-p", "x"])):
        builder.add("exec", at, pid=7, tid=7, comm="sh", path="/usr/bin/sh", argv=argv)
    trace = redacted(builder.write(tmp_path / "trace.parquet"), tmp_path / "out.parquet")
    assert trace.table("exec")["argv"].to_pylist()[:3] == [
        ["/usr/bin/mysql", "--password"],
        ["/usr/bin/ls", "-n"],
        None,
    ]


def test_what_stays(tmp_path: Path) -> None:
    trace = redacted(telling(tmp_path / "trace.parquet"), tmp_path / "out.parquet")
    rows = trace.table("exec").to_pylist()
    argv = [PSEUDONYM.sub("X", text) for text in rows[0]["argv"]]
    assert argv == ["/usr/bin/mysql", "--password", "X", "X", "https://X/X", "-n", "5"]
    assert rows[0]["comm"] == "mysql"
    assert [row["argv"] for row in rows[1:]] == [None, []]
    assert rows[1]["argv_bytes"] is None
    before = open_trace(tmp_path / "trace.parquet").table("exec").to_pylist()[0]
    # What was cut off of the arguments is still seen to be.
    missing = [row["argv_bytes"] - sum(map(len, row["argv"])) for row in (before, rows[0])]
    assert missing[0] == missing[1]
    process = trace.table("process").to_pylist()[0]
    cgroup = process["cgroup"]
    assert re.fullmatch(rf"/user\.slice/user-{process['uid']}\.slice/{process['comm']}\.service", cgroup)
    path = trace.table("open").to_pylist()[0]["path"]
    assert path.endswith(f"/{process['comm']}.conf")
    assert trace.metadata.filters["uid"] == [process["uid"]]
    same = ("ts_ns", "event", "pid", "tid", "ret", "duration_ns", "sector", "dev", "request")
    whole = open_trace(tmp_path / "trace.parquet")
    assert trace.table(columns=same).equals(whole.table(columns=same))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_an_analysis_finds_the_same(sample: Path, tmp_path: Path) -> None:
    whole, trace = open_trace(sample), redacted(sample, tmp_path / "out.parquet")
    pairs: dict[str, str] = {}
    for name in ("comm", "path", "cgroup"):
        columns = (one.table(columns=[name]).column(name).to_pylist() for one in (whole, trace))
        pairs |= {before: after for before, after in zip(*columns, strict=True) if before is not None}
    assert len(set(pairs.values())) == len(pairs)
    assert any(PSEUDONYM.search(after) for after in pairs.values())
    names = "|".join(re.escape(name) for name in sorted(pairs, key=len, reverse=True) if "/" not in name)

    def findings(one: Trace) -> list[str]:
        # Which of the paths that are met equally often is told goes by their names; and long ones are told in part.
        told = (json.dumps(dataclasses.asdict(found), default=np.ndarray.tolist) for found in analyze(one).findings)
        return [re.sub(r"/\S+", "/...", text) for text in told]

    renamed = re.compile(rf"(?<![\w.-])(?:{names})(?![\w-])")
    assert findings(trace) == [renamed.sub(lambda found: pairs[found[0]], text) for text in findings(whole)]


def test_the_key(tmp_path: Path) -> None:
    source = telling(tmp_path / "trace.parquet")
    key = ("--key-file", str(tmp_path / "key"))
    same = [redacted(source, tmp_path / f"{turn}.parquet", *key).path.read_bytes() for turn in range(2)]
    assert same[0] == same[1]
    others = [redacted(source, tmp_path / f"other{turn}.parquet").path.read_bytes() for turn in range(2)]
    assert len({*others, same[0]}) == 3


def test_more_may_stay(tmp_path: Path) -> None:
    trace = redacted(
        telling(tmp_path / "t.parquet"), tmp_path / "out.parquet", "--allow", "acme", "--allow", "/home/**"
    )
    assert trace.table("process").to_pylist()[0]["comm"] == "acme"
    assert trace.table("open").to_pylist()[0]["path"] == "/home/alice/acme.conf"


def test_what_still_looks_like_a_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = telling(tmp_path / "trace.parquet")
    before = sorted(tmp_path.iterdir())
    assert main(["redact", "--check", str(source)]) == 1
    out = capsys.readouterr().out
    assert "GitHub token in path, once, in an open at 0.000000005 s: /usr..." in out
    assert "URL with credentials in argv, once, in an exec at 0.000000001 s: http..." in out
    assert "password in an argument in argv, once" in out
    assert "host name in footer, once: db1...." in out
    assert not [secret for secret in ("hunter2", TOKEN, "example") if secret in out]
    assert sorted(tmp_path.iterdir()) == before
    redacted(source, tmp_path / "out.parquet")
    capsys.readouterr()
    assert main(["redact", "--check", str(tmp_path / "out.parquet")]) == 0
    assert capsys.readouterr().out == "nothing looks like a secret\n"


def test_the_first_in_time_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    builder = TraceBuilder()
    url = "https://alice:hunter2@acme/"
    # In the file, processes stand before opens.
    builder.add("exec", 5 * SECOND_NS, pid=7, tid=7, comm="sh", path=f"/bin/{url}", argv=[])
    builder.add("open", 3 * SECOND_NS, pid=7, tid=7, comm="sh", path=f"/run/{url}", duration_ns=1)
    builder.add("open", SECOND_NS, pid=7, tid=7, comm="sh", path=f"/tmp/{url}", duration_ns=1)
    assert main(["redact", "--check", str(builder.write(tmp_path / "trace.parquet"))]) == 1
    told = "URL with credentials in path, 3 times, first in an open at 1.000000000 s: /tmp..."
    assert told in capsys.readouterr().out


def test_twice_is_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = redacted(telling(tmp_path / "trace.parquet"), tmp_path / "one.parquet")
    assert "password in an argument" in capsys.readouterr().err
    again = redacted(first.path, tmp_path / "two.parquet")
    assert again.table().equals(first.table())
    nothing, written = capsys.readouterr().err.splitlines()
    assert nothing == "tracekit: replaced nothing."
    assert "wrote" in written


def test_hostile_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = redacted(hostile().write(tmp_path / "trace.parquet"), tmp_path / "out.parquet")
    everything = repr(trace.table().to_pylist()) + trace.metadata.to_json()
    assert not [name for name in NAMES if name in everything]
    capsys.readouterr()
    assert main(["redact", "--check", str(tmp_path / "trace.parquet")]) in (0, 1)
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())


def test_strings_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = telling(tmp_path / "trace.parquet")
    table = pq.read_table(source)
    bad = pa.Array.from_buffers(pa.string(), len(table), [None, *pa.array([b"\xff\xfe"] * len(table)).buffers()[1:]])
    table = table.set_column(SCHEMA.get_field_index("comm"), "comm", bad)
    footer = pq.read_metadata(source).metadata[METADATA_KEY]
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: footer}), source)
    for command in (["redact"], ["redact", "--check"], ["slice", "--comm", "sh"]):
        options = [] if "--check" in command else ["-o", str(tmp_path / "out.parquet")]
        assert main([*command, str(source), *options]) == 3, command
        out, err = capsys.readouterr()
        assert err.count("\n") == 1
        assert "trace.parquet is damaged" in err
        assert not out
    assert [path.name for path in tmp_path.iterdir()] == ["trace.parquet"]


@pytest.mark.parametrize(
    ("options", "words"),
    [(("--check", "-o", "x"), "leave -o"), (("--key-file", "/nonexistent/key"), "key file"), (("--allow", "."), None)],
)
def test_what_makes_no_sense(
    options: tuple[str, ...],
    words: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    telling(tmp_path / "trace.parquet")
    assert main(["redact", *options]) == (0 if words is None else 2)
    assert words is None or words in capsys.readouterr().err
