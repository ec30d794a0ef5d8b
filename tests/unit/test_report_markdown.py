"""The report as Markdown: what is in it, and that no name from a trace becomes anything but text."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from scenarios import everything

from tracekit import open_trace
from tracekit.analyze import Report, analyze
from tracekit.analyze.report.markdown import escaped, to_markdown

SAMPLES = sorted((Path(__file__).parents[2] / "sample_traces").glob("*.parquet"))
RENDERER = MarkdownIt("gfm-like", {"linkify": False})


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(RENDERER.render(markdown))

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return analyze(everything().trace(tmp_path_factory.mktemp("markdown") / "x.parquet"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 3.5 (99 %)", None),
        ("<script>alert(1)</script><img src=x>", None),
        ("&lt; &amp;", None),
        ("**bold** _it_ `code` ~~gone~~ $x$", None),
        ("[a](http://b) ![c](d)", None),
        ("| a | b |", None),
        ("# no heading", None),
        ("- no list", None),
        ("\\* \\", None),
        ("@everybody see #12, !3 and https://example.com or www.example.com", None),
        ("line\nbreak\x1b[2J \u202egnp", "line\\nbreak\\x1b[2J \\u202egnp"),
    ],
)
def test_any_text_is_shown_and_nothing_else(text: str, shown: str | None) -> None:
    page = Page(f"{escaped(text)}\n\n| a |\n| --- |\n| {escaped(text)} |\n")
    want = shown or text
    assert page.text.split() == [*want.split(), "a", *want.split()]
    assert page.tags == ["p", "table", "thead", "tr", "th", "tbody", "tr", "td"]


def test_mentions_and_addresses_are_broken() -> None:
    shown = escaped("@all #12 http://a www.b")
    assert not any(link in shown for link in ("@all", "#12", "http://", "www.b"))


def test_findings_come_first_and_all_parts_are_there(report: Report) -> None:
    markdown = to_markdown(report)
    headings = [line for line in markdown.splitlines() if line.startswith("## ")]
    assert headings == ["## Findings", "## Latencies", "## Rhythms", "## Who does what"]
    assert "12 events lost" in markdown.split("## Findings")[0]
    page = Page(markdown)
    assert all(finding.title in page.text for finding in report.findings)
    assert page.tags.count("table") >= 5


def test_the_length_of_lists_can_be_chosen(report: Report) -> None:
    assert len(to_markdown(report, top=1)) < len(to_markdown(report, top=50))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_sample(sample: Path) -> None:
    result = analyze(open_trace(sample))
    markdown = to_markdown(result)
    page = Page(markdown)
    rows = [line for line in markdown.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    assert page.tags.count("tr") == len(rows)
    assert all(finding.title in page.text for finding in result.findings)
