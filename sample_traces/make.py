#!/usr/bin/env python3
"""Makes the sample traces anew: usage, as root, with tracekit and its tests' needs: sample_traces/make.py [NAME...]

Records a workload for each, keeps what belongs to its own processes, takes the names of the machine out, and writes
down in MANIFEST.json what is true of the result, as the workload itself noted it.
"""

import hashlib
import itertools
import json
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.compute as pc

from tracekit import Trace, open_trace
from tracekit.metadata import Counters, Disk, Metadata
from tracekit.schema import FAMILIES, FAMILY_OF, SCHEMA
from tracekit.writer import TraceWriter

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from laboratory.real import mixed  # noqa: E402
from laboratory.real.disks import with_two_modes  # noqa: E402
from laboratory.real.recorded import Laboratory, Recorded, Scenario  # noqa: E402

#: The system's Python: that of a virtual environment looks for what is in it.
PYTHON = Path("/usr/bin/python3").resolve()
SEED, SECONDS = 1, 12.0
#: So often it is made at most, until every I/O is in it.
TRIES = 10
#: Device number that the first disk gets; the others count on from it.
FIRST_DEV = 8 << 20

Rewrite = Callable[[str], str]


def service_restart(lab: Laboratory) -> Recorded:
    """The demonstration workload; its truth is start, end and exit code of each attempt to start the service."""
    log = lab.folder / "log"
    workload = [str(lab.python), str(ROOT / "demo" / "workload.py"), "--seconds", f"{lab.seconds:.0f}"]
    path = lab.record([*workload, "--folder", str(lab.folder), "--log", str(log)])
    trace = open_trace(path)
    attempts = [(int(start), int(end)) for start, end, _ in map(str.split, log.read_text().splitlines())]
    pauses = [later[0] - earlier[1] for earlier, later in itertools.pairwise(attempts)]
    truth = {
        "attempts": len(attempts),
        "burst_size": 30,
        "period_ns": (attempts[-1][0] - attempts[0][0]) // (len(attempts) - 1),
        "pause_ns": sum(pauses) // len(pauses),
        "started_by": "supervise",
        "runs": chain_of_an_attempt(trace, attempts[0]),
        "missing_files": ["worker.conf", "worker.conf.local"],
        "fails_for_want_of": "service.conf",
        "exits": exits_below(trace, "supervise"),
    }
    return Recorded(path, truth)


@dataclass(frozen=True)
class Sample:
    """What is recorded, and a sentence that says so."""

    scenario: Scenario
    about: str


SAMPLES = {
    "service-restart": Sample(
        service_restart, "demo/workload.py: a service that cannot start, started again and again, and work on files"
    ),
    "disk-two-modes": Sample(
        with_two_modes,
        "four threads on a disk that takes about 4 ms or about 40 ms, with three outliers and a stall",
    ),
    "failing-opens": Sample(
        mixed.failing_opens,
        "a program that tries one missing path again and again, and one that looks for five files in six folders",
    ),
    "nothing-to-find": Sample(
        mixed.nothing_to_find, "programs, opens that succeed and I/O in one mode, all of it at chance times"
    ),
    "several-at-once": Sample(
        mixed.several_at_once,
        "a job by a clock, a disk with two modes, outliers and a stall, a path tried in vain, and others beside them",
    ),
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(SAMPLES)))
def main(names: tuple[str, ...]) -> None:
    """Make the samples of these NAMES anew, or all."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is left of a disk
    for name in names or SAMPLES:
        for _ in range(TRIES):
            if make(name, SAMPLES[name]):
                break
        else:
            raise click.ClickException(f"{name}: the kernel never showed every completion")


def make(name: str, sample: Sample) -> bool:
    """Record, filter, redact, write, and describe; nothing if not all of the I/O was seen."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        lab = Laboratory(Path(folder), SEED, PYTHON, SECONDS)
        recorded = sample.scenario(lab)
        if not recorded.has_every_io:
            return False
        trace = open_trace(recorded.trace)
        tables = {family: kept(trace, family) for family in FAMILIES}
        disks = disks_of(trace.metadata, tables["block"])
        rewrite = neutral_paths(lab.folder, disks)
        tables = {family: redacted(table, disks, rewrite) for family, table in tables.items()}
        truth = json.loads(rewrite(json.dumps(recorded.truth)))
    path = HERE / f"{name}.parquet"
    write(path, tables, footer(trace.metadata, tables, disks, rewrite))
    describe(path, sample, truth)
    return True


