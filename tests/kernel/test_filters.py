"""Each filter, in the kernel: what passes, what does not, and that the counters tell.

Two actors do the same things: the one inside is what the filter wants.
"""

import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from recording import TRACEKIT, WORKLOAD, background, check_accounts
from workload import NOBODY

from tracekit import Trace, open_trace
from tracekit.text import decode

pytestmark = pytest.mark.kernel

OWN_OPENS, CHILD_OPENS, READS = 23, 13, 11


class Actor:
    """A process that waits for its cue.

    Args:
        name: its command name.
        disk: where it reads.
        uid: whose it is.
    """

    def __init__(self, name: str, disk: Path, uid: int = 0) -> None:
        self.name, self.uid, self.disk = name, uid, disk.name
        arguments = [*WORKLOAD, "actor", name, str(disk), str(uid)]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.act()

    def act(self) -> None:
        """Let it do what it does, once."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0


@pytest.fixture
def actors(two_disks: tuple[Path, Path]) -> Iterator[tuple[Actor, Actor]]:
    """One inside, one outside."""
    both = Actor("tk-inside", two_disks[0], NOBODY), Actor("tk-outside", two_disks[1])
    try:
        yield both
    finally:
        for actor in both:
            actor.process.kill()
            actor.process.wait()


@pytest.fixture
def unified() -> Iterator[Path]:
    """A cgroup of the unified hierarchy with one below it, which is given."""
    yield from nested_cgroup("cgroup2", "")


@pytest.fixture
def version_1() -> Iterator[Path]:
    """The same in a hierarchy of version 1."""
    yield from nested_cgroup("cgroup", "pids")


def nested_cgroup(kind: str, option: str) -> Iterator[Path]:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, this_kind, options, *_ = line.split(" ")
        if this_kind == kind and (not option or option in options.split(",")):
            break
    else:
        if kind == "cgroup2":
            pytest.fail("there is no unified cgroup hierarchy on this machine")
        pytest.skip(f"no hierarchy of version 1 has {option}: this machine gives its controllers to version 2")
    upper = Path(where) / f"tracekit-{uuid.uuid4().hex[:8]}"
    lower = upper / os.fsdecode(b"be\x0b\r\xfflow")  # what a name may hold: all but a slash and the end of a line
    lower.mkdir(parents=True)
    try:
        yield lower
    finally:
        lower.rmdir()
        upper.rmdir()


def recorded(tmp_path: Path, actors: tuple[Actor, Actor], backend: str, *filters: str | Path) -> Trace:
    """What both actors did, as filtered."""
    output = tmp_path / "t.parquet"
    with background("-o", output, "--backend", backend, *filters) as recorder:
        for actor in actors:
            actor.act()
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(60) == 0
    trace = open_trace(output)
    check_accounts(trace)
    assert trace.table("lost").num_rows == 0
    return trace


def opened(trace: Trace, actor: Actor) -> tuple[int, int]:
    """How often it opened something itself, and how often its children did."""
    opens = trace.pandas("open", columns=["pid", "comm", "path"])
    own = opens[(opens.pid == actor.pid) & (opens.path == "/dev/null")]
    theirs = opens[(opens.comm == actor.name) & (opens.path == "/dev/zero")]
    return len(own), len(theirs)


def reads(trace: Trace, actor: Actor) -> dict[str, int]:
    """Its reads: how many were started, issued, completed."""
    rows = trace.pandas("block_start", "block_issue", "block_complete", columns=["event", "disk", "op"])
    return dict(rows.event.astype(str)[(rows.disk == actor.disk) & (rows.op == "read")].value_counts())


EVERY_READ = {"block_start": READS, "block_issue": READS, "block_complete": READS}
Options = Callable[[Actor, Path], tuple[str | Path, ...]]
FILTERS: dict[str, tuple[Options, tuple[int, int]]] = {
    "pid": (lambda actor, _: ("--pid", str(actor.pid)), (OWN_OPENS, 0)),
    "tree": (lambda actor, _: ("--tree", str(actor.pid)), (OWN_OPENS, CHILD_OPENS)),
    "comm": (lambda actor, _: ("--comm", actor.name), (OWN_OPENS, CHILD_OPENS)),
    "uid": (lambda actor, _: ("--uid", str(actor.uid)), (OWN_OPENS, CHILD_OPENS)),
    "user": (lambda actor, _: ("--uid", "nobody"), (OWN_OPENS, CHILD_OPENS)),
    "several of a kind": (lambda actor, _: ("--comm", "nobody-has-it", "--comm", actor.name), (OWN_OPENS, CHILD_OPENS)),
    "several kinds": (lambda actor, _: ("--comm", actor.name, "--pid", str(actor.pid)), (OWN_OPENS, 0)),
}


@pytest.mark.parametrize("name", FILTERS)
def test_what_is_inside_passes(tmp_path: Path, actors: tuple[Actor, Actor], backend: str, name: str) -> None:
    options, expected = FILTERS[name]
    inside, outside = actors
    trace = recorded(tmp_path, actors, backend, *options(inside, tmp_path))

    assert opened(trace, inside) == expected
    assert opened(trace, outside) == (0, 0)
    assert reads(trace, inside) == EVERY_READ
    assert reads(trace, outside) == {}
    forks = trace.pandas("fork", "exit", columns=["event", "pid", "ppid"])
    assert len(forks[forks.ppid == outside.pid]) == 0
    assert len(forks[forks.ppid == inside.pid]) == (2 if expected[1] else 0)
    counters = trace.metadata.counters
    assert counters["open"].filtered >= OWN_OPENS + CHILD_OPENS
    assert counters["process"].filtered >= 2
    assert counters["block"].filtered >= 3 * READS
    assert trace.metadata.filters
    running = set(trace.pandas("process", columns=["pid"]).pid)
    assert inside.pid in running
    assert outside.pid not in running
    assert os.getpid() in running  # it started the one inside


@pytest.mark.parametrize("name", ["unified", "version_1"])
def test_cgroups(
    tmp_path: Path, actors: tuple[Actor, Actor], backend: str, name: str, request: pytest.FixtureRequest
) -> None:
    group: Path = request.getfixturevalue(name)
    inside, outside = actors
    (group / "cgroup.procs").write_text(str(inside.pid))
    try:
        trace = recorded(tmp_path, actors, backend, "--cgroup", group.parent, "--cgroup", group)
    finally:
        (group.parents[1] / "cgroup.procs").write_text(str(inside.pid))

    assert opened(trace, inside) == (OWN_OPENS, CHILD_OPENS)
    assert opened(trace, outside) == (0, 0)
    assert reads(trace, inside) == EVERY_READ
    assert reads(trace, outside) == {}
    assert inside.pid in set(trace.pandas("process", columns=["pid"]).pid)


def test_a_cgroup_by_the_path_that_a_report_shows(tmp_path: Path, actors: tuple[Actor, Actor], unified: Path) -> None:
    inside, outside = actors
    (unified / "cgroup.procs").write_text(str(inside.pid))
    try:
        trace = recorded(tmp_path, actors, "core", "--cgroup", f"/{unified.parent.name}")
    finally:
        (unified.parents[1] / "cgroup.procs").write_text(str(inside.pid))
    assert opened(trace, inside) == (OWN_OPENS, CHILD_OPENS)
    assert opened(trace, outside) == (0, 0)
    shown = decode(os.fsencode(f"/{unified.parent.name}/{unified.name}"))
    assert set(trace.pandas("open", columns=["cgroup"]).cgroup) == {shown}


def test_a_disk_is_chosen_for_block_events_only(tmp_path: Path, actors: tuple[Actor, Actor], backend: str) -> None:
    inside, outside = actors
    trace = recorded(tmp_path, actors, backend, "--disk", inside.disk)

    assert reads(trace, inside) == EVERY_READ
    assert set(trace.pandas("block_start", "block_issue", "block_complete").disk) == {inside.disk}
    assert opened(trace, inside) == opened(trace, outside) == (OWN_OPENS, CHILD_OPENS)
    assert trace.metadata.counters["block"].filtered >= 3 * READS
    assert trace.metadata.filters == {"disk": [inside.disk]}


def test_a_tree_has_who_ran_already_and_who_comes_later(tmp_path: Path, actors: tuple[Actor, Actor]) -> None:
    """The tree of this very process: both actors run already, and their children are born while it records."""
    trace = recorded(tmp_path, actors, "core", "--tree", str(os.getpid()))
    for actor in actors:
        assert opened(trace, actor) == (OWN_OPENS, CHILD_OPENS)


@pytest.mark.parametrize("options", [(), ("--events", "open")])
def test_a_command_is_recorded_alone(tmp_path: Path, actors: tuple[Actor, Actor], options: tuple[str, ...]) -> None:
    output = tmp_path / "t.parquet"
    script = "/bin/cat /dev/null; (/bin/cat /dev/null) & wait; sleep 1"
    command = [*TRACEKIT, "record", "-o", output, *options, "--", "sh", "-c", script]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as recorder:
        while recorder.poll() is None:
            for actor in actors:
                actor.act()
        assert recorder.wait() == 0
    trace = open_trace(output)
    check_accounts(trace)
    opens = trace.pandas("open", columns=["comm", "path"])
    assert set(opens.comm) <= {"sh", "cat", "sleep", "python", "python3"}
    assert len(opens[(opens.comm == "cat") & (opens.path == "/dev/null")]) == 2
    assert trace.metadata.counters["open"].filtered >= OWN_OPENS + CHILD_OPENS
    if not options:
        assert set(trace.pandas("exec").comm) == {"sh", "cat", "sleep"}
        assert trace.metadata.counters["process"].filtered > 0
    assert trace.metadata.filters == {"command": True}


def test_processes_whose_threads_all_end_at_once(tmp_path: Path) -> None:
    """Their exits are of the tree, whichever thread is the last."""
    output = tmp_path / "t.parquet"
    subprocess.run([*TRACEKIT, "record", "-o", output, "--", *WORKLOAD, "crowds", "211"], check=True)
    exits = open_trace(output).pandas("exit", columns=["exit_code"])
    assert (exits.exit_code == 7).sum() == 211


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--pid", "4194305"), "there is no process 4194305"),
        (("--tree", "4194305"), "there is no process 4194305"),
        (("--uid", "no-such-user"), "there is no user 'no-such-user'"),
        (("--cgroup", "/no/such/group"), "there is no cgroup /no/such/group"),
        (("--disk", "no-such-disk"), "there is no disk 'no-such-disk'"),
        (("--disk", "loop0", "--events", "open"), "no block events are recorded"),
        (("--comm", ""), "a command name is empty"),
        (("--system",), "--system is for a COMMAND"),
        (("--ring-size", "2G"), "a ring of 2G makes no sense"),
        (("--ring-size", "4"), "a ring of 4 makes no sense"),
        (("--max-size", "0"), "give 1.0 MiB or more"),
        (("--max-size", "much"), "'much' is not a size"),
        (("--min-free", "1000T"), "to stay free"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, options: tuple[str, ...], complaint: str) -> None:
    command = [*TRACEKIT, "record", "-d", "1", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_filter_that_nothing_meets_is_told(tmp_path: Path) -> None:
    output = tmp_path / "t.parquet"
    with background("-o", output, "--comm", "no-such-name") as recorder:
        subprocess.run([*WORKLOAD, "numbered", "/none/unwanted/{}", "1009"], check=True)
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait() == 0
        assert recorder.stderr is not None
        said = recorder.stderr.read()
    assert "events were seen, but none of comm no-such-name.\n" in said
    trace = open_trace(output)
    check_accounts(trace)
    assert trace.metadata.counters["open"].written == 0
    shown = subprocess.run([*TRACEKIT, "report", output], check=True, capture_output=True, text=True).stdout
    assert "no event was recorded, only a list of what ran already; of " in shown
    assert "none met the filters" in " ".join(shown.split())
    assert "Nothing stands out: no events were recorded." in shown
