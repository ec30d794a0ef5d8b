"""Who does what: processes by path and parent, I/O by disk, op and command, opens by path and command."""

import errno
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracekit.analyze.blocks import BlockIO
from tracekit.analyze.census import Census
from tracekit.analyze.columns import NULL, OTHERS, UNKNOWN, Codes, Ints, busiest
from tracekit.analyze.histogram import Histogram, Histograms
from tracekit.analyze.kernels import distributions as kernels
from tracekit.analyze.kernels.pairing import SECTOR_BYTES
from tracekit.analyze.opens import Opens
from tracekit.analyze.processes import Lives
from tracekit.analyze.results import BlockUse, OpenUse, ProcessUse, Sizes

#: So many of each list are kept: a report stays small however large the trace.
AT_MOST = 100
#: The kernel's error numbers end here.
_ERRORS = 4096
_PERCENTILES = (0.5, 0.9, 0.99, 1.0)


class _ByName:
    """What is counted for each of the most frequent names of a column; null is the first, and the rest the last."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = (UNKNOWN, *names[:AT_MOST], OTHERS)
        self.count = np.zeros(len(self.names), dtype=np.int64)

    def busiest(self) -> Iterator[tuple[int, str]]:
        """The names that occur, the most frequent first, then by name."""
        listed = np.flatnonzero(self.count[:-1]).tolist()
        for place in sorted(listed, key=lambda place: (-int(self.count[place]), self.names[place])):
            yield place, self.names[place]

    def omitted(self, distinct: int) -> int:
        """How many names are not listed, of so many that there are."""
        others = max(distinct - (len(self.names) - 2), 1) if self.count[-1] else 0
        return others + max(int(np.count_nonzero(self.count[:-1])) - AT_MOST, 0)


class BlockTally:
    """I/O that was issued, by one column."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.by = _ByName(names)
        size = len(self.by.names)
        #: Bytes, requests whose sector is known, and sequential ones.
        self._sums = np.zeros((3, size), dtype=np.int64)
        self._sectors, self._depth = Histograms(size), Histograms(size)

    def add(self, codes: Ints, blocks: BlockIO) -> None:
        """Count requests that were issued."""
        kernels.use_blocks(
            codes,
            blocks.issue_ns,
            blocks.bytes,
            blocks.depth,
            blocks.sector,
            blocks.sequential,
            self.by.count,
            self._sums.reshape(-1),
            self._sectors.filled,
            self._depth.filled,
        )

    def uses(self) -> tuple[BlockUse, ...]:
        """The busiest."""
        return tuple(self._use(place, name) for place, name in itertools.islice(self.by.busiest(), AT_MOST))

    def _use(self, place: int, name: str) -> BlockUse:
        size, placed, sequential = self._sums[:, place].tolist()
        share = round(sequential / placed, 4) if placed else None
        sizes, depth = _sizes(self._sectors[place], SECTOR_BYTES), _sizes(self._depth[place])
        return BlockUse(name, int(self.by.count[place]), size, share, sizes, depth)


def _sizes(histogram: Histogram, unit: int = 1) -> Sizes:
    p50, p90, p99, most = (value * unit for value in histogram.percentiles(_PERCENTILES))
    return Sizes(p50, p90, p99, most)


class OpenTally:
    """Opens, by one column."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.by = _ByName(names)
        self._errors = np.zeros((len(self.by.names), _ERRORS), dtype=np.int64)
        self._latency = Histograms(len(self.by.names))

    def add(self, codes: Ints, opens: Opens) -> None:
        """Count opens."""
        kernels.use_opens(
            codes,
            opens.ret,
            opens.answered,
            opens.duration_ns,
            self.by.count,
            self._errors.reshape(-1),
            self._latency.filled,
        )

    def uses(self) -> tuple[OpenUse, ...]:
        """The busiest."""
        return tuple(self._use(place, name) for place, name in itertools.islice(self.by.busiest(), AT_MOST))

    def _use(self, place: int, name: str) -> OpenUse:
        latency = self._latency[place]
        p50, p99 = latency.percentiles((0.5, 0.99)) if latency.count else (None, None)
        return OpenUse(name, int(self.by.count[place]), _failures(self._errors[place]), p50, p99)


def _failures(errors: Ints) -> dict[str, int]:
    """How often each error came, the most frequent first."""
    numbers = sorted(np.flatnonzero(errors).tolist(), key=lambda number: (-int(errors[number]), number))
    return {error_name(number): int(errors[number]) for number in numbers}


def error_name(number: int) -> str:
    """The name of an error number, such as ENOENT."""
    return errno.errorcode.get(number, f"errno {number}")


@dataclass(frozen=True)
class Uses:
    """Who does what in a family: by each column the busiest, and how many others there are, if there are."""

    lists: dict[str, Any]
    omitted: dict[str, int]


class BlockUses:
    """I/O by disk, op and command, while it goes by."""

    def __init__(self, census: Census) -> None:
        self._census = census
        self._tallies = {name: BlockTally(census.names("block", name).all[:-1]) for name in ("disk", "op", "comm")}

    def add(self, blocks: BlockIO) -> None:
        """Count requests."""
        for name, tally in self._tallies.items():
            tally.add(getattr(blocks, name).codes, blocks)

    def uses(self) -> Uses:
        """What was counted."""
        return _uses(self._census, "block", self._tallies)


class OpenUses:
    """Opens by path and command, while they go by."""

    def __init__(self, census: Census) -> None:
        self._census = census
        self._tallies = {name: OpenTally(census.names("open", name).all[:-1]) for name in ("path", "comm")}

    def add(self, opens: Opens) -> None:
        """Count opens."""
        for name, tally in self._tallies.items():
            tally.add(getattr(opens, name).codes, opens)

    def uses(self) -> Uses:
        """What was counted."""
        return _uses(self._census, "open", self._tallies)


def _uses(census: Census, family: str, tallies: Mapping[str, BlockTally | OpenTally]) -> Uses:
    omitted = {name: tally.by.omitted(census.tally(family, name).distinct) for name, tally in tallies.items()}
    return Uses(
        {f"by_{name}": tally.uses() for name, tally in tallies.items()},
        {f"by_{name}": count for name, count in omitted.items() if count > 0},
    )


def process_uses(lives: Lives) -> Uses:
    """Program starts by path and parent."""
    started = np.flatnonzero(lives.start_ns != NULL)
    columns = {"by_path": lives.path, "by_parent": _parents(lives)}
    omitted = {name: len(np.unique(codes.codes[started])) - AT_MOST for name, codes in columns.items()}
    return Uses(
        {name: tuple(_processes(codes[started], started, lives)) for name, codes in columns.items()},
        {name: count for name, count in omitted.items() if count > 0},
    )


def _parents(lives: Lives) -> Codes:
    """The parent's command of each process, of processes with the same command together."""
    parent = lives.parent
    return Codes(np.where(parent == NULL, NULL, lives.comm.codes[parent]) if len(parent) else parent, lives.comm.names)


def _processes(codes: Codes, started: Ints, lives: Lives) -> Iterator[ProcessUse]:
    for name, rows in itertools.islice(busiest(codes), AT_MOST):
        yield _process(name, started[rows], lives)


def _process(name: str, rows: Ints, lives: Lives) -> ProcessUse:
    lifetime = lives.lifetime_ns[rows]
    known = lifetime[lifetime != NULL]
    middle = Histogram.of(known).percentiles((0.5,))[0] if len(known) else None
    failed = int(lives.exited_badly[rows].sum())
    return ProcessUse(name, len(rows), failed, middle, int(known.max()) if len(known) else None)
