"""Who runs when in a burst of processes: a bar from the start to the end of each."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tracekit.analyze.columns import NULL, Ints
from tracekit.analyze.evidence import started_in
from tracekit.analyze.families import tell_processes
from tracekit.analyze.plots import style
from tracekit.analyze.plots.source import ALL, About, nothing
from tracekit.analyze.processes import Lives
from tracekit.analyze.results import Pattern
from tracekit.analyze.selection import Selection
from tracekit.errors import UsageError
from tracekit.trace import Trace
from tracekit.units import SECOND_NS, format_count, format_ns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Bars of a picture, and how many processes a stretch has where there is no burst.
MOST_BARS, _BUSY = 48, 30
_DEEPEST = 5
_OUTCOMES = {"well": style.BLUE, "failed": style.VERMILION, "unknown": style.GREY}
_MEANING = {"well": "exit 0", "failed": "failed", "unknown": "end not seen"}


@dataclass(frozen=True)
class Bar:
    """One process.

    Attributes:
        depth: how many of its ancestors are in the picture.
        end_ns: null if its end was not seen.
        exit: `exit 1` or `signal 9`; empty for a good end or none.
    """

    name: str
    depth: int
    start_ns: int
    end_ns: int | None
    outcome: str
    exit: str


@dataclass(frozen=True)
class Timeline:
    """The processes of a burst in the order of their starts; times are on the boot clock.

    Attributes:
        what: what is shown, for the title.
        which: which burst of how many; empty where there is none.
        omitted: processes of the burst for which there was no room.
    """

    about: About
    what: str
    which: str
    origin_ns: int
    start_ns: int
    end_ns: int
    bars: tuple[Bar, ...]
    omitted: int


@dataclass(frozen=True)
class _Burst:
    """Positions of processes in order of their starts, and what is said of them."""

    lives: Ints
    end_ns: int
    what: str
    which: str


def data(trace: Trace, selection: Selection = ALL, *, pattern: int | None = None) -> Timeline:
    """A typical burst of a rhythm of process starts; where there is none, the busiest stretch.

    Args:
        pattern: which rhythm of process starts, as the report tells them, from 1 on; the first by default.

    Raises:
        UsageError: there is no such rhythm, or no process started.
        TraceError: the file is damaged.
    """
    selection.check(trace)
    told = tell_processes(trace, selection)
    lives = told.lives
    rhythms = sorted((one for one in told.patterns if one.kind != "steady"), key=lambda one: one.place)
    if pattern is not None and not 1 <= pattern <= len(rhythms):
        raise UsageError(f"there is no rhythm {pattern} of process starts: the report has {len(rhythms)}")
    if not (lives.start_ns != NULL).any():
        raise nothing(trace, selection, "process starts")
    chosen = rhythms[pattern - 1] if pattern else next((one for one in rhythms if one.burst_size > 1), None)
    burst = _busiest(lives, _BUSY) if chosen is None else _typical(lives, chosen)
    start_ns = int(_begin(lives)[burst.lives[0]])
    shown = burst.lives[:MOST_BARS]
    bars = tuple(_bar(lives, int(life), set(shown.tolist())) for life in shown)
    about = About.of(trace, selection, "process")
    omitted = len(burst.lives) - len(shown)
    return Timeline(about, burst.what, burst.which, trace.start_ns, start_ns, burst.end_ns, bars, omitted)


def _begin(lives: Lives) -> Ints:
    """When each process began to be, as far as known, else when it started its program."""
    return np.where(lives.started_ns != NULL, lives.started_ns, lives.start_ns)


def _typical(lives: Lives, rhythm: Pattern) -> _Burst:
    """The burst next to the middle of those that have the usual size."""
    mine = np.flatnonzero(started_in(rhythm, lives))
    mine = mine[np.argsort(lives.start_ns[mine], kind="stable")]
    apart = np.diff(lives.start_ns[mine]) > max(rhythm.pause_ns // 2, 1)
    bursts = np.split(mine, np.flatnonzero(apart) + 1)
    wrong = [(abs(len(burst) - rhythm.burst_size), abs(2 * at - len(bursts))) for at, burst in enumerate(bursts)]
    number = min(range(len(bursts)), key=lambda at: wrong[at])
    burst = _ordered(lives, bursts[number])
    latest = int(lives.start_ns[burst].max()) + max(min(rhythm.pause_ns, _worth_seeing(lives, burst)), 1)
    who = rhythm.scope.get("parent") or next(iter(rhythm.scope.values()), "all")
    what = f"{len(burst)} processes of {style.shown(who)}, every {format_ns(rhythm.period_ns)}"
    usual = f"with the usual {rhythm.burst_size} processes"
    if len(burst) != rhythm.burst_size:
        usual = f"next to the usual {rhythm.burst_size} processes"
    which = f"burst {number + 1} of {len(bursts)}, the middle one of those {usual}"
    return _Burst(burst, _end(lives, burst, latest), what, which)


def _worth_seeing(lives: Lives, burst: Ints) -> int:
    """For how long after the last start of a burst: one of many that lives for long is cut off, and its end is told."""
    known = lives.exit_ns[burst] != NULL
    usual_ns = int(np.median((lives.exit_ns[burst] - _begin(lives)[burst])[known])) if known.any() else SECOND_NS
    return max(int(np.ptp(lives.start_ns[burst])), 2 * usual_ns)


def _busiest(lives: Lives, size: int) -> _Burst:
    """The shortest stretch in which so many processes started, or all."""
    mine = np.flatnonzero(lives.start_ns != NULL)
    mine = mine[np.argsort(lives.start_ns[mine], kind="stable")]
    size = min(size, len(mine))
    starts_ns = lives.start_ns[mine]
    first = int(np.argmin(starts_ns[size - 1 :] - starts_ns[: len(starts_ns) - size + 1]))
    burst = _ordered(lives, mine[first : first + size])
    exits_ns = lives.exit_ns[burst][lives.exit_ns[burst] != NULL]
    start_ns = int(_begin(lives)[burst[0]])
    whole = "the only process start" if size == 1 else f"all {size} process starts"
    what = whole if size == len(mine) else f"the {size} process starts nearest to each other"
    usual_ns = int(np.median(exits_ns)) - start_ns if len(exits_ns) else SECOND_NS
    return _Burst(burst, _end(lives, burst, start_ns + 3 * usual_ns), what, "")


def _ordered(lives: Lives, burst: Ints) -> Ints:
    return burst[np.argsort(_begin(lives)[burst], kind="stable")]


def _end(lives: Lives, burst: Ints, latest_ns: int) -> int:
    """When the last of these ended, if that is before a time; one that lives on must not make the others points."""
    last = int(np.max(lives.exit_ns[burst], initial=NULL))
    return max(min(last, latest_ns), int(lives.start_ns[burst].max()) + 1) if last != NULL else latest_ns


def _bar(lives: Lives, life: int, shown: set[int]) -> Bar:
    exit_ns, code, signal = (int(column[life]) for column in (lives.exit_ns, lives.exit_code, lives.exit_signal))
    bad = bool(lives.exited_badly[life])
    outcome = "unknown" if exit_ns == NULL else "failed" if bad else "well"
    told = "" if not bad else f"signal {signal}" if signal > 0 else f"exit {code}"
    name = lives.name(life) or "?"
    end_ns = None if exit_ns == NULL else exit_ns
    return Bar(name, _depth(lives, life, shown), int(_begin(lives)[life]), end_ns, outcome, told)


def _depth(lives: Lives, life: int, shown: set[int]) -> int:
    depth, above = 0, int(lives.parent[life])
    while above in shown and depth < _DEEPEST:
        depth, above = depth + 1, int(lives.parent[above])
    return depth


def draw(picture: Timeline, figure: "Figure") -> None:
    """A row a process, those that they started indented; the first at the top."""
    count = len(picture.bars)
    width, _ = figure.get_size_inches()
    figure.set_size_inches(width, max(3.2, 1.7 + 0.165 * count))
    axes = figure.add_subplot()
    length_ms = (picture.end_ns - picture.start_ns) / 1e6
    for row, bar in enumerate(picture.bars):
        _draw_bar(axes, row, bar, picture)
    axes.set_ylim(max(count, 6) - 0.4, -0.6)
    axes.set_xlim(-0.01 * length_ms, length_ms * 1.08)
    labels = [f"{'   ' * bar.depth}{style.shown(bar.name, 20)}" for bar in picture.bars]
    size = 9 if count > 16 else 11
    axes.set_yticks(range(count), labels, fontsize=size, ha="left")
    axes.tick_params(axis="y", length=0, pad=10 + 0.6 * size * max(map(len, labels)))
    axes.set_xlabel("milliseconds since the first of them began", loc="left")
    axes.grid(axis="x")
    axes.margins(y=0)
    _legend(axes, picture)
    axes.xaxis.set_major_formatter(style.plain_numbers())
    style.heading(axes, picture.what[:1].upper() + picture.what[1:], _lines(picture), _warning(picture))


def _draw_bar(axes: "Axes", row: int, bar: Bar, picture: Timeline) -> None:
    latest_ns = picture.end_ns if bar.end_ns is None else bar.end_ns
    begin, end = ((at_ns - picture.start_ns) / 1e6 for at_ns in (bar.start_ns, latest_ns))
    shown_ms = (picture.end_ns - picture.start_ns) / 1e6
    end = min(max(end, begin + shown_ms / 400), shown_ms * 1.08)
    axes.barh(row, end - begin, left=begin, height=0.72, color=_OUTCOMES[bar.outcome])
    inside = end > shown_ms
    goes_on = f"for {format_ns(bar.end_ns - bar.start_ns)}" if inside and bar.end_ns is not None else ""
    told = ", ".join(filter(None, (bar.exit, goes_on)))
    if told:
        place: dict[str, Any] = {"ha": "right" if inside else "left", "va": "center", "fontsize": 9}
        at = min(end, shown_ms) if inside else end + shown_ms / 200
        axes.text(at, row, told, color="white" if inside else style.VERMILION, **place)


def _legend(axes: "Axes", picture: Timeline) -> None:
    from matplotlib.patches import Patch

    there = [one for one in _OUTCOMES if any(bar.outcome == one for bar in picture.bars)]
    handles = [Patch(color=_OUTCOMES[one], label=_MEANING[one]) for one in there]
    style.legend(axes, handles=handles)


def _lines(picture: Timeline) -> list[str]:
    at = format_ns(picture.start_ns - picture.origin_ns)
    told = f"{picture.which}{', ' if picture.which else ''}at {at} into the recording"
    told = told[:1].upper() + told[1:]
    told += f"; {format_count(picture.omitted)} more are not shown" if picture.omitted else ""
    return [*style.whence(picture.about), told]


def _warning(picture: Timeline) -> str:
    return picture.about.warning.replace(" in the shaded time: this picture misses", ": this picture may miss")
