"""Which events are wanted: what a person asks for, and the maps in which the programs look it up.

Filters of one kind widen each other, filters of different kinds narrow each other.
"""

import contextlib
import os
import pwd
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tracekit.capture import cgroups, host, kernel, wire
from tracekit.capture.btf import Btf
from tracekit.errors import UnsupportedError, UsageError
from tracekit.text import decode

_SYS_BLOCK = Path("/sys/block")
_COMM_BYTES = wire.COMM_BYTES - 1
_TREE_ENTRIES = 1 << 17


@dataclass(frozen=True)
class Filters:
    """What of the machine is recorded; empty: everything.

    Attributes:
        pids: processes.
        trees: processes, with all their descendants and all that they start later.
        command: the command that is recorded, as a tree.
        comms: command names, whole; the kernel keeps 15 bytes of one.
        uids: real user ids, or names of users.
        cgroups: paths of cgroups, with all below them: folders of a hierarchy, v1 or v2, or as a trace shows them.
        disks: names of disks; of block I/O only.
    """

    pids: tuple[int, ...] = ()
    trees: tuple[int, ...] = ()
    command: bool = False
    comms: tuple[str, ...] = ()
    uids: tuple[str, ...] = ()
    cgroups: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()

    @property
    def want_trees(self) -> bool:
        """Whether process trees are asked for."""
        return bool(self.trees or self.command)

    def footer(self) -> dict[str, Any]:
        """What the trace says of them: those that are there."""
        given: dict[str, tuple[Any, ...]] = {
            "pid": self.pids,
            "tree": self.trees,
            "comm": _readable(self.comms),
            "uid": _readable(self.uids),
            "cgroup": _readable(self.cgroups),
            "disk": _readable(self.disks),
        }
        said = {name: list(values) for name, values in given.items() if values}
        return said | {"command": True} if self.command else said


class Selection:
    """Filters as the programs want them.

    Args:
        filters: what is asked for.
        btf: of the kernel, which numbers the cgroup controllers.

    Attributes:
        config: fields of struct tk_config.

    Raises:
        UsageError: there is no such process, user, cgroup or disk.
        UnsupportedError: a cgroup is in a hierarchy that has no controller, or a disk has no requests.
    """

    def __init__(self, filters: Filters, btf: Btf) -> None:
        self._filters = filters
        for pid in (*filters.pids, *filters.trees):
            _check_process(pid)
        self._comms = [decode(_comm(name)) for name in filters.comms]
        self._uids = [_uid(user) for user in filters.uids]
        self._cgroups = [cgroups.find(name, btf) for name in filters.cgroups]
        hierarchies = {cgroup.subsystem for cgroup in self._cgroups} or {wire.UNIFIED}
        if len(hierarchies) > 1:
            raise UsageError("the cgroups are in different hierarchies: name them all in the same one")
        self._entries: dict[str, list[bytes]] = {
            "pid": [struct.pack("=i", pid) for pid in filters.pids],
            "tree": [struct.pack("=i", pid) for pid in filters.trees],
            "comm": [_comm(name).ljust(wire.COMM_BYTES, b"\0") for name in filters.comms],
            "uid": [struct.pack("=I", uid) for uid in self._uids],
            "cgroup": [struct.pack("=Q", cgroup.identity) for cgroup in self._cgroups],
            "disk": [struct.pack("=I", _dev(name)) for name in filters.disks],
        }
        self._maps: dict[str, int] = {}
        active = [
            name for name, entries in self._entries.items() if entries or (name == "tree" and self._filters.want_trees)
        ]
        self.config = {
            "filters": sum(1 << wire.FILTERS.index(name) for name in active),
            "cgroup_subsystem": hierarchies.pop(),
        }

    def make_maps(self) -> dict[str, int]:
        """Descriptors of the maps that all programs share, by their names in the sources; `close` lets go of them."""
        for name, entries in self._entries.items():
            key_bytes = {"comm": wire.COMM_BYTES, "cgroup": 8}.get(name, 4)
            count = _TREE_ENTRIES if name == "tree" and self._filters.want_trees else max(len(entries), 1)
            made = kernel.create_map("BPF_MAP_TYPE_HASH", key_bytes, 1, count, 0)
            self._maps[f"filter_{name}s" if name != "tree" else "filter_tree"] = made
            for key in entries:
                kernel.put(made, key, b"\1")
        return self._maps

    def follow(self) -> None:
        """Put the descendants of the trees' roots into their map; the programs that see new ones are attached."""
        known = set(self._filters.trees)
        found = known
        while found:  # what was started while we looked is seen at the next look
            parents, found = _parents(), set()
            while more := {pid for pid, parent in parents.items() if parent in known} - known:
                known |= more
                found |= more
            for pid in found:
                kernel.put(self._maps["filter_tree"], struct.pack("=i", pid), b"\1")

    @contextlib.contextmanager
    def starting_command(self) -> Iterator[None]:
        """What this process starts in this block is the root of a tree, if that is asked for."""
        own = struct.pack("=i", os.getpid())
        if self._filters.command:
            kernel.put(self._maps["filter_tree"], own, b"\1")
        try:
            yield
        finally:
            if self._filters.command:
                kernel.take_out(self._maps["filter_tree"], own)

    def running(self, before_ns: int) -> pa.RecordBatch:
        """`process` rows of the processes older than some time: those that are wanted, those that led to them, and the
        recorder's own."""
        running = host.running_processes(before_ns)
        if not self.config["filters"] & ~(1 << wire.FILTERS.index("disk")):
            return running
        rows = running.select(["pid", "ppid", "comm", "uid", "cgroup"]).to_pylist()
        parents = {row["pid"]: row["ppid"] for row in rows}
        wanted = {row["pid"] for row in rows if self._wants(row, parents)} | {os.getpid()}
        for pid in list(wanted):
            while (pid := parents.get(pid, 0)) and pid not in wanted:
                wanted.add(pid)
        return running.filter(pa.array([row["pid"] in wanted for row in rows], pa.bool_()))

    def _wants(self, row: dict[str, Any], parents: dict[int, int]) -> bool:
        filters = self._filters
        line = {row["pid"]}
        pid = row["pid"]
        while (pid := parents.get(pid, 0)) and pid not in line:
            line.add(pid)
        return (
            (not filters.pids or row["pid"] in filters.pids)
            and (not self._filters.want_trees or self._is_in_tree(row["pid"], line))
            and (not filters.comms or row["comm"] in self._comms)
            and (not filters.uids or row["uid"] in self._uids)
            and (not filters.cgroups or any(cgroup.has(row["pid"]) for cgroup in self._cgroups))
        )

    def _is_in_tree(self, pid: int, line: set[int]) -> bool:
        """By the map, which also knows whose parents are gone; else by the process and those that led to it."""
        try:
            return kernel.holds(self._maps["filter_tree"], struct.pack("=i", pid), 1)
        except OSError:
            return not line.isdisjoint(self._filters.trees)

    def close(self) -> None:
        """Let go of the maps; the programs keep theirs."""
        for descriptor in self._maps.values():
            os.close(descriptor)
        self._maps.clear()


