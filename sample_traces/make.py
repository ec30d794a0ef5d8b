#!/usr/bin/env python3
"""Makes the sample traces anew: usage, as root, with tracekit installed: sample_traces/make.py

Records the demonstration workload, keeps what belongs to its own processes, takes the names of the machine out,
and writes down in MANIFEST.json what is true of the result, as the workload itself noted it.
"""

import hashlib
import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tracekit import Trace, open_trace
from tracekit.metadata import Counters, Disk, Metadata
from tracekit.schema import FAMILIES, FAMILY_OF, SCHEMA
from tracekit.writer import TraceWriter

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NAME = "service-restart.parquet"
SECONDS = 12
#: Device number that the first disk gets; the others count on from it.
FIRST_DEV = 8 << 20

Rewrite = Callable[[str], str]


def main() -> int:
    """Record, filter, redact, write, and describe."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        log = record(folder)
        trace = open_trace(folder / "trace.parquet")
        rewrite = neutral_paths(folder)
        tables = {family: kept(trace, family) for family in FAMILIES}
        tables = {family: redacted(table, trace.metadata, rewrite) for family, table in tables.items()}
        write(tables, footer(trace.metadata, tables, rewrite))
    describe(log)
    return 0


def record(folder: Path) -> list[tuple[int, int, int]]:
    """Record the workload; start, end and exit code of each attempt to start the service, as it noted them."""
    # The system's Python and an empty environment: what somebody keeps in PATH must not show.
    workload = ["/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "/usr/bin/python3", str(ROOT / "demo" / "workload.py")]
    workload += ["--seconds", str(SECONDS), "--folder", str(folder), "--log", str(folder / "log")]
    recorder = [sys.executable, "-m", "tracekit", "record", "-o", str(folder / "trace.parquet"), "--"]
    subprocess.run(recorder + workload, check=True)
    lines = (folder / "log").read_text().splitlines()
    return [(int(start), int(end), int(code)) for start, end, code in map(str.split, lines)]


def neutral_paths(folder: Path) -> Rewrite:
    """Paths of this checkout and of the folder that the workload ran in, as if they were somewhere plain."""

    def rewrite(text: str) -> str:
        return text.replace(str(ROOT), "/srv/tracekit").replace(str(folder), "/var/tmp")

    return rewrite


def kept(trace: Trace, family: str) -> pa.Table:
    """The rows of the workload's processes; of block I/O those from its submission to its completion."""
    events = [event for event, its_family in FAMILY_OF.items() if its_family == family]
    table = trace.table(*events)
    if family == "lost":
        return table
    ours = table.filter(pc.is_in(table.column("pid"), value_set=pa.array(sorted(workload_pids(trace)), pa.int32())))
    return table.filter(pa.array(requests_of(table, workload_pids(trace)))) if family == "block" else ours


def workload_pids(trace: Trace) -> set[int]:
    """The process that ran the workload, and everything that came of it."""
    argvs = trace.table("exec", columns=["pid", "argv"]).to_pylist()
    pids = {next(row["pid"] for row in argvs if any(word.endswith("workload.py") for word in row["argv"]))}
    for fork in trace.table("fork", columns=["pid", "ppid"]).to_pylist():
        if fork["ppid"] in pids:
            pids.add(fork["pid"])
    return pids


def requests_of(table: pa.Table, pids: set[int]) -> list[bool]:
    """For each row whether its request was submitted by one of the processes."""
    ours: set[tuple[int, int]] = set()
    result = []
    for row in table.select(["event", "pid", "dev", "request"]).to_pylist():
        slot = (row["dev"], row["request"])
        if row["event"] == "block_start":
            (ours.add if row["pid"] in pids else ours.discard)(slot)
        result.append(slot in ours)
        if row["event"] == "block_complete":
            ours.discard(slot)
    return result


