"""Results show themselves: as the terminal's text, as tables, as pictures; what a trace says is escaped."""

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tracebuilder import TraceBuilder

import tracekit
from tracekit.analyze import analyze
from tracekit.analyze.report.json import to_json
from tracekit.analyze.report.text import to_text
from tracekit.analyze.results import Latency, Report
from tracekit.analyze.shown import Picture, Shown
from tracekit.recording import Recording

SAMPLES = Path(__file__).parents[2] / "sample_traces"
PNG = b"\x89PNG"


def test_printed_it_is_the_text_of_the_terminal(service: Recording) -> None:
    whole = to_text(analyze(service))
    assert str(service.report()) == repr(service.report()) == whole
    assert str(service.latency("open")) in whole
    assert str(service.patterns()) in whole
    assert service.patterns()[0].sentence in str(service.patterns()[0])


def test_results_are_those_of_the_report(service: Recording) -> None:
    report = service.report()
    assert isinstance(report, Report)
    assert to_json(report) == to_json(analyze(service))
    assert [dataclasses.asdict(one) for one in service.patterns()] == [
        dataclasses.asdict(one) for one in report.patterns
    ]
    for one in report.latency:
        assert dataclasses.asdict(service.latency(one.metric, **one.group)) == dataclasses.asdict(one)


def test_a_part_has_results_of_its_own(service: Recording) -> None:
    part = service["2s":"6s"]
    assert part.report().trace.duration_ns == 4 * 10**9
    assert part.latency("open").count < service.latency("open").count
    assert "from 2.00 s to 6.00 s" in part.report()._repr_html_()


def test_a_latency_shows_its_modes_outliers_and_histogram(disk: Recording) -> None:
    latency = disk.latency("block.device")
    html = latency._repr_html_()
    for mode in latency.modes:
        assert f">{mode.count:,}</td>" in html
    assert "<td>outliers</td>" in html
    assert html.count("<img src=") == 1
    assert [picture.kind for picture in latency.pictures] == ["latency"]


def test_of_a_group_it_is_said_which(service: Recording) -> None:
    one = service.latency("open", comm="file-worker")
    assert isinstance(one, Latency)
    assert str(one).startswith("Only comm file-worker\nOpens (entry to return): 2,270")
    assert "Only comm file-worker" in one._repr_html_()


def test_rhythms_show_a_row_each_and_a_burst(service: Recording) -> None:
    rhythms = service.patterns()
    html = rhythms._repr_html_()
    assert html.count("<tr>") == 1 + len(rhythms)
    assert [picture.kind for picture in rhythms.pictures] == ["subsecond"]
    (burst,) = rhythms[0].pictures
    assert (burst.kind, len(burst.data.bars)) == ("timeline", rhythms[0].burst_size)


def test_the_report_shows_findings_and_pictures(service: Recording, disk: Recording) -> None:
    html = service.report()._repr_html_()
    assert html.count("<li>") == len(service.report().findings)
    assert [picture.kind for picture in service.report().pictures] == ["subsecond", "latency"]
    assert [picture.kind for picture in disk.report().pictures] == ["latency"]


def test_a_trace_without_events_shows_that(tmp_path: Path) -> None:
    trace = tracekit.open_trace(TraceBuilder().write(tmp_path / "trace.parquet"))
    assert (trace.patterns(), trace.patterns().pictures, trace.report().pictures) == ((), (), ())
    assert "No rhythm was found." in trace.patterns()._repr_html_()
    assert "Nothing stands out." in trace.report()._repr_html_()


def test_what_a_process_chose_is_escaped(service: Recording) -> None:
    bad = "<script>\x1b[31m\u202e"
    pattern = dataclasses.replace(service.patterns()[0], scope={"comm": bad}, sentence=bad)
    finding = dataclasses.replace(service.report().findings[0], title=bad)
    facts = dataclasses.replace(service.report().trace, path=bad)
    report = dataclasses.replace(service.report(), trace=facts, findings=(finding,), patterns=(pattern,))
    latency = dataclasses.replace(service.latency("open"), group={"comm": bad})
    for one in (pattern, report, latency):
        html = one._repr_html_()
        assert "&lt;script&gt;\\x1b[31m\\u202e" in html
        assert not re.search("<script|\x1b|\u202e", html)


def test_a_loss_is_said(service: Recording) -> None:
    latency = dataclasses.replace(service.latency("open"), lost=7)
    assert "7 events lost" in latency._repr_html_()
    assert "7 events lost" in str(latency)


class Shell:
    """What IPython has for those that show themselves."""

    def __init__(self, **attributes: object) -> None:
        self.published: list[dict[str, Any]] = []
        self.display_pub = SimpleNamespace(publish=self.published.append)
        vars(self).update(attributes)


@pytest.mark.parametrize("notebook", [True, False])
def test_a_notebook_gets_tables_and_pictures_apart_and_a_terminal_text(
    disk: Recording, monkeypatch: pytest.MonkeyPatch, notebook: bool
) -> None:
    shell = Shell(kernel=None) if notebook else Shell()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    latency: Shown = disk.latency()
    latency._ipython_display_()
    assert shell.published[0]["text/plain"] == str(latency)
    assert ("text/html" in shell.published[0]) == notebook
    drawn = [one["image/png"] for one in shell.published[1:]]
    assert len(drawn) == notebook
    assert all(one.startswith(PNG) and len(one) < 150_000 for one in drawn)


def test_a_picture_is_drawn_when_shown_and_saved(service: Recording, tmp_path: Path) -> None:
    picture = service.plot("rates", events=["exec"])
    assert isinstance(picture, Picture)
    assert repr(picture) == "<Picture rates>"
    assert picture._repr_png_().startswith(PNG)
    assert picture.figure is not picture.figure
    picture.save(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").read_bytes().startswith(PNG)
