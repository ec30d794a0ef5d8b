"""Pages of reports in a real browser: nothing leaves them, nothing goes wrong, and what can be pointed at answers."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hostile import NAMES, hostile
from matplotlib.image import imread
from pages import launched
from playwright.sync_api import Browser, Page, sync_playwright
from scenarios import everything

from tracekit.analyze.report.words import TITLES
from tracekit.cli.main import main
from tracekit.text import printable

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]


@dataclass
class Watched:
    """A page, and what was wrong with it."""

    page: Page
    opened: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, path: Path) -> Page:
        self.opened.append(path.as_uri())
        self.page.goto(path.as_uri())
        return self.page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launched(playwright)
        yield browser
        browser.close()


@pytest.fixture
def watched(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """A page in a browser without a network, which must ask for nothing and complain of nothing."""
    context = browser.new_context(offline=True, **getattr(request, "param", {}))
    context.set_default_timeout(10_000)
    watched = Watched(context.new_page())
    watched.page.on("request", lambda asked: watched.requests.append(asked.url))
    watched.page.on("console", lambda message: watched.errors.append(message.text))
    watched.page.on("pageerror", lambda error: watched.errors.append(str(error)))
    watched.page.on("dialog", lambda dialog: (watched.errors.append(dialog.message), dialog.dismiss()))
    yield watched
    assert [url for url in watched.requests if not url.startswith("data:")] == watched.opened
    assert watched.errors == []
    context.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages that the command line wrote."""
    folder = tmp_path_factory.mktemp("pages")
    traces = {
        "hostile": hostile().write(folder / "hostile.parquet"),
        "lossy": everything().write(folder / "lossy.parquet"),
        "sample": ROOT / "sample_traces" / "several-at-once.parquet",
    }
    for name, trace in traces.items():
        assert main(["report", str(trace), "-o", str(folder / f"{name}.html")]) == 0
    return {name: folder / f"{name}.html" for name in traces}


def test_findings_and_pictures_are_there(watched: Watched, pages: dict[str, Path]) -> None:
    page = watched.open(pages["sample"])
    assert page.locator("article.card").count() == 4
    assert page.locator("article.card h3").nth(1).inner_text().startswith("2\n7 of 2,400 I/O at the device took")
    assert page.locator("svg").count() >= 7
    for picture in page.locator("svg").all():
        pixels = imread(io.BytesIO(picture.screenshot()))[..., :3]
        assert pixels.shape[1] > 600
        # Bars and cells have colours; axes and text are grey.
        coloured = np.ptp(pixels, axis=2) > 0.2
        assert coloured.mean() > 0.001, picture.get_attribute("aria-label")


def test_what_is_pointed_at_is_what_is_drawn(watched: Watched, pages: dict[str, Path]) -> None:
    picture = watched.open(pages["sample"]).locator(f"svg[aria-label='Histogram: {TITLES['block.device'][0]}']")
    pixels = imread(io.BytesIO(picture.screenshot()))[..., :3]
    origin = picture.bounding_box()
    bars = [(bar.bounding_box(), bar.locator("title").text_content()) for bar in picture.locator(".hit").all()]
    counts = [int((told or "").split(": ")[1].replace(",", "")) for _, told in bars]
    heights = []
    for place, _ in bars:
        assert place is not None
        assert origin is not None
        column = pixels[:, round(place["x"] + place["width"] / 2 - origin["x"])]
        low, high = (round(at - origin["y"]) for at in (place["y"], place["y"] + place["height"]))
        heights.append(int((np.ptp(column[low:high], axis=1) > 0.5).sum()))
    tall = [(count, height) for count, height in zip(counts, heights, strict=True) if count > max(counts) / 10]
    assert len(tall) >= 4
    scale = max(heights) / max(counts)
    assert all(abs(height - count * scale) <= 3 for count, height in tall)


def test_a_finding_leads_to_its_place_in_a_picture(watched: Watched, pages: dict[str, Path]) -> None:
    page = watched.open(pages["sample"])
    spot = page.locator("#time-block-device-2")
    assert spot.evaluate("one => getComputedStyle(one).stroke") == "none"
    page.locator("#finding-2").get_by_text("over time").click()
    assert spot.evaluate("one => getComputedStyle(one).stroke") != "none"
    place = spot.bounding_box()
    assert place is not None
    assert 40 < place["y"] < 600