def disks_of(metadata: Metadata, table: pa.Table) -> dict[str, Disk]:
    """By its name on the machine, each disk that these rows are of under another name, without model and size."""
    used = set(table.column("dev").to_pylist())
    return {
        disk.name: Disk(f"disk{index}", FIRST_DEV + 16 * index, None, disk.scheduler, disk.rotational)
        for index, disk in enumerate(disk for disk in metadata.disks if disk.dev in used)
    }


def neutral_paths(folder: Path, disks: dict[str, Disk]) -> Rewrite:
    """Paths of this checkout, of the folder that the workload ran in, and of disks, as if they were somewhere plain."""
    plain = {str(ROOT): "/srv/tracekit", str(folder): "/var/tmp"}
    plain |= {f"/dev/{name}": f"/dev/{disk.name}" for name, disk in disks.items()}

    def rewrite(text: str) -> str:
        for old, new in plain.items():
            text = text.replace(old, new)
        return text

    return rewrite


def kept(trace: Trace, family: str) -> pa.Table:
    """The rows of the workload's processes; of block I/O those from its submission to its completion."""
    events = [event for event, its_family in FAMILY_OF.items() if its_family == family]
    table = trace.table(*events)
    if family == "lost":
        return table
    ours = table.filter(pc.is_in(table.column("pid"), value_set=pa.array(sorted(workload_pids(trace)), pa.int32())))
    return table.filter(pa.array(requests_of(table, workload_pids(trace)), pa.bool_())) if family == "block" else ours


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


def redacted(table: pa.Table, disks: dict[str, Disk], rewrite: Rewrite) -> pa.Table:
    """The same rows without the machine's names."""
    rows = table.to_pylist()
    for row in rows:
        if row["path"] is not None:
            row["path"] = rewrite(row["path"])
        if row["argv"] is not None:
            argv = [rewrite(word) for word in row["argv"]]
            row["argv_bytes"] += sum(map(len, argv)) - sum(map(len, row["argv"]))
            row["argv"] = argv
        if row["cgroup"] is not None:
            row["cgroup"] = "/"
        if row["disk"] is not None:
            row["dev"], row["disk"] = disks[row["disk"]].dev, disks[row["disk"]].name
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def footer(metadata: Metadata, tables: dict[str, pa.Table], disks: dict[str, Disk], rewrite: Rewrite) -> Metadata:
    """What is left counts as written, the rest as filtered."""
    filters = dict(metadata.filters)
    if "disk" in filters:
        filters["disk"] = [disks[name].name for name in filters["disk"]]
    return replace(
        metadata,
        hostname=None,
        kernel=re.sub(r"-.*", "", metadata.kernel or ""),
        command=tuple(map(rewrite, metadata.command or ())),
        filters=filters,
        disks=tuple(disks.values()),
        counters={family: counted(old, tables[family].num_rows) for family, old in metadata.counters.items()},
        redaction={
            "rows": "only those of the workload's own processes",
            "names": "host, disks, cgroups and folders renamed or removed",
        },
    )


def counted(old: Counters, written: int) -> Counters:
    """The counters of a family of which so many rows are left."""
    return replace(old, written=written, filtered=old.seen - old.lost - written)


def write(path: Path, tables: dict[str, pa.Table], metadata: Metadata) -> None:
    """The sample, in place of the old one."""
    path.unlink(missing_ok=True)
    writer = TraceWriter(path)
    for family, table in tables.items():
        writer.write(family, table)
    writer.close(metadata)
    path.chmod(0o644)


def describe(path: Path, sample: Sample, truth: dict[str, Any]) -> None:
    """What is true of the sample, so that reports can be held to it."""
    manifest_path = HERE / "MANIFEST.json"
    manifest = json.loads(manifest_path.read_text())
    manifest[path.name] = {
        "made": f"by sample_traces/make.py: {sample.about}; filtered to its processes and redacted",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "truth": truth | {"rows": open_trace(path).counts, "lost": 0},
    }
    manifest_path.write_text(json.dumps(manifest, indent=2) + "\n")


def chain_of_an_attempt(trace: Trace, attempt: tuple[int, int]) -> list[str]:
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
    main()
