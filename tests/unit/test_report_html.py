"""The report as a page: well-formed, harmless whatever names say, small, and of the same figures as the report."""

import base64
import hashlib
import re
import shlex
import unicodedata
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hostile import NAMES, hostile
from scenarios import everything
from tracebuilder import SECOND_NS, TraceBuilder

from tracekit import Trace, open_trace
from tracekit.analyze import Selection, analyze
from tracekit.analyze.report import html, words
from tracekit.analyze.report.markup import Html, joined, safe, tag
from tracekit.cli.main import main
from tracekit.text import printable

SAMPLES = sorted((Path(__file__).parents[2] / "sample_traces").glob("*.parquet"))
VOID = {"meta", "img"}
#: What a page is made of; nothing that loads, embeds or submits anything.
TAGS = set(
    re.findall(
        r"\w+",
        "html head meta title style body header h1 h2 h3 nav a section p strong b ul li article span dl dt dd div "
        "details summary code table thead tbody tr th td figure img svg rect script",
    )
)
ALL = Selection()


class Page(HTMLParser):
    """A page taken apart; it complains of what is not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.raw = {"style": "", "script": ""}
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.raw:
            self.raw[self._open[-1]] += data
        else:
            self.text.append(data)

    def of(self, tag: str, class_: str | None = None) -> list[dict[str, str | None]]:
        """The attributes of each such element."""
        return [
            attributes
            for name, attributes in self.tags
            if name == tag and (class_ is None or class_ in (attributes.get("class") or "").split())
        ]

    def drawn(self, alt: str) -> ElementTree.Element:
        """The picture of that name."""
        source = next(attributes["src"] or "" for attributes in self.of("img") if attributes["alt"] == alt)
        return ElementTree.fromstring(base64.b64decode(source.split("base64,")[1]))

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.text).split())


def page_of(trace: Trace, selection: Selection = ALL) -> Page:
    page = html.to_html(analyze(trace, selection), trace, selection)
    assert len(page.encode()) <= html.MOST_BYTES
    return Page(page)


def said_in(picture: ElementTree.Element) -> str:
    return " ".join("".join(text.itertext()) for text in picture.iter("{http://www.w3.org/2000/svg}text"))


def check(page: Page) -> None:
    """What holds of every page."""
    assert {name for name, _ in page.tags} <= TAGS
    ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)
    assert set(ids.values()) == {1}
    links = [attributes["href"] or "" for attributes in page.of("a")]
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    for name, attributes in page.tags:
        assert not {"style", "srcset", "action"} & set(attributes), name
        assert "src" not in attributes or (name == "img" and attributes["src"].startswith("data:image/svg+xml;"))
        assert not any(key.startswith("on") for key in attributes), name
    assert page.of("html") == [{"lang": "en"}]
    assert len(page.of("h1")) == 1
    assert page.text[1].startswith("Report of ")
    policy = next(one["content"] for one in page.of("meta") if one.get("http-equiv")) or ""
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for name in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.raw[name].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert not any(unicodedata.category(one) in ("Cc", "Cf") and one != "\n" for one in "".join(page.text))


@pytest.fixture(scope="module")
def everything_trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return everything().trace(tmp_path_factory.mktemp("html") / "nightly.parquet")


@pytest.mark.parametrize(
    ("text", "markup"),
    [
        ("<b>&\"'", "&lt;b&gt;&amp;&quot;&#x27;"),
        ("a\x1b[0m\u202eb\n", "a\\x1b[0m\\u202eb\\n"),
        (Html("<b>"), "<b>"),
        ("x" * 5000, f"{'x' * 499}...{'x' * 498}"),
    ],
)
def test_text_is_escaped_and_markup_is_not(text: str, markup: str) -> None:
    assert safe(text) == joined(text) == markup
    assert tag("p", text) == f"<p>{markup}</p>"


def test_attributes_are_escaped() -> None:
    made = tag("a", href='"><script>', class_="x", aria_label="a\u202eb", id=None, x=1.25)
    assert made == '<a href="&quot;&gt;&lt;script&gt;" class="x" aria-label="a\\u202eb" x="1.2"></a>'


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_is_a_page_that_says_what_the_report_says(sample: Path) -> None:
    trace = open_trace(sample)
    report = analyze(trace)
    page = page_of(trace)
    check(page)
    assert len(page.of("article", "card")) == len(report.findings)
    for finding in report.findings:
        assert finding.title in page.said
    for pattern in report.patterns:
        assert all(text in page.said for _, text in words.pattern_rows(pattern, report))


def test_the_order_is_that_of_the_report_in_a_terminal(everything_trace: Trace) -> None:
    page = page_of(everything_trace)
    check(page)
    named = [attributes.get("id") or attributes["class"] for attributes in page.of("section")]
    assert named == ["quality bad", "findings", "latencies", "rhythms", "work", "about"]
    assert page.said.index("12 events lost") < page.said.index("every 1.02 s")


def test_every_finding_leads_to_its_place_and_to_its_events(everything_trace: Trace) -> None:
    report = analyze(everything_trace)
    page = page_of(everything_trace)
    spots = [attributes["id"] or "" for attributes in page.of("rect", "spot")]
    for finding in report.findings:
        assert any(spot.endswith(f"-{finding.rank}") for spot in spots), finding.title
    assert len(page.of("table", "raw")) == len(report.findings)


def test_the_command_of_a_finding_prints_as_many_events_as_it_says(
    everything_trace: Trace, capsys: pytest.CaptureFixture[str]
) -> None:
    page = page_of(everything_trace, Selection(start_ns=SECOND_NS // 2))
    totals = [int(count.replace(",", "")) for count in re.findall(r"Raw events: .*?of ([\d,]+)", page.said)]
    commands = re.findall(r"All of them: tracekit (report .*? --top \d+)", page.said)
    assert len(commands) == len(totals) > 2
    for command, total in zip(commands, totals, strict=True):
        assert main(shlex.split(command)) == 0
        assert len(capsys.readouterr().out.splitlines()) == 2 + total


def test_pictures_tell_the_values_of_the_report(everything_trace: Trace) -> None:
    report = analyze(everything_trace)
    page = html.to_html(report, everything_trace, ALL)
    device = next(one for one in report.latency if one.metric == "block.device" and not one.group)
    picture = page.split('aria-label="Histogram: Block I/O at the device"')[1].split("</svg>")[0]
    told = re.findall(r"<title>[^<]*: ([\d,]+)</title>", picture)
    assert sum(int(count.replace(",", "")) for count in told) == device.count
    burst = next(one for one in report.patterns if one.event == "exec").burst_size
    assert page.split('aria-label="Who runs when')[1].split("</svg>")[0].count('class="hit"') == burst


def test_pictures_are_those_of_the_command(everything_trace: Trace) -> None:
    page = page_of(everything_trace)
    names = [one["alt"] or "" for one in page.of("img")]
    for kind in (
        "Histogram: ",
        "Over time: ",
        "When in its second: ",
        "Who runs when: ",
        "Events over time",
        "I/O by place",
    ):
        assert any(name.startswith(kind) for name in names), kind
    assert names == [one["aria-label"] for one in page.of("svg")]
    burst = next(name for name in names if name.startswith("Who runs when: "))
    assert burst.removeprefix("Who runs when: ").lower() in said_in(page.drawn(burst)).lower()


def test_lost_events_are_marked_in_pictures(everything_trace: Trace) -> None:
    assert "lost in the shaded time" in said_in(page_of(everything_trace).drawn("Events over time"))


def test_hostile_names_are_shown_and_do_nothing(tmp_path: Path) -> None:
    trace = hostile().trace(tmp_path / "<b>hostile.parquet")
    page = page_of(trace)
    check(page)
    assert len(page.of("script")) == 1
    for name in NAMES:
        assert " ".join(printable(name).split()) in page.said
    assert "<b>hostile.parquet" in page.said


def many_names() -> TraceBuilder:
    builder = TraceBuilder()
    for number in range(1500):
        who = {"pid": number + 2, "tid": number + 2, "comm": f"<{number}>" + "&" * 200}
        at = number * 6_000_000
        path = f"/{number}/" + "<&>" * 1300
        builder.add("exec", at, path=path, argv=["'" * 4000], **who)
        for turn in range(6):
            builder.add("open", at + turn, path=path, ret=-2, duration_ns=1000 + number, **who)
    return builder


def test_a_page_of_very_many_long_names_is_small_enough(tmp_path: Path) -> None:
    trace = many_names().trace(tmp_path / "many.parquet")
    check(page_of(trace))


def test_where_there_is_no_room_the_page_says_so(everything_trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = page_of(everything_trace)
    assert not whole.of("p", "left-out")
    monkeypatch.setattr(html, "MOST_BYTES", 500_000)
    small = page_of(everything_trace)
    check(small)
    assert small.of("p", "left-out")
    assert "it leaves out raw events of finding" in small.said
    assert len(small.of("article", "card")) == len(whole.of("article", "card"))


def test_an_empty_recording(tmp_path: Path) -> None:
    page = page_of(TraceBuilder().trace(tmp_path / "empty.parquet"))
    check(page)
    assert "no events were recorded" in page.said