def test_values_are_shown_by_pointer_and_by_keyboard(watched: Watched, pages: dict[str, Path]) -> None:
    page = watched.open(pages["sample"])
    box, picture = page.locator(".value"), page.locator(f"svg[aria-label='Histogram: {TITLES['block.device'][0]}']")
    assert box.is_hidden()
    picture.locator(".hit").first.hover()
    first = box.inner_text()
    assert first.count(" ms") == 2
    page.mouse.move(0, 0)
    assert box.is_hidden()
    picture.focus()
    page.keyboard.press("ArrowRight")
    assert box.inner_text() == first
    page.keyboard.press("ArrowRight")
    assert box.inner_text() != first
    page.keyboard.press("Escape")
    assert box.is_hidden()


def test_tables_are_sorted_by_value(watched: Watched, pages: dict[str, Path]) -> None:
    page = watched.open(pages["sample"])
    table = page.locator("#latencies table").first
    table.get_by_role("button", name="p99", exact=True).click()
    names = table.locator("tbody td:first-child").all_inner_texts()
    # 12.9 s, 44.8 ms twice, 19.6 us, 6.44 us
    assert (names[0], names[-1]) == ("Process lifetimes", "Block I/O in the queue")
    assert table.locator("th[aria-sort=descending]").inner_text() == "p99"
    table.get_by_role("button", name="p99", exact=True).focus()
    page.keyboard.press("Enter")
    assert table.locator("tbody td:first-child").all_inner_texts()[0] == "Block I/O in the queue"


@pytest.mark.parametrize("watched", [{"java_script_enabled": False}], indirect=True)
def test_without_scripts_everything_is_there(watched: Watched, pages: dict[str, Path]) -> None:
    page = watched.open(pages["lossy"])
    assert page.get_by_text("12 events lost", exact=False).first.is_visible()
    raw = page.locator("#finding-1 details")
    assert not raw.locator("table").is_visible()
    raw.locator("summary").click()
    assert raw.locator("tbody tr").count() == 50
    assert raw.locator("tbody tr").first.is_visible()
    assert page.locator("svg title").first.text_content()


@pytest.mark.parametrize("watched", [{"viewport": {"width": 400, "height": 800}}], indirect=True)
def test_a_narrow_window_is_not_wider_than_it_is(watched: Watched, pages: dict[str, Path]) -> None:
    for name in ("hostile", "sample"):
        assert watched.open(pages[name]).evaluate("document.documentElement.scrollWidth") <= 400


def test_a_table_that_scrolls_shows_whole_rows(watched: Watched, pages: dict[str, Path]) -> None:
    box = watched.open(pages["sample"]).locator("#work .long").first
    bottom = box.evaluate("one => one.getBoundingClientRect().top + one.clientHeight")
    cut = [row.bounding_box() for row in box.locator("tbody tr").all()]
    edges = [place["y"] + place["height"] for place in cut if place is not None]
    assert min(abs(edge - bottom) for edge in edges) <= 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(scheme: str, browser: Browser, pages: dict[str, Path]) -> None:
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
    page = context.new_page()
    page.goto(pages["sample"].as_uri())
    paper, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    light, dark = (paper, ink) if scheme == "light" else (ink, paper)
    assert sum(_channels(light)) > 600 > 200 > sum(_channels(dark))
    context.close()


def _channels(colour: str) -> list[int]:
    return [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]


def test_hostile_names_are_text(watched: Watched, pages: dict[str, Path]) -> None:
    page = watched.open(pages["hostile"])
    for summary in page.locator("summary").all():
        summary.click()
    page.wait_for_timeout(100)
    assert page.locator("img:not([src^='data:image/svg+xml;']), iframe, object, link, b b").count() == 0
    assert page.locator("script").count() == 1
    shown = " ".join(page.locator("body").inner_text().split())
    for name in NAMES:
        assert " ".join(printable(name).split()) in shown
    assert page.title().startswith("Report of ")


def test_it_prints(browser: Browser, pages: dict[str, Path]) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(pages["sample"].as_uri())
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    long = page.locator("#work .long[data-more]").last
    rows = long.locator("tbody tr")
    assert [row.is_visible() for row in rows.all()] == [True] * 20 + [False] * (rows.count() - 20)
    assert long.get_attribute("data-more") == f"and {rows.count() - 20} more rows, which are not printed"
    assert page.pdf(format="A4").startswith(b"%PDF")
    context.close()
