"""What is attached where: the programs of each family, and what they ask of the kernel.

The names are those in ``capture/bpf/*.bpf.c``.
"""

from dataclasses import dataclass

from tracekit.errors import UsageError
from tracekit.schema import RECORDED_FAMILIES


@dataclass(frozen=True)
class Probe:
    """A BPF program at a tracepoint.

    Attributes:
        function: its name in the source.
        target: the tracepoint, `group:name` for one that needs tracefs, a bare name for a raw one.
        without: what a recording lacks where the kernel has no such tracepoint; None: it cannot be done without.
    """

    function: str
    target: str
    without: str | None = None

    @property
    def raw(self) -> bool:
        """Whether it is a raw tracepoint."""
        return ":" not in self.target


@dataclass(frozen=True)
class Ring:
    """A ring buffer map, and its share of the memory that rings may take."""

    name: str
    share: int


def _call(name: str, leave: str, without: str | None = None) -> tuple[Probe, Probe]:
    """The programs at a system call's two ends; return first, so that no entry waits for a return that none sees."""
    return (
        Probe(leave, f"syscalls:sys_exit_{name}", without),
        Probe(f"on_enter_{name}", f"syscalls:sys_enter_{name}", without),
    )


#: In the order of attaching. An architecture without open(2) and creat(2) has no tracepoints for them.
PROBES: dict[str, tuple[Probe, ...]] = {
    "process": (
        Probe("on_exit", "sched_process_exit"),
        Probe("on_exec", "sched_process_exec"),
        Probe("on_fork", "sched_process_fork"),
        *_call("execve", "on_leave_exec"),
        *_call("execveat", "on_leave_exec", "failed execveat calls"),
    ),
    "block": (
        Probe("on_block_complete", "block_rq_complete"),
        Probe("on_block_merge", "block_rq_merge", "merges of block requests"),
        Probe("on_block_requeue", "block_rq_requeue"),
        Probe("on_block_issue", "block_rq_issue"),
        # since 6.5, commit 5a80bd075f3b
        Probe("on_block_start", "block_io_start", "queue times and submitters of block I/O"),
    ),
    # Kept up if process trees are asked for; attached last, since an exit must still be found in its tree.
    "tree": (
        Probe("on_tree_fork", "sched_process_fork"),
        Probe("on_tree_exit", "sched_process_exit"),
    ),
    "open": (
        Probe("on_thread_exit", "sched_process_exit"),
        *_call("open", "on_leave_open", ""),
        *_call("openat", "on_leave_open"),
        *_call("openat2", "on_leave_open", "openat2 calls"),
        *_call("creat", "on_leave_open", ""),
    ),
}

RINGS: dict[str, tuple[Ring, ...]] = {
    "process": (Ring("process_ring", 1),),
    "block": (Ring("block_ring", 2),),
    "open": (Ring("open_short_ring", 4), Ring("open_medium_ring", 2), Ring("open_long_ring", 1)),
}
_SHARES = sum(ring.share for rings in RINGS.values() for ring in rings)
_LEAST_SHARE, _MOST_SHARE, _SHARE_A_CPU = 256 << 10, 32 << 20, 4 << 20
_PART_OF_MEMORY = 64
_LEAST_OPEN_CALLS, _MOST_OPEN_CALLS = 1 << 15, 1 << 20


def open_calls(threads: int) -> int:
    """Entries of the map that has one for each thread that opens something: room for many more than there are now."""
    return min(max(1 << (4 * threads).bit_length(), _LEAST_OPEN_CALLS), _MOST_OPEN_CALLS)


def ring_bytes(families: tuple[str, ...], memory_bytes: int, cpus: int, each: int | None = None) -> dict[str, int]:
    """Sizes of the rings: more CPUs fill them faster, and all of them together take at most 1/64 of the memory.

    With two CPUs or more and memory enough, the largest has room for a quarter of a million opens.

    Args:
        families: what is recorded.
        memory_bytes: of the machine.
        cpus: of the machine.
        each: size of every ring, instead.
    """
    share = min(memory_bytes // _PART_OF_MEMORY // _SHARES, cpus * _SHARE_A_CPU, _MOST_SHARE)
    share = 1 << (max(share, _LEAST_SHARE).bit_length() - 1)
    return {ring.name: each or share * ring.share for family in families for ring in RINGS[family]}


def check_families(families: tuple[str, ...]) -> None:
    """Families that can be recorded.

    Raises:
        UsageError: one cannot, or there are none.
    """
    for family in families:
        if family not in RECORDED_FAMILIES:
            raise UsageError(f"there are no {family!r} events: there are {', '.join(RECORDED_FAMILIES)}")
    if not families:
        raise UsageError(f"there are no events to record: name some of {', '.join(RECORDED_FAMILIES)}")


#: Fields of kernel structs that the programs read: the same list as in bpf/kernel.h. Of those with an alternative,
#: a kernel has one or the other.
FIELDS = (
    ("task_struct", "pid"),
    ("task_struct", "tgid"),
    ("task_struct", "exit_code"),
    ("task_struct", "start_boottime"),
    ("task_struct", "real_parent"),
    ("task_struct", "group_leader"),
    ("task_struct", "signal"),
    ("task_struct", "mm"),
    ("task_struct", "cgroups"),
    ("css_set", "subsys"),
    ("css_set", "dfl_cgrp"),
    ("cgroup_subsys_state", "cgroup"),
    ("cgroup_subsys_state", "parent"),
    ("cgroup", "self"),
    ("cgroup", "kn"),
    ("kernfs_node", "id"),
    ("signal_struct", "live"),
    ("signal_struct", "group_exit_code"),
    ("signal_struct", "flags"),
    ("mm_struct", "arg_start"),
    ("mm_struct", "arg_end"),
    ("linux_binprm", "filename"),
    ("request_queue", "disk"),
    ("request", "q"),
    ("request", "rq_disk"),
    ("request", "cmd_flags"),
    ("request", "__data_len"),
    ("request", "__sector"),
    ("gendisk", "major"),
    ("gendisk", "first_minor"),
)
OPTIONAL_FIELDS = frozenset({("request_queue", "disk"), ("request", "rq_disk")})
