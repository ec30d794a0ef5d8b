"""The report as one page of HTML that loads nothing: quality, findings, latencies, rhythms, who does what.

The page is never larger than `MOST_BYTES`: each part takes its room in the order of importance, and one for which
there is none left says so.
"""

import base64
import hashlib
import shlex
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from itertools import chain, islice
from typing import Any

import tracekit
from tracekit.analyze.evidence import raw_events
from tracekit.analyze.report import pictures, words
from tracekit.analyze.report.events import event_cells
from tracekit.analyze.report.markup import Html, joined, tag, verbatim
from tracekit.analyze.report.pictures import Canvas, Picture, Spot
from tracekit.analyze.results import Finding, Latency, Pattern, Report
from tracekit.analyze.selection import Selection
from tracekit.trace import Trace
from tracekit.units import SECOND_NS, format_count, format_ns, format_share

MOST_BYTES = 2_000_000
#: For what says that something was left out.
_RESERVE = 100_000
#: What a page shows: findings, raw events of each, and rhythms.
_FINDINGS, _EVENTS, _PATTERNS = 100, 50, 100
_TOP, _NAME, _CELL = 1000, 120, 240
#: Longer tables scroll, and on paper have so many rows, as the style of the page says.
_LONG, _PRINTED = 12, 20


def to_html(report: Report, trace: Trace, selection: Selection, top: int | None = None) -> str:
    """The report as a page.

    Args:
        report: of the selected part of the trace.
        top: how long a list may be before the rest is only counted; by default all that is known is shown.
    """
    return _Page(report, trace, selection, top or _TOP).html()