def _readable(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Arguments of a command line as text that can be written down."""
    return tuple(decode(os.fsencode(argument)) for argument in arguments)


def _comm(name: str) -> bytes:
    raw = os.fsencode(name)[:_COMM_BYTES]
    if not raw:
        raise UsageError("a command name is empty")
    return raw


def _check_process(pid: int) -> None:
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        raise UsageError(f"there is no process {pid}") from None
    process = int(status.split("\nTgid:")[1].split()[0])
    if process != pid:
        raise UsageError(f"{pid} is a thread of the process {process}: name that")


def _uid(user: str) -> int:
    if user.isdecimal() and int(user) < 1 << 32:
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise UsageError(f"there is no user {user!r}") from None


def _dev(name: str) -> int:
    """dev_t of a whole disk that has requests."""
    disk = name.removeprefix("/dev/")
    folder = Path("/sys/class/block") / disk
    if not disk or "/" in disk or not folder.is_dir():
        raise UsageError(
            f"there is no disk {name!r}: there are {', '.join(sorted(disk.name for disk in _SYS_BLOCK.iterdir()))}"
        )
    if (folder / "partition").exists():
        whole = folder.resolve().parent.name
        raise UsageError(f"{disk} is a partition: requests go to the whole disk, so name {whole}")
    if not (folder / "mq").is_dir():
        below = ", ".join(sorted(other.name for other in (folder / "slaves").glob("*")))
        advice = f"name what is below it: {below}" if below else "its I/O cannot be recorded"
        raise UnsupportedError(f"{disk} has no requests of its own: {advice}")
    major, minor = (int(part) for part in (folder / "dev").read_text().split(":"))
    return major << 20 | minor


def _parents() -> dict[int, int]:
    """Of each process its parent."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (process / "stat").read_bytes()
            found[int(process.name)] = int(stat[stat.rindex(b")") + 2 :].split()[1])
    return found
