"""Who does what: processes by path and parent, I/O by disk, op and command, opens by path and command."""

import errno
import itertools
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from tracekit.analyze.blocks import BlockIO
from tracekit.analyze.columns import NULL, Bools, Codes, Ints
from tracekit.analyze.events import Events
from tracekit.analyze.histogram import percentiles
from tracekit.analyze.opens import Opens
from tracekit.analyze.processes import Lives
from tracekit.analyze.results import BlockUse, OpenUse, ProcessUse, Sizes, Workload

#: So many of each list are kept: a report stays small however large the trace.
AT_MOST = 100
UNKNOWN = "?"
Use = TypeVar("Use", ProcessUse, BlockUse, OpenUse)


def workload(events: Events) -> Workload:
    """The busiest of each kind, and how many others there are."""
    lives, blocks, opens = events.lives, events.blocks, events.opens
    omitted: dict[str, int] = {}

    def each(name: str, codes: Codes, use: Callable[[str, Ints], Use]) -> tuple[Use, ...]:
        others = len(np.unique(codes.codes)) - AT_MOST
        if others > 0:
            omitted[name] = others
        return tuple(use(label, rows) for label, rows in itertools.islice(busiest(codes), AT_MOST))

    started = np.flatnonzero(lives.start_ns != NULL)
    issued = np.flatnonzero(blocks.issued)
    return Workload(
        process={
            "by_path": each("process.by_path", lives.path[started], lambda n, r: _process(n, started[r], lives)),
            "by_parent": each(
                "process.by_parent", _parents(lives)[started], lambda n, r: _process(n, started[r], lives)
            ),
        },
        block={
            f"by_{name}": each(
                f"block.by_{name}", getattr(blocks, name)[issued], lambda n, r: _block(n, issued[r], blocks)
            )
            for name in ("disk", "op", "comm")
        },
        open={
            f"by_{name}": each(f"open.by_{name}", getattr(opens, name), lambda n, r: _open(n, r, opens))
            for name in ("path", "comm")
        },
        omitted=omitted,
    )


def busiest(codes: Codes) -> Iterator[tuple[str, Ints]]:
    """Each name with the positions that have it, the most frequent first, then by name; null is `?`."""
    counts = np.bincount(codes.codes + 1, minlength=len(codes.names) + 1)
    order = np.argsort(codes.codes, kind="stable")
    ends = np.cumsum(counts)
    for slot in np.argsort(-counts, kind="stable"):
        if counts[slot]:
            name = codes.name(int(slot) - 1)
            yield UNKNOWN if name is None else name, order[ends[slot] - counts[slot] : ends[slot]]


def _parents(lives: Lives) -> Codes:
    """The parent's command of each process, of processes with the same command together."""
    parent = lives.parent
    return Codes(np.where(parent == NULL, NULL, lives.comm.codes[parent]) if len(parent) else parent, lives.comm.names)


def _process(name: str, rows: Ints, lives: Lives) -> ProcessUse:
    lifetime = lives.lifetime_ns[rows]
    known = lifetime[lifetime != NULL]
    failed = lives.exited_badly[rows] | (lives.exec_ns[rows] == NULL)
    middle = percentiles(known, (0.5,))[0] if len(known) else None
    return ProcessUse(name, len(rows), int(failed.sum()), middle, int(known.max()) if len(known) else None)


def _block(name: str, rows: Ints, blocks: BlockIO) -> BlockUse:
    placed = blocks.sector[rows] != NULL
    share = round(float(blocks.sequential[rows][placed].mean()), 4) if placed.any() else None
    size = np.maximum(blocks.bytes[rows], 0)
    return BlockUse(name, len(rows), int(size.sum()), share, _sizes(size), _sizes(blocks.depth[rows]))


def _sizes(values: Ints) -> Sizes:
    p50, p90, p99, most = percentiles(values, (0.5, 0.9, 0.99, 1.0))
    return Sizes(p50, p90, p99, most)


def _open(name: str, rows: Ints, opens: Opens) -> OpenUse:
    error, duration = opens.ret[rows], opens.duration_ns[rows]
    known = duration[duration != NULL]
    p50, p99 = percentiles(known, (0.5, 0.99)) if len(known) else (None, None)
    return OpenUse(name, len(rows), failures(error, opens.answered[rows]), p50, p99)


def failures(ret: Ints, answered: Bools) -> dict[str, int]:
    """How often each error came, the most frequent first."""
    values, counts = np.unique(-ret[answered & (ret < 0)], return_counts=True)
    pairs = sorted(zip(counts.tolist(), values.tolist(), strict=True), key=lambda item: (-item[0], item[1]))
    return {errno.errorcode.get(value, f"errno {value}"): count for count, value in pairs}
