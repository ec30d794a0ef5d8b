"""Traces of a whole machine, with known truth."""

import numpy as np
from tracebuilder import SECOND_NS, START_NS, TraceBuilder

MS, US = 1_000_000, 1_000
DISK = {"dev": 8 << 20, "disk": "sda", "op": "read"}
COMMANDS = ("id", "uname", "date", "mkdir", *(("mkdir", "date", "cp", "sed", "grep") * 4), "rm", "dirname", "basename",
            "cat", "tail")  # fmt: skip


def demonstration(seed: int, strangers: int = 0) -> TraceBuilder:
    """`supervise` (pid 123) starts a service of 30 processes that fails, and again 0.97 s after it has ended.

    Nine attempts are in the ten seconds, the first at 0.5 s, each about 50 ms long. `file-worker` reads and writes
    beside it, fast and slow, and looks for files that are not there; `strangers` are short processes at chance times.
    """
    chance = np.random.RandomState(seed)  # whose numbers no version of numpy changes
    builder = TraceBuilder()
    for pid, ppid, comm in ((1, 0, "init"), (50, 1, "shell"), (123, 50, "supervise"), (124, 50, "file-worker")):
        builder.add("process", 0, pid=pid, tid=pid, ppid=ppid, comm=comm, start_ns=START_NS - SECOND_NS)
    at, pid = 0.5 * SECOND_NS, 1000
    for _ in range(9):
        at, pid = _attempt(builder, chance, at, pid)
        at += 0.97 * SECOND_NS + chance.normal(0, 2 * MS)
    for begin in chance.uniform(0, 9.9 * SECOND_NS, strangers):
        pid += 1
        _process(builder, pid, 1, chance.choice(["ls", "git", "awk"]), (begin, chance.gamma(2, 5 * MS)))
    _work_on_files(builder, chance)
    return builder


def _attempt(builder: TraceBuilder, chance: np.random.RandomState, at: float, pid: int) -> tuple[float, int]:
    service, now = pid, at + 0.4 * MS
    for name in COMMANDS:
        pid += 1
        life = chance.gamma(8, 0.2 * MS)
        _process(builder, pid, service, name, (now, life))
        now += life + chance.uniform(0.05, 0.15) * MS
    _process(builder, service, 123, "start-service", (at, now - at), 1)
    return now, pid + 1


def _process(
    builder: TraceBuilder, pid: int, ppid: int, comm: str, times: tuple[float, float], exit_code: int = 0
) -> None:
    begin, life = round(times[0]), round(times[1])
    who = {"pid": pid, "tid": pid, "ppid": ppid}
    builder.add("fork", begin, comm="parent", **who)
    builder.add("exec", begin + 200_000, comm=comm, path=f"/usr/bin/{comm}", argv=[comm], **who)
    builder.add("open", begin + 300_000, pid=pid, tid=pid, comm=comm, path="/etc/ld.so.cache", ret=3, duration_ns=2500)
    end = {"comm": comm, "start_ns": START_NS + begin, "exit_code": exit_code, "exit_signal": 0}
    builder.add("exit", begin + max(life, 400_000), **end, **who)


def _work_on_files(builder: TraceBuilder, chance: np.random.RandomState) -> None:
    at = 0.0
    who = {"pid": 124, "tid": 124, "comm": "file-worker"}
    while at < 9.8 * SECOND_NS:
        at += chance.uniform(5, 35) * MS
        builder.add("open", round(at), path="/srv/worker.conf", ret=-2, duration_ns=round(chance.gamma(4, 500)), **who)
        for op, disk, shape in (("read", "sda", (11.5, 0.3)), ("write", "sdb", (15.5, 0.25))):
            device = chance.lognormal(*shape)
            place = {"dev": 8 << 20 | (disk == "sdb"), "disk": disk, "request": int(chance.randint(0, 4)), "op": op}
            place |= {"sector": int(chance.randint(0, 1000)) * 8, "bytes": 4096, "flags": 2048}
            issue = round(at + chance.gamma(3, 2000))
            builder.add("block_start", round(at), **place, **who)
            builder.add("block_issue", issue, **place, **who)
            at = issue + round(device)
            builder.add("block_complete", round(at), ret=0, pid=0, tid=0, comm="swapper/0", **place)
            at += 1000


def everything() -> TraceBuilder:
    """The demonstration with strangers, lost events, and a stall of five slow reads."""
    builder = demonstration(seed=4, strangers=30)
    for turn in range(5):
        place = {"dev": 8 << 20, "disk": "sda", "request": 50 + turn, "op": "read", "sector": 8 * turn, "bytes": 65536}
        who = {"pid": 124, "tid": 124, "comm": "file-worker"}
        builder.add("block_start", 6 * SECOND_NS + turn * MS, **place, **who)
        builder.add("block_issue", 6 * SECOND_NS + turn * MS + 5000, **place, **who)
        builder.add("block_complete", 6 * SECOND_NS + (700 + turn) * MS, ret=0, pid=0, tid=0, comm="swapper/1", **place)
    builder.add("lost", 9_900 * MS, start_ns=START_NS + 9_850 * MS, lost=12, lost_family="open")
    return builder


def io(
    builder: TraceBuilder, at_ns: int, slot: int = 1, *, queue_ns: int = US, device_ns: int = MS, **more: object
) -> None:
    """One I/O: its submission, issue and completion."""
    columns = DISK | {"request": slot, "sector": 0, "bytes": 4096} | more
    builder.add("block_start", at_ns, pid=7, tid=7, comm="reader", **columns)
    builder.add("block_issue", at_ns + queue_ns, pid=0, tid=0, comm="kworker", **columns)
    builder.add("block_complete", at_ns + queue_ns + device_ns, pid=0, tid=0, comm="swapper", ret=0, **columns)