class _Page:
    """Parts of a page, made in the order of importance."""

    def __init__(self, report: Report, trace: Trace, selection: Selection, top: int) -> None:
        self._report, self._top = report, top
        self._canvas = Canvas(trace, selection, report)
        self._spots: list[Spot] = []
        self._left = MOST_BYTES - _RESERVE

    def html(self) -> str:
        """All of it."""
        head = self._part("the head", _head(self._report), _banner(self._report, self._top))
        histograms = {name: self._picture(one) for name, one in pictures.latencies(self._canvas).items()}
        over_time = {name: self._picture(one) for name, one in pictures.over_time(self._canvas).items()}
        rhythms = [self._picture(one) for one in pictures.rhythms(self._canvas)]
        rates = [self._picture(one) for one in pictures.event_rates(self._canvas)]
        places = [self._picture(one) for one in pictures.io_by_place(self._canvas)]
        cards = [self._part(f"finding {one.rank}", self._card(one)) for one in self._report.findings[:_FINDINGS]]
        latencies = self._latencies(histograms, over_time)
        patterns = [self._part("a rhythm", self._pattern(one)) for one in self._report.patterns[:_PATTERNS]]
        patterns += _more(len(self._report.patterns) - len(patterns))
        tables = [self._part(one.titles[0], _listing(one)) for one in words.workload(self._report, _NAME, self._top)]
        about = self._part("about this trace", self._about())
        findings = [joined(card, self._raw(one)) for card, one in zip(cards, self._report.findings, strict=False)]
        body = (
            _section("findings", "Findings", *self._found(findings)),
            _section("latencies", "Latencies", *latencies),
            _section("rhythms", "Rhythms", *patterns, *rhythms, *rates),
            _section("work", "Who does what", *tables, *places),
            _section("about", "About this trace", about),
        )
        return _document(words.title(self._report), head, *body)

    # --- room ---

    def _part(self, what: str, *made: str) -> Html:
        """A part of the page; where there is no room left, that it is not there."""
        part = joined(*made)
        size = len(part.encode())
        if size > self._left:
            told = f"To keep this page small, it leaves out {what}: tracekit report prints it."
            return tag("p", told, class_="left-out")
        self._left -= size
        return part

    def _picture(self, picture: Picture) -> Html:
        part = self._part("a picture", picture.html)
        if part == picture.html:
            self._spots += picture.spots
        return part

    # --- findings ---

    def _found(self, cards: Sequence[Html]) -> Iterable[Html]:
        if not cards:
            yield tag("p", words.nothing(self._report), class_="nothing")
        yield from (tag("article", card, class_="card", id=f"finding-{rank}") for rank, card in enumerate(cards, 1))
        yield from _more(len(self._report.findings) - len(cards))

    def _card(self, finding: Finding) -> Html:
        evidence = map(_evidence, finding.evidence.items())
        figures = (tag("div", tag("dt", name), tag("dd", value)) for name, value in evidence)
        spots = [spot for spot in self._spots if spot.rank == finding.rank]
        links = [joined(" ", tag("a", spot.label, href=f"#{spot.id}")) for spot in spots]
        return joined(
            tag("h3", tag("span", str(finding.rank), class_="rank"), " ", f"{finding.title}."),
            *([tag("p", finding.detail)] if finding.detail else []),
            tag("dl", *figures, class_="evidence"),
            *([tag("p", "Pictures:", *links, class_="links")] if links else []),
        )

    def _raw(self, finding: Finding) -> Html:
        """The first raw events of a finding, and the command that prints all."""
        trace, selection = self._canvas.trace, self._canvas.selection
        batches = raw_events(trace, selection, finding.where)
        shown: list[tuple[str, ...]] = []
        count = 0
        for rows in batches:
            shown += islice(event_cells([rows[: _EVENTS - len(shown)]], trace.start_ns, _CELL), _EVENTS)
            count += len(rows)
        if not shown:
            return Html("")
        table = _table(("time", "event", "process", "more"), shown, numbers=(0,), class_="raw")
        title = f"Raw events: {'the first ' if count > len(shown) else ''}{len(shown):,} of {count:,}"
        every = _command(self._report, selection, "--finding", str(finding.rank), "--top", str(count))
        told = [tag("p", "All of them: ", tag("code", every))] if every else []
        return self._part(f"raw events of finding {finding.rank}", _folded(title, *told, table))

    # --- what findings rest on ---

    def _latencies(self, drawn: dict[str, Html], over_time: dict[str, Html]) -> list[Html]:
        whole = words.by_metric(self._report)
        if not whole:
            return [tag("p", "No latencies were measured.", class_="nothing")]
        parts = [self._part("the table of latencies", _percentiles(whole.values()))]
        for name, one in whole.items():
            figures = self._part(f"the figures of {name}", *self._figures(one, name in drawn))
            pictures = (drawn.get(name, Html("")), over_time.get(name, Html("")))
            parts += [tag("h3", words.TITLES[name][0]), *pictures, figures]
        return parts

    def _figures(self, one: Latency, drawn: bool) -> list[Html]:
        """Modes and outliers, groups, and the histogram in numbers, unless it says little and is not drawn."""
        groups = _listing(words.groups(one, self._report, _NAME, self._top))
        told = words.shape_lines(one, self._report), words.total_lines(one, words.by_metric(self._report))
        few = [*map(_lines, told), _warning(words.lost(one.lost)), groups]
        return [*few, _folded("As numbers", _buckets(one))] if drawn else few

    def _pattern(self, pattern: Pattern) -> Html:
        rows = words.pattern_rows(pattern, self._report)
        told = (joined(tag("dt", name), tag("dd", text)) for name, text in rows)
        lost = _warning(words.lost(pattern.lost))
        return joined(tag("h3", words.pattern_title(pattern)), tag("dl", *told, class_="told"), lost)

    def _about(self) -> Html:
        facts, again = self._report.trace, _command(self._report, self._canvas.selection)
        told = [
            *([("file", facts.path)] if facts.path is not None else []),
            ("recorded", words.facts(self._report)),
            ("trace format", str(facts.format)),
            ("ended normally", "yes" if facts.complete else "no"),
            ("report by", ": ".join(filter(None, (f"tracekit {tracekit.__version__}", again)))),
        ]
        events = [(event, format_count(count)) for event, count in facts.events.items()]
        listed = (joined(tag("dt", name), tag("dd", text)) for name, text in told)
        return joined(tag("dl", *listed, class_="told"), _table(("event", "rows"), events))


# --- the frame -------------------------------------------------------------------------------------------------

_NAV = (("findings", "Findings"), ("latencies", "Latencies"), ("rhythms", "Rhythms"), ("work", "Who does what"))


@cache
def _asset(name: str) -> str:
    return files("tracekit.analyze.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _document(title: str, *body: str) -> str:
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=Html(policy)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        verbatim("style", style),
    )
    page = tag("html", head, tag("body", *body, verbatim("script", script)), lang="en")
    return f"<!DOCTYPE html>\n{page}"


