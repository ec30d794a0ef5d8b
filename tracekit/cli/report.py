"""`tracekit report`: what a recording means."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracekit.cli.live import Progress, say
from tracekit.cli.options import Choice, selection_of, selection_options, trace_argument
from tracekit.cli.screen import DEFAULT_WIDTH, colours, width
from tracekit.errors import UsageError
from tracekit.files import check_output, putting
from tracekit.text import printable
from tracekit.units import format_bytes

if TYPE_CHECKING:
    from pyarrow import RecordBatch

    from tracekit.analyze import Report, Selection
    from tracekit.trace import Trace

INCOMPLETE = 3
DEFAULT_TOP, DEFAULT_EVENTS = 5, 1000

#: What a report can be, by the end of its file's name; and of these, what the events of a finding can be.
STYLES = {".html": "html", ".json": "json", ".md": "md", ".txt": "text"}
EVENT_STYLES = ("json", "text")


@click.command()
@trace_argument
@click.option(
    "--format",
    "style",
    type=Choice(["text", "json", "md"], {"html": "write a page with -o report.html"}),
    help="How to print it (default text).",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write it to this file instead; its ending says how: .html (with pictures), .json, .md, .txt.",
)
@click.option("--force", is_flag=True, help="Overwrite the output.")
@selection_options
@click.option(
    "--top",
    metavar="N",
    type=click.IntRange(min=1),
    help=f"Lines of each list (default {DEFAULT_TOP}, in HTML all there are); of findings and rhythms the "
    f"terminal shows ten, or N if that is more. With --finding, events (default {DEFAULT_EVENTS:,}).",
)
@click.option(
    "--finding",
    metavar="N",
    type=click.IntRange(min=1),
    help="Instead, the raw events behind this finding: text or JSON.",
)
@click.option("--strict", is_flag=True, help="End with exit code 3 if TRACE is incomplete or has lost events.")
def report(  # noqa: PLR0913 - an argument for each option
    trace: Path,
    style: str | None,
    output: Path | None,
    force: bool,
    top: int | None,
    finding: int | None,
    strict: bool,
    **selected: str | None,
) -> int:
    """Say what TRACE shows: findings, latencies, bursts, and who does what; its own gaps first.

    TRACE is trace.parquet unless you name another. Times count from the start of the recording.

    \b
    Examples:
      tracekit report
      tracekit report nightly.parquet -o nightly.html
      tracekit report --from 10m --to 12m --comm postgres
      tracekit report --finding 1 --top 50
      tracekit report --format json | jq '.findings[].title'
    """
    # Imported when needed: `tracekit --help` does not wait for numpy.
    from tracekit.analyze import analyze, rows_to_read
    from tracekit.trace import open_trace

    chosen = _style(style, output, finding)
    if output is not None:
        check_output(output, force)
    opened = open_trace(trace)
    selection = selection_of(opened, **selected)
    with Progress(f"reading {printable(trace.name, 40)}", rows_to_read(opened, selection)) as progress:
        opened.on_read = progress.add
        result = analyze(opened, selection)
    if finding is not None:
        events = _Events(opened, selection, result, finding)
        _put(events.told(chosen, top or DEFAULT_EVENTS), output, force)
        if events.omitted and chosen == "text":
            click.echo(f"and {events.omitted:,} more: --top {events.given + events.omitted} shows all", err=True)
    else:
        _put([_rendered(chosen, opened, selection, result, top, printed=output is None)], output, force)
    return INCOMPLETE if strict and not result.quality.whole else 0


def _style(style: str | None, output: Path | None, finding: int | None) -> str:
    """What to write: as the output's name ends, or as `--format` says."""
    chosen = style or "text"
    if output is not None:
        by_name = STYLES.get(output.suffix.lower())
        if by_name is None:
            raise UsageError(f"the report {output} must end in {', '.join(STYLES)}: its ending says what is written")
        if style not in (None, by_name):
            raise UsageError(f"--format {style} contradicts the ending of {output}: leave one of them out")
        chosen = by_name
    if finding is not None and chosen not in EVENT_STYLES:
        raise UsageError(f"--finding gives text or JSON, not {chosen}: leave it out for the whole report")
    return chosen


def _put(parts: Iterable[str], output: Path | None, force: bool) -> None:
    """Print what is made, or write it to a file whole or not at all."""
    if output is None:
        for part in parts:
            click.echo(part, color=colours())
        return
    with putting(output, force) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(f"{part}\n" for part in parts)
    say(f"wrote {printable(str(output))} ({format_bytes(output.stat().st_size)})")


def _rendered(
    style: str, trace: "Trace", selection: "Selection", result: "Report", top: int | None, printed: bool
) -> str:
    if style == "json":
        from tracekit.analyze.report.json import to_json

        return to_json(result)
    if style == "html":
        from tracekit.analyze.report.html import to_html

        with Progress("drawing the page") as progress:
            trace.on_read = progress.add
            return to_html(result, trace, selection, top)
    if style == "md":
        from tracekit.analyze.report.markdown import to_markdown

        return to_markdown(result, top or DEFAULT_TOP)
    from tracekit.analyze.report.text import to_text

    if printed:
        return to_text(result, width=width(), color=colours(), top=top or DEFAULT_TOP)
    return to_text(result, width=DEFAULT_WIDTH, top=top or DEFAULT_TOP)


class _Events:
    """The raw events behind a finding, as text or JSON."""

    def __init__(self, trace: "Trace", selection: "Selection", result: "Report", number: int) -> None:
        from tracekit.analyze import raw_events

        if number > len(result.findings):
            raise UsageError(f"there is no finding {number}: the report has {len(result.findings)}")
        self._trace, self._finding = trace, result.findings[number - 1]
        self._progress = Progress(f"looking for the events of finding {number}")
        trace.on_read = self._progress.add
        self._rows = raw_events(trace, selection, self._finding.where)
        self.given = self.omitted = 0

    def told(self, style: str, most: int) -> Iterator[str]:
        """The first of them, as text a line each; how many there are besides is known in the end."""
        return iter([self._json(most)]) if style == "json" else self._lines(most)

    def _lines(self, most: int) -> Iterator[str]:
        from tracekit.analyze.report.events import event_lines

        yield f"Raw events behind finding {self._finding.rank}: {printable(self._finding.title)}."
        yield from event_lines(self._first(most), self._trace.start_ns)

    def _json(self, most: int) -> str:
        from tracekit.analyze.report.json import finding_to_json

        rows = [row for batch in self._first(most) for row in batch.to_pylist()]
        return finding_to_json(self._finding, self._trace.start_ns, rows, self.omitted)

    def _first(self, most: int) -> "Iterator[RecordBatch]":
        for rows in self._progress.waiting(self._rows):
            shown = rows[: most - self.given]
            yield shown
            self.given += len(shown)
            self.omitted = len(rows) - len(shown)
            if self.given == most:
                break
        with self._progress:
            self.omitted += sum(len(rest) for rest in self._rows)