def redacted(table: pa.Table, metadata: Metadata, rewrite: Rewrite) -> pa.Table:
    """The same rows without the machine's names."""
    rows = table.to_pylist()
    disks = {disk.dev: new for disk, new in zip(metadata.disks, neutral_disks(metadata.disks), strict=True)}
    for row in rows:
        if row["path"] is not None:
            row["path"] = rewrite(row["path"])
        if row["argv"] is not None:
            argv = [rewrite(word) for word in row["argv"]]
            row["argv_bytes"] += sum(map(len, argv)) - sum(map(len, row["argv"]))
            row["argv"] = argv
        if row["cgroup"] is not None:
            row["cgroup"] = "/"
        if row["dev"] is not None:
            row["dev"], row["disk"] = disks[row["dev"]].dev, disks[row["dev"]].name
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def neutral_disks(disks: tuple[Disk, ...]) -> tuple[Disk, ...]:
    """The disks under other names and numbers, without model and size."""
    return tuple(
        Disk(f"disk{index}", FIRST_DEV + 16 * index, None, disk.scheduler, disk.rotational)
        for index, disk in enumerate(disks)
    )


def footer(metadata: Metadata, tables: dict[str, pa.Table], rewrite: Rewrite) -> Metadata:
    """What is left counts as written, the rest as filtered."""
    return replace(
        metadata,
        hostname=None,
        kernel=re.sub(r"-.*", "", metadata.kernel or ""),
        command=tuple(map(rewrite, metadata.command or ())),
        disks=neutral_disks(metadata.disks),
        counters={family: counted(old, tables[family].num_rows) for family, old in metadata.counters.items()},
        redaction={
            "rows": "only those of the demonstration workload's own processes",
            "names": "host, disks, cgroups and folders renamed or removed",
        },
    )


def counted(old: Counters, written: int) -> Counters:
    """The counters of a family of which so many rows are left."""
    return replace(old, written=written, filtered=old.seen - old.lost - written)


def write(tables: dict[str, pa.Table], metadata: Metadata) -> None:
    """The sample, in place of the old one."""
    writer = TraceWriter(HERE / NAME)
    for family, table in tables.items():
        writer.write(family, table)
    writer.close(metadata)


def describe(attempts: list[tuple[int, int, int]]) -> None:
    """What is true of the sample, so that reports can be held to it."""
    trace = open_trace(HERE / NAME)
    pauses = [later[0] - earlier[1] for earlier, later in itertools.pairwise(attempts)]
    truth: dict[str, Any] = {
        "attempts": len(attempts),
        "burst_size": 30,
        "period_ns": (attempts[-1][0] - attempts[0][0]) // (len(attempts) - 1),
        "pause_ns": sum(pauses) // len(pauses),
        "started_by": "supervise",
        "runs": chain_of_an_attempt(trace, attempts[0]),
        "rows": trace.counts,
        "lost": 0,
        "missing_files": ["worker.conf", "worker.conf.local"],
        "exits": exits_below(trace, "supervise"),
    }
    entry = {
        "made": "by sample_traces/make.py: a recording of demo/workload.py, filtered to its processes and redacted",
        "sha256": hashlib.sha256((HERE / NAME).read_bytes()).hexdigest(),
        "truth": truth,
    }
    (HERE / "MANIFEST.json").write_text(json.dumps({NAME: entry}, indent=2) + "\n")


def chain_of_an_attempt(trace: Trace, attempt: tuple[int, int, int]) -> list[str]:
    """The commands that one attempt runs, in order."""
    rows = trace.table("exec", columns=["ts_ns", "comm"], start_ns=attempt[0], end_ns=attempt[1]).to_pylist()
    return [row["comm"] for row in rows]


def exits_below(trace: Trace, comm: str) -> dict[str, dict[str, int]]:
    """How the programs ended that a command started, or what it had started: of each program how often with what."""
    below = {row["pid"] for row in trace.table("exec", columns=["pid", "comm"]).to_pylist() if row["comm"] == comm}
    result: dict[str, dict[str, int]] = {}
    columns = ["event", "pid", "ppid", "comm", "exit_code", "exit_signal"]
    for row in trace.table("fork", "exit", columns=columns).to_pylist():
        if row["event"] == "fork" and row["ppid"] in below:
            below.add(row["pid"])
        elif row["event"] == "exit" and row["pid"] in below and row["comm"] != comm:
            how = f"signal {row['exit_signal']}" if row["exit_signal"] else str(row["exit_code"])
            codes = result.setdefault(row["comm"], {})
            codes[how] = codes.get(how, 0) + 1
    return {name: dict(sorted(result[name].items())) for name in sorted(result)}


if __name__ == "__main__":
    sys.exit(main())
