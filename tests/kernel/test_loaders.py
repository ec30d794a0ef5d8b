"""What differs between kernels, tried on this one."""

import dataclasses
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from recording import WORKLOAD, Recorder

from tracekit import __version__, open_trace
from tracekit.capture import core, host, probes
from tracekit.capture.finish import write_trace
from tracekit.capture.journal import JournalWriter
from tracekit.capture.journal_reader import JournalReader
from tracekit.capture.loading import Plan, find_out
from tracekit.capture.probes import Probe
from tracekit.capture.session import Session
from tracekit.errors import UnsupportedError
from tracekit.files import journal_path
from tracekit.metadata import Clock, Metadata

pytestmark = pytest.mark.kernel


def test_the_last_thread_is_found_on_kernels_that_do_not_tell(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    facts = find_out(("process",))
    facts = dataclasses.replace(facts, config=facts.config | {"exit_tells_last": 0})
    attached = core.attach(facts, Plan(("process",), {"process_ring": 1 << 20}))
    began = host.anchor()
    start = Metadata(__version__, "2026-01-02T03:04:05+00:00", 0, clock=Clock(anchors=(began,)))
    journal = JournalWriter(output, start, force=False)
    try:
        with Session(attached, host.block_operations(facts.btf), journal, began.boot_ns) as session:
            child = subprocess.Popen([*WORKLOAD, "exits"])
            assert child.wait() == 0
            session.end()
    finally:
        journal.close()
        attached.close()
    write_trace(JournalReader(journal_path(output)), output, complete=True)

    exits = open_trace(output).pandas("exit")
    ours = exits[(exits.ppid == child.pid) | (exits.pid == child.pid)]
    assert list(ours.exit_code) == [0, 3, 0, 7, 0]
    assert ours.pid.is_unique


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A new cgroup of the unified hierarchy."""
    mounts = [line.split(" ") for line in Path("/proc/self/mounts").read_text().splitlines()]
    hierarchy = next((Path(where) for _, where, kind, *_ in mounts if kind == "cgroup2"), None)
    if hierarchy is None:
        pytest.fail("there is no unified cgroup hierarchy on this machine")
    folder = hierarchy / f"tracekit-test-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        folder.rmdir()


def test_the_path_of_a_cgroup(record: Recorder, cgroup: Path) -> None:
    recording = record("sh", "-c", f"echo $$ > {cgroup}/cgroup.procs; /bin/true; cat /etc/hostname")

    name = f"/{cgroup.name}"
    execs = recording.tree("exec")
    assert name in set(execs.cgroup[execs.comm == "true"])
    assert set(recording.tree("open").cgroup[recording.tree("open").comm == "cat"]) == {name}
    assert name not in set(execs.cgroup[execs.comm == "sh"])


def test_a_tracepoint_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = Probe("on_block_start", "no_such_tracepoint")
    monkeypatch.setitem(probes.PROBES, "block", (*probes.PROBES["block"], needed))
    with pytest.raises(UnsupportedError, match=r"no tracepoint no_such_tracepoint, which block events need.*--events"):
        find_out(("block",))

    spared = Probe("on_block_start", "no_such_tracepoint", without="queue times")
    monkeypatch.setitem(probes.PROBES, "block", (*probes.PROBES["block"][:-1], spared))
    facts = find_out(("block",))
    assert "this kernel has no tracepoint no_such_tracepoint: queue times are not recorded" in facts.notes
    assert spared not in facts.probes["block"]
