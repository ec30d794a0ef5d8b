"""What the two loaders have in common: which probes this kernel has, and the handle on what is attached."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tracekit.capture import kernel, wire
from tracekit.capture.btf import Btf
from tracekit.capture.probes import PROBES, Probe
from tracekit.errors import UnsupportedError


class Links:
    """Programs at their tracepoints."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []

    def add(self, undo: Callable[[], object]) -> None:
        """One more; `undo` takes it away."""
        self._undo.append(undo)

    def detach(self) -> None:
        """Take all away, at once: for each the kernel waits until no CPU can be in it. May be called again."""
        undo, self._undo = self._undo, []
        if undo:
            with ThreadPoolExecutor(len(undo)) as pool:
                for pending in [pool.submit(action) for action in undo]:
                    pending.result()


@dataclass(frozen=True)
class Attached:
    """Probes that are running.

    Attributes:
        backend: `core` or `bcc`.
        rings: descriptor and size in bytes of each ring buffer, by name.
        counters: descriptor of the counters of each family.
        programs: descriptors of the programs of each family, for the kernel's own count of missed runs.
        detach: stops all programs; the maps can still be read. May be called again.
        close: stops all programs and lets go of the maps. May be called again.
    """

    backend: str
    rings: dict[str, tuple[int, int]]
    counters: dict[str, int]
    programs: dict[str, list[int]]
    detach: Callable[[], None]
    close: Callable[[], None]


@dataclass(frozen=True)
class Plan:
    """What is to be attached.

    Attributes:
        programs: the families of programs, in the order of attaching.
        ring_bytes: size of each ring, by name.
        config: fields of struct tk_config: what the programs are told of what is wanted.
        entries: how many entries a map has, by name, where that is not as its source says.
        maps: descriptors of maps that programs of several families share, by name; stay the caller's.
    """

    programs: tuple[str, ...]
    ring_bytes: dict[str, int]
    entries: dict[str, int] = field(default_factory=dict)
    config: dict[str, int] = field(default_factory=dict)
    maps: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class KernelFacts:
    """What was found out about the running kernel before loading.

    Attributes:
        btf: its type information.
        probes: of each family the probes that it has a tracepoint for.
        notes: what a recording will lack.
        config: fields of struct tk_config: what the programs are told of the kernel.
    """

    btf: Btf
    probes: dict[str, tuple[Probe, ...]]
    notes: tuple[str, ...]
    config: dict[str, int]


def find_out(families: tuple[str, ...]) -> KernelFacts:
    """Look at the running kernel: no versions compared, only what it says of itself.

    Raises:
        UnsupportedError: there is no privilege, no type information, or no tracepoint that a family cannot do without.
    """
    kernel.check_privilege()
    kernel.check_pid_namespace()
    btf = Btf.of_kernel()
    notes: list[str] = []
    events = None
    if any(not probe.raw for family in families for probe in PROBES[family]):
        events, mounted = kernel.tracefs()
        notes += [f"tracefs was not mounted: mounted it at {events}"] if mounted else []
    probes: dict[str, tuple[Probe, ...]] = {}
    for family in families:
        there = [probe for probe in PROBES[family] if _exists(probe, btf, events)]
        notes += _without(family, there)
        probes[family] = tuple(there)
    return KernelFacts(btf, probes, tuple(notes), _config(btf))


def _exists(probe: Probe, btf: Btf, events: Path | None) -> bool:
    if probe.raw:
        return btf.arguments(probe.target) is not None
    return events is not None and kernel.has_tracepoint(events, probe.target)


def _without(family: str, there: list[Probe]) -> list[str]:
    lacking = []
    for probe in PROBES[family]:
        if probe in there:
            continue
        if probe.without is None:
            raise UnsupportedError(
                f"this kernel has no tracepoint {probe.target}, which {family} events need: "
                "leave them out with --events"
            )
        if probe.without:
            lacking.append(f"this kernel has no tracepoint {probe.target}: {probe.without} are not recorded")
    return list(dict.fromkeys(lacking))


def _config(btf: Btf) -> dict[str, int]:
    """What differs between kernels, who we are, and no filters."""
    decides = "block_start" if btf.arguments("block_io_start") is not None else "block_issue"
    return {
        "filters": 0,
        "cgroup_subsystem": wire.UNIFIED,
        "block_decides": wire.BLOCK_EVENTS.index(decides),
        "self_pid": os.getpid(),
        "request_arg": int(btf.arguments("block_rq_issue") == 2),
        "exit_tells_last": int(btf.arguments("sched_process_exit") == 2),
    }
