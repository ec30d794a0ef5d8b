"""Where on a disk I/O goes over time: sequential streams are slopes, scans are lines, random access is dust."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tracekit.analyze.blocks import BlockIO, BlockStream, read_blocks
from tracekit.analyze.census import Census, take_census
from tracekit.analyze.columns import NULL, Bools, Floats, Ints
from tracekit.analyze.pairing import SECTOR_BYTES
from tracekit.analyze.plots import style
from tracekit.analyze.plots.bins import TimeBins
from tracekit.analyze.plots.source import ALL, About, nothing
from tracekit.analyze.selection import Selection
from tracekit.analyze.windows import Windows, read_windows
from tracekit.trace import Trace
from tracekit.units import format_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

_COLUMNS, _ROWS = 200, 300
#: In a column each op has a lane of its own, so that none covers another: points of a column, and of a mark's height.
_COLUMN_POINTS, _MARK_POINTS = 3.0, 4.0
#: The disk is looked at in granules of 1 MiB; a stretch without I/O that is longer than this part of all is left out.
_GRANULE = 1 << 11
_GAP, _MOST_ZONES = 0.05, 4
_OPS = {"read": style.BLUE, "write": style.ORANGE, "discard": style.GREEN, "other": style.PURPLE}


@dataclass(frozen=True)
class Zone:
    """A stretch of the disk, in bytes, and how much I/O begins in it: by op, (time, place) bins."""

    low: int
    high: int
    counts: dict[str, Ints]


@dataclass(frozen=True)
class IoMap:
    """How much I/O was issued when to which place of a disk.

    Attributes:
        disk: the one that is shown; `others` are there beside it.
        zones: where there was I/O, from the lowest on; between them was none.
        placeless: I/O that has no place, such as flushes.
    """

    about: About
    disk: str
    others: tuple[str, ...]
    bins: TimeBins
    zones: tuple[Zone, ...]
    placeless: int

    def counted(self) -> Counter[str]:
        """I/Os by op."""
        return Counter(
            {op: sum(int(zone.counts[op].sum()) for zone in self.zones) for op in _OPS if op in self.zones[0].counts}
        )


class _Places:
    """In which granules of a disk I/O begins, and how much there is."""

    def __init__(self) -> None:
        self.used: Bools = np.zeros(0, dtype=np.bool_)
        self.count = 0

    def add(self, sector: Ints) -> None:
        """Take in where some I/O begins."""
        granule = sector // _GRANULE
        more = int(granule.max(initial=-1)) + 1 - len(self.used)
        self.used = np.append(self.used, np.zeros(max(more, 0), dtype=np.bool_))
        self.used[granule] = True
        self.count += len(sector)

    def zones(self) -> list[tuple[int, int]]:
        """The sectors from which and up to which zones reach, a few, divided where the disk was unused for longest."""
        used = np.flatnonzero(self.used)
        gap = np.diff(used)
        wide = np.flatnonzero(gap > max(_GAP * (used[-1] - used[0] + 1), 1))
        wide = np.sort(wide[np.argsort(-gap[wide], kind="stable")][: _MOST_ZONES - 1])
        return [(int(part[0]) * _GRANULE, int(part[-1] + 1) * _GRANULE) for part in np.split(used, wide + 1)]


def data(trace: Trace, selection: Selection = ALL) -> IoMap:
    """The I/O of a disk; without `selection.disk`, of the one that has most.

    The file is read twice: once to see how far apart places are.

    Raises:
        UsageError: no I/O was issued.
        TraceError: the file is damaged.
    """
    selection.check(trace)
    census = take_census(trace, selection, "block")
    places = _places(trace, selection, census)
    if not places:
        raise nothing(trace, selection, "block I/O that was issued to a known place")
    disk = max(places, key=lambda name: (places[name].count, name))
    bins = TimeBins.of(trace, selection, _COLUMNS)
    zones = places[disk].zones()
    counts, placeless = _count(trace, selection, census, disk, zones, bins)
    about, others = About.of(trace, selection, "block"), tuple(sorted(set(places) - {disk}))
    seen = {op: count for op, count in counts.items() if count.any()}
    shown = (
        Zone(low * SECTOR_BYTES, high * SECTOR_BYTES, {op: count[:, number] for op, count in seen.items()})
        for number, (low, high) in enumerate(zones)
    )
    return IoMap(about, disk, others, bins, tuple(shown), placeless)


def _issued(trace: Trace, selection: Selection, census: Census) -> Iterator[BlockIO]:
    stream = BlockStream(census, Windows.of(read_windows(trace), "block"), selection.disk)
    for _, blocks in read_blocks(trace, selection, stream):
        yield blocks[blocks.first_issue_ns != NULL]


def _places(trace: Trace, selection: Selection, census: Census) -> dict[str, _Places]:
    """Where on each disk I/O begins."""
    found: dict[str, _Places] = {}
    for blocks in _issued(trace, selection, census):
        placed = blocks[blocks.sector != NULL]
        for code in np.unique(placed.disk.codes):
            name = placed.disk.name(int(code))
            if name is not None:
                found.setdefault(name, _Places()).add(placed.sector[placed.disk.codes == code])
    return found


def _count(
    trace: Trace, selection: Selection, census: Census, disk: str, zones: list[tuple[int, int]], bins: TimeBins
) -> tuple[dict[str, Ints], int]:
    """By op (time, zone, row) counts, and how much I/O has no place."""
    low, high = np.array(zones).T
    rows = _ROWS // len(zones)
    shape = (_COLUMNS, len(zones), rows)
    counts = {op: np.zeros(shape, dtype=np.int64) for op in _OPS}
    placeless = 0
    for blocks in _issued(trace, selection, census):
        mine = blocks[blocks.disk.is_in(disk)]
        placed = mine[mine.sector != NULL]
        placeless += len(mine) - len(placed)
        zone = np.searchsorted(low, placed.sector, side="right") - 1
        row = (placed.sector - low[zone]) * rows // (high - low)[zone]
        cells = (bins.number(placed.first_issue_ns) * len(zones) + zone) * rows + row
        for op, chosen in _by_op(placed).items():
            counts[op] += np.bincount(cells[chosen], minlength=math.prod(shape)).reshape(shape)
    return counts, placeless


def _by_op(blocks: BlockIO) -> dict[str, Ints]:
    named = {op: blocks.op.is_in(op) for op in _OPS if op != "other"}
    named["other"] = ~np.logical_or.reduce(list(named.values()))
    return {op: np.flatnonzero(chosen) for op, chosen in named.items()}


def draw(picture: IoMap, figure: "Figure") -> None:
    """A mark for each cell in which there was I/O, in the colour of its op; a panel for each zone."""
    panels = figure.subplots(len(picture.zones), 1, sharex=True, squeeze=False)[::-1, 0]
    for axes, zone in zip(panels, picture.zones, strict=True):
        _draw_zone(axes, zone, picture.bins.edges_s)
        style.offset_axis(axes, zone.low, zone.high, max(6 // len(panels), 2))
        axes.tick_params(labelbottom=axes is panels[0])
    style.time_axis(panels[0], picture.bins.edges_s[0], picture.bins.edges_s[-1])
    for axes in panels:
        style.shade(axes, picture.about.lost)
    style.legend(panels[0], handles=_handles(picture), handlelength=0.9)
    figure.supylabel("offset on the disk", fontsize=11.5)
    title = f"I/O by place on {style.shown(picture.disk)}"
    style.heading(panels[-1], title, [*style.whence(picture.about), _told(picture)], picture.about.warning)


def _draw_zone(axes: "Axes", zone: Zone, edges_s: Floats) -> None:
    figure = axes.get_figure()
    assert figure is not None  # what is drawn is in a picture
    there = {op: counts for op, counts in zone.counts.items() if counts.any()}
    width = 1 / len(there)
    points = _COLUMN_POINTS * width * figure.get_figure(root=True).get_size_inches()[0] / 10
    for lane, (op, counts) in enumerate(there.items()):
        when, where = np.nonzero(counts)
        at_s = edges_s[when] + (lane + 0.5) * width * (edges_s[1] - edges_s[0])
        place = zone.low + (where + 0.5) * (zone.high - zone.low) / counts.shape[1]
        axes.scatter(at_s, place, s=_MARK_POINTS**2, c=_OPS[op], marker="|", lw=points, rasterized=True)


def _handles(picture: IoMap) -> "list[Patch]":
    """What colours stand for: each op, with how much there is of it."""
    from matplotlib.patches import Patch

    counted = picture.counted().items()
    return [Patch(color=_OPS[op], label=f"{op}: {format_count(count)}") for op, count in counted]


def _told(picture: IoMap) -> str:
    told = f"{format_count(picture.counted().total())} I/Os"
    told += f" in {len(picture.zones)} zones, and none between them" if len(picture.zones) > 1 else ""
    told += f"; {format_count(picture.placeless)} without a place, such as flushes" if picture.placeless else ""
    if picture.others:
        told += f"; {len(picture.others)} other disk{'s' if len(picture.others) > 1 else ''}: see --disk"
    return told
