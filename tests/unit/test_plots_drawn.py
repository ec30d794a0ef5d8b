"""Pictures of every kind of every sample: drawn without a warning, not empty, small, and the same each time."""

import dataclasses
import hashlib
import io as memory
import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text
from scenarios import everything
from tracebuilder import SECOND_NS, TraceBuilder

from tracekit import Trace, open_trace
from tracekit.analyze import Selection, analyze, plots
from tracekit.analyze.plots import style
from tracekit.analyze.results import Finding, Where
from tracekit.errors import UsageError

SAMPLES = sorted((Path(__file__).parents[2] / "sample_traces").glob("*.parquet"))
MS = 1_000_000
MOST_BYTES = 2_000_000
HOSTILE = (
    "$\\frac{1}{0}$",
    "a$b",
    "\x1b[31mred",
    "x\u202egnp.exe",
    "\u05d0\u05d1\u05d2",
    "\u65e5\u672c",
    "\U0001f600",
    "Z\u0335\u0321a\u0300\u0301",
    "line\nbreak\ttab",
    "%s{}\\",
    "n" * 400,
)


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """A missing glyph or labels that do not fit are warnings of matplotlib's."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def written(figure: Figure, ending: str) -> bytes:
    target = memory.BytesIO()
    style.picture_bytes(figure, target, ending)
    return target.getvalue()


def inside(figure: Figure, panel: int = 0) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """The pixels within a panel of a picture, without its frame."""
    pixels = imread(memory.BytesIO(written(figure, "png")))[..., :3]
    box = figure.axes[panel].get_window_extent()
    height = len(pixels)
    return np.asarray(pixels[height - int(box.y1) + 4 : height - int(box.y0) - 4, int(box.x0) + 4 : int(box.x1) - 4])


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("kind", plots.KINDS)
def test_pictures_of_samples(kind: str, path: Path) -> None:
    try:
        figure = plots.plot(open_trace(path), kind)
    except plots.NothingToShowError:
        assert (kind, path.stem) == ("io", "failing-opens")
        return
    assert 10_000 < len(written(figure, "png")) < MOST_BYTES
    assert 10_000 < len(written(figure, "svg")) < MOST_BYTES
    for panel in range(len(figure.axes)):
        assert (np.ptp(inside(figure, panel), axis=-1) > 0.15).sum() > 20
    assert path.name in {text.get_text().split(",")[0] for text in figure.findobj(Text)}


def test_no_label_covers_another_or_is_cut() -> None:
    for path in SAMPLES:
        figure = plots.plot(open_trace(path), "latency")
        written(figure, "png")
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
        whole = figure.bbox
        for index, box in enumerate(boxes):
            assert whole.x0 <= box.x0 <= box.x1 <= whole.x1, path
            assert not any(box.overlaps(other) for other in boxes[index + 1 :]), path


@pytest.mark.parametrize("ending", ["png", "svg"])
@pytest.mark.parametrize("kind", plots.KINDS)
def test_the_same_picture_is_the_same_file(kind: str, ending: str) -> None:
    path = SAMPLES[-1]
    digests = {hashlib.sha256(written(plots.plot(open_trace(path), kind), ending)).hexdigest() for _ in range(2)}
    assert len(digests) == 1


def test_an_svg_is_well_formed_and_has_no_date() -> None:
    for kind in plots.KINDS:
        raw = written(plots.plot(open_trace(SAMPLES[-1]), kind), "svg")
        assert ElementTree.fromstring(raw).tag.endswith("svg")
        assert b"<dc:date>" not in raw


def hostile(folder: Path) -> Trace:
    """Names that a process may choose, each of a process, an open and an I/O."""
    builder = TraceBuilder()
    for turn in range(400):
        name = HOSTILE[turn % len(HOSTILE)]
        who = {"pid": 100 + turn, "tid": 100 + turn, "ppid": 1, "comm": name}
        at_ns = turn * 20 * MS
        builder.add("fork", at_ns, **who).add("exec", at_ns + MS, path=f"/{name}", argv=[name], **who)
        builder.add("exit", at_ns + 5 * MS, exit_code=turn % 2, exit_signal=0, **who)
        builder.add("open", at_ns, path=name, ret=3, duration_ns=1000 + 10_000 * (turn % 2), **who)
        place = {"dev": 1, "disk": HOSTILE[1], "request": 1, "sector": turn, "bytes": 512, "op": HOSTILE[2]}
        builder.add("block_issue", at_ns, **place, **who).add("block_complete", at_ns + MS, **place)
    return builder.trace(folder / "$x$\u202e\u65e5.parquet")


@pytest.mark.parametrize("kind", plots.KINDS)
def test_hostile_names_are_harmless(kind: str, tmp_path: Path) -> None:
    figure = plots.plot(hostile(tmp_path), kind)
    for ending in ("png", "svg"):
        assert len(written(figure, ending)) < MOST_BYTES
    for text in figure.findobj(Text):
        shown = text.get_text().replace("\n", "")  # of our own, between lines
        assert not re.search(r"[\x00-\x1f\u202e\u05d0\u65e5\u0300-\u036f]|(?<!\\)\$", shown), shown
        assert len(shown) < 120


def test_strings_are_shown_as_they_are_where_that_is_safe() -> None:
    assert style.shown("kworker/0:1-\u00e9\u03b1\u0436") == "kworker/0:1-\u00e9\u03b1\u0436"
    assert style.shown("\u05d0") == "\\u05d0"
    assert style.shown("\u65e5") == "\\u65e5"
    assert style.shown("a$b$") == "a\\$b\\$"
    assert len(style.shown("x" * 500)) == 40
    assert style.shown(None) == "?"


def test_lost_windows_are_shaded(tmp_path: Path) -> None:
    trace = everything().trace(tmp_path / "trace.parquet")
    figure = plots.plot(trace, "rates")
    assert [len(axes.patches) - 1 for axes in figure.axes] == [0, 0, 1]
    assert any("12 events lost" in text.get_text() for text in figure.findobj(Text))


def test_the_shortest_loss_can_be_seen(tmp_path: Path) -> None:
    builder = TraceBuilder(duration_ns=3600 * SECOND_NS)
    builder.add("open", 0, comm="a", path="/x", ret=3, duration_ns=1000)
    at_ns = 1800 * SECOND_NS
    builder.add("lost", at_ns + 1000, start_ns=builder.start_ns + at_ns, lost=1, lost_family="open")
    for kind, options in (("rates", {}), ("heatmap", {"metric": "open"}), ("subsecond", {"event": "open"})):
        figure = plots.plot(builder.trace(tmp_path / kind), kind, **options)
        pixels = inside(figure)
        middle = pixels[:, pixels.shape[1] // 2 - 4 : pixels.shape[1] // 2 + 8]
        assert (middle[..., 0] - middle[..., 2] > 0.1).any(), kind


def test_a_dense_trace_makes_no_larger_picture(tmp_path: Path) -> None:
    chance = np.random.RandomState(0)
    builder = TraceBuilder(duration_ns=100 * SECOND_NS)
    for turn, at_ns in enumerate(np.sort(chance.randint(0, 100 * SECOND_NS, 20_000)).tolist()):
        place = {
            "dev": 1,
            "disk": "sda",
            "request": turn % 100,
            "sector": int(chance.randint(0, 1 << 32)),
            "bytes": 512,
        }
        place |= {"op": str(chance.choice(["read", "write", "discard"]))}
        life = {"ret": 3, "duration_ns": int(chance.lognormal(12, 3))}
        builder.add("block_issue", at_ns, **place).add("block_complete", at_ns + 900, **place)
        builder.add("open", at_ns, comm="a", path="/x", **life)
    trace = builder.trace(tmp_path / "t")
    for kind, options in (("io", {}), ("heatmap", {"metric": "open"}), ("subsecond", {"event": "open"})):
        figure = plots.plot(trace, kind, **options)
        assert max(len(written(figure, ending)) for ending in ("png", "svg")) < MOST_BYTES, kind


def test_the_settings_of_this_machine_are_neither_used_nor_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = open_trace(SAMPLES[-1])
    usual = written(plots.plot(trace, "rates"), "png")
    monkeypatch.setitem(matplotlib.rcParams, "axes.facecolor", "black")
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 30)
    assert written(plots.plot(trace, "rates"), "png") == usual
    assert matplotlib.rcParams["font.size"] == 30


def test_what_is_given_and_does_not_belong_is_refused(tmp_path: Path) -> None:
    trace = open_trace(SAMPLES[-1])
    with pytest.raises(UsageError, match="rates takes no metric: that is for latency and heatmap"):
        plots.plot(trace, "rates", metric="open")
    with pytest.raises(UsageError, match="did you mean 'heatmap'"):
        plots.plot(trace, "heatmpa")
    with pytest.raises(UsageError, match=r"must end in \.png or \.svg"):
        plots.save(plots.plot(trace, "rates"), tmp_path / "x.pdf")
    assert not list(tmp_path.iterdir())


def test_reports_and_data_do_without_matplotlib() -> None:
    code = (
        "import sys; from tracekit import open_trace; from tracekit.analyze import plots, analyze;"
        "trace = open_trace(sys.argv[1]); analyze(trace); [plots.KINDS[kind].data(trace) for kind in plots.KINDS];"
        "sys.exit('matplotlib' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(SAMPLES[-1])], check=True)


@pytest.mark.parametrize(
    ("size_px", "dpi", "expected"),
    [
        (None, None, ((1500, 850), 150)),
        (None, 100, ((1500, 850), 100)),
        ((3000, 1700), None, ((3000, 1700), 300)),
        ((1000, 850), None, ((1000, 850), 100)),
        ((1000, 850), 110, ((1000, 850), 110)),
    ],
)
def test_the_size_of_a_picture(
    size_px: tuple[int, int] | None, dpi: int | None, expected: tuple[tuple[int, int], int]
) -> None:
    assert plots.resolution(size_px, dpi) == expected
    figure = plots.plot(open_trace(SAMPLES[-1]), "rates", size_px=size_px, dpi=dpi)
    (width, height), _ = expected
    assert imread(memory.BytesIO(written(figure, "png"))).shape[:2] == (height, width)


def test_a_timeline_has_the_size_that_is_asked_for() -> None:
    figure = plots.plot(open_trace(SAMPLES[-1]), "timeline", size_px=(1500, 850))
    assert imread(memory.BytesIO(written(figure, "png"))).shape[:2] == (850, 1500)


@pytest.mark.parametrize(
    ("size_px", "dpi", "words"),
    [
        ((1500, 850), 200, "at most 166 dpi"),
        ((300, 300), 150, "text has no room"),
        ((60, 40), None, "nobody could read"),
        ((20_000, 850), None, "at most 10,000 pixels"),
        (None, 10, "nobody could read"),
    ],
)
def test_sizes_that_make_no_sense(size_px: tuple[int, int] | None, dpi: int | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        plots.plot(open_trace(SAMPLES[-1]), "rates", size_px=size_px, dpi=dpi)


def test_reads_and_writes_at_the_same_place_and_time_are_both_seen(tmp_path: Path) -> None:
    builder = TraceBuilder()
    for turn in range(3000):
        for op in ("read", "write", "discard"):
            place = {"dev": 1, "disk": "sda", "request": 1, "sector": turn * 64, "bytes": 4096, "op": op}
            builder.add("block_issue", turn * 3 * MS, **place).add("block_complete", turn * 3 * MS + 1000, **place)
    pixels = inside(plots.plot(builder.trace(tmp_path / "t"), "io"))
    seen = []
    for colour in (style.BLUE, style.ORANGE, style.GREEN):
        wanted = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        seen.append(int((np.abs(pixels - wanted).max(axis=-1) < 0.15).sum()))
    assert min(seen) > 500
    assert max(seen) < 2 * min(seen)


def test_the_colour_of_a_single_value_is_seen_on_a_light_and_on_a_dark_page() -> None:
    """At least 3 to 1, as is asked of pictures; a dark page turns light to dark."""
    grey = float(np.dot(style._colours()(0.0)[:3], (0.213, 0.715, 0.072)))
    assert _contrast(grey, 1.0) > 3
    assert _contrast(1 - grey, 0.09) > 3


def _contrast(one: float, other: float) -> float:
    dark, light = sorted(grey**2.2 + 0.05 for grey in (one, other))
    return light / dark


@pytest.mark.parametrize(("counts", "ticks"), [([1, 3], [1, 2, 3]), ([1, 9], [1, 2, 5, 9]), ([1, 10_400], None)])
def test_a_scale_of_colours_tells_its_greatest(counts: list[int], ticks: list[int] | None) -> None:
    figure = style.new_figure()
    style.heat(figure.add_subplot(), np.arange(3.0), np.arange(2.0), np.array(counts).reshape(2, 1), "values")
    assert list(figure.axes[-1].get_yticks()) == (ticks or [1, 10, 100, 1000, 10_400])


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_finding_of_a_sample_has_its_picture(path: Path) -> None:
    trace = open_trace(path)
    report = analyze(trace)
    for finding in report.findings:
        kind, options, selection = plots.of_finding(report, finding.rank, Selection())
        plots.plot(trace, kind, selection, **options)
        assert kind == _EXPECTED[finding.kind]


#: Which kind of picture shows which kind of finding.
_EXPECTED = {
    "restarts": "timeline",
    "process_bursts": "timeline",
    "outliers": "heatmap",
    "modes": "latency",
    "failed_opens": "rates",
}


def test_a_finding_without_a_picture_is_an_error() -> None:
    report = analyze(open_trace(SAMPLES[0]))
    failed = Finding(
        1, "io_errors", "3 I/Os failed at the device: sda 3", "", {}, Where(("block_complete",), failed=True)
    )
    with pytest.raises(UsageError, match="no picture shows finding 1: 'tracekit report --finding 1' tells of it"):
        plots.of_finding(dataclasses.replace(report, findings=(failed,)), 1, Selection())
    with pytest.raises(UsageError, match="there is no finding 99"):
        plots.of_finding(report, 99, Selection())
