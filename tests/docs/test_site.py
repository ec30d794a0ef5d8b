"""The documentation as a site: it builds without a complaint, and works as files, without a network."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
_ABORTED = "net::ERR_ABORTED"
#: What a page would load, and is not a link for a person to follow.
LOADED = re.compile(r"<(?:script|img|link|iframe)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make docs` builds; a warning, such as of a link that leads nowhere, is an error."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=120, env=quiet, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def test_every_page_is_there_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = {str(path.relative_to(site)) for path in site.rglob("*.html")}
    written = {path.stem for path in (ROOT / "docs").glob("*.md")}
    beside = {"benchmarks/index", "changelog", "sample_traces/index"}
    notebooks = {f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert pages == {f"{name}.html" for name in written | beside | notebooks | {"404"}}
    assert [found for name in pages for found in LOADED.findall((site / name).read_text())] == []


def test_comments_for_tests_are_not_shown(site: Path) -> None:
    shown = (re.sub(r"<!--.*?-->", "", page.read_text(), flags=re.DOTALL) for page in site.rglob("*.html"))
    assert not any("not run:" in text for text in shown)


@pytest.mark.browser
def test_pages_work_as_files_and_can_be_searched(site: Path) -> None:
    asked, complaints = [], []
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not start for root.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), chromium_sandbox=False)
        context = browser.new_context(offline=True)
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        # A picture that is still on its way when the next page is gone to is no failure.
        page.on("requestfailed", lambda one: None if one.failure == _ABORTED else complaints.append(one.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        for path in sorted(set(site.rglob("*.html")) - {site / "404.html"}):  # that one is for servers
            page.goto(path.as_uri())
            pictures = page.eval_on_selector_all("article img", "all => all.map(one => one.naturalWidth)")
            assert all(pictures), path
        page.goto((site / "index.html").as_uri())
        page.locator("input.md-search__input").first.fill("flight recorder")
        found = page.locator(".md-search-result__item").first
        found.wait_for(state="attached")
        assert "flight" in (found.text_content() or "")
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert complaints == []