def _head(report: Report) -> Html:
    links = (tag("a", name, href=f"#{id_}") for id_, name in (*_NAV, ("about", "About")))
    title = tag("header", tag("h1", words.title(report)), tag("p", words.facts(report)))
    return joined(title, tag("nav", *links, aria_label="Parts of the report"))


def _banner(report: Report, top: int) -> Html:
    verdict = words.verdict(report, min(top, _LONG))
    headline = tag("p", tag("strong", verdict.headline))
    return tag("section", headline, _lines(verdict.lines), class_=f"quality {verdict.level}", aria_label="Quality")


def _section(id_: str, title: str, *parts: str) -> Html:
    return tag("section", tag("h2", title), *parts, id=id_) if any(parts) else tag("section", id=id_)


# --- pieces ----------------------------------------------------------------------------------------------------


def _command(report: Report, selection: Selection, *more: str) -> str | None:
    """What prints the report again, or more of it; null where who reads it has no trace."""
    if report.trace.path is None:
        return None
    given: list[tuple[str, Any]] = [
        ("--from", _seconds(selection.start_ns)),
        ("--to", _seconds(selection.end_ns)),
        ("--comm", selection.comm),
        ("--disk", selection.disk),
    ]
    options = chain.from_iterable(pair for pair in given if pair[1] is not None)
    return shlex.join(["tracekit", "report", report.trace.path, *options, *more])


def _seconds(at_ns: int | None) -> str | None:
    return None if at_ns is None else f"{at_ns // SECOND_NS}.{at_ns % SECOND_NS:09d}".rstrip("0").rstrip(".")


def _evidence(item: tuple[str, int | float | str | None]) -> tuple[str, str]:
    name, value = item
    if isinstance(value, str) or value is None:
        told = value or "?"
    elif name.endswith("_ns"):
        told = format_ns(value)
    else:
        told = format_share(value) if isinstance(value, float) else format_count(value)
    return name.removesuffix("_ns").replace("_", " "), told


def _percentiles(latencies: Iterable[Latency]) -> Html:
    rows = [
        (
            words.TITLES[one.metric][0],
            format_count(one.count),
            *(format_ns(value) for _, value in words.percentiles(one)),
        )
        for one in latencies
    ]
    return _table(("latency", "count", "p50", "p90", "p99", "p99.9", "max"), rows)


def _buckets(one: Latency) -> Html:
    rows = [(format_ns(each.low_ns), format_ns(each.high_ns), format_count(each.count)) for each in one.histogram]
    return _table(("from", "up to", "count"), rows, numbers=(0, 1, 2))


def _lines(lines: Sequence[str]) -> Html:
    """Lines as a list; how far one is indented says what it belongs to."""
    depth = (min((len(line) - len(line.lstrip())) // 2, 2) for line in lines)
    items = (tag("li", line.strip(), class_=f"d{at}") for line, at in zip(lines, depth, strict=True))
    return tag("ul", *items, class_="lines") if lines else Html("")


def _warning(text: str) -> Html:
    return tag("p", text, class_="warning") if text else Html("")


def _listing(listing: words.Listing) -> Html:
    if not listing.rows:
        return Html("")
    rest = tag("p", f"and {listing.rest:,} more", class_="rest") if listing.rest else Html("")
    return joined(_table(listing.titles, listing.rows), rest, _warning(listing.below))


def _more(count: int) -> list[Html]:
    return [tag("p", f"and {count:,} more: tracekit report prints them", class_="left-out")] if count > 0 else []


def _folded(title: str, *parts: str) -> Html:
    return tag("details", tag("summary", title), *parts)


def _table(
    titles: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Sequence[int] | None = None,
    class_: str | None = None,
) -> Html:
    """A table that the script makes sortable; all columns but the first are numbers unless it is said which are."""
    right = set(range(1, len(titles)) if numbers is None else numbers)
    kinds = ["n" if at in right else None for at in range(len(titles))]
    head = (tag("th", title, scope="col", class_=kind) for title, kind in zip(titles, kinds, strict=True))
    body = [tag("tr", *(tag("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True))) for row in rows]
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body), class_=class_)
    if len(body) <= _LONG:
        return tag("div", table, class_="scroll")
    more = f"and {len(body) - _PRINTED:,} more rows, which are not printed" if len(body) > _PRINTED else None
    return tag("div", table, class_="scroll long", tabindex=0, data_more=more)
