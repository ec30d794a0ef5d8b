"""`tracekit doctor`: what this machine can record, and what mends the rest."""

import dataclasses
import json
import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

import click

from tracekit.cli.live import Progress
from tracekit.cli.options import Choice, families_option
from tracekit.cli.screen import colours, width
from tracekit.text import printable

if TYPE_CHECKING:
    from tracekit.capture.doctor import Check, Diagnosis

CANNOT_RECORD = 4

_MEANING = {"process": "process", "block": "block I/O", "open": "opens"}
_COLOURS = {"ok": "green", "limited": "yellow", "missing": "red"}


@click.command()
@families_option("What to ask about")
@click.option(
    "--format", "style", type=Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)
def doctor(families: tuple[str, ...], style: str) -> int:
    """Say what this machine can record, with which loader, what is missing, and the command that mends it.

    As root it attaches the probes for a moment to see whether they work, and writes nothing down. It ends with exit
    code 4 if something that was asked about cannot be recorded.

    \b
    Examples:
      sudo tracekit doctor
      tracekit doctor --events block
      tracekit doctor --format json | jq -r .summary
    """
    # Imported when needed: `tracekit --help` does not wait for what it looks at the machine with.
    from tracekit.capture.doctor import examine

    with Progress("looking at this machine"):
        diagnosis = examine(families)
    if style == "json":
        click.echo(json.dumps({"summary": _summary(diagnosis), **dataclasses.asdict(diagnosis)}, indent=2))
    else:
        click.echo("\n".join(_lines(diagnosis, width())), color=colours())
    return 0 if diagnosis.possible else CANNOT_RECORD


def _summary(diagnosis: "Diagnosis") -> str:
    """The whole answer in one sentence."""
    can = ", ".join(_MEANING[verdict.family] for verdict in diagnosis.verdicts if verdict.state != "missing")
    cannot = ", ".join(_MEANING[verdict.family] for verdict in diagnosis.verdicts if verdict.state == "missing")
    if can:
        return (
            f"This machine can record: {can}, with the {diagnosis.loader} loader{f'; not {cannot}' if cannot else ''}."
        )
    reason = next((check for check in diagnosis.checks if check.stops), None)
    if reason is not None and reason.name == "privilege":
        return "This user cannot record: 'sudo tracekit doctor' tells what root can."
    return f"This machine cannot record {cannot}: {diagnosis.verdicts[0].meaning.removeprefix('no: ')}."


def _lines(diagnosis: "Diagnosis", width: int) -> Iterator[str]:
    yield from (click.style(line, bold=True) for line in textwrap.wrap(printable(_summary(diagnosis)), width))
    yield ""
    for meaning, verdicts in groupby(diagnosis.verdicts, lambda verdict: verdict.meaning):
        names = [verdict.family for verdict in verdicts]
        # What all have in common is said once, unless it is good.
        for line in names if meaning == "yes" else [", ".join(names)]:
            yield from textwrap.wrap(f"{line}: {printable(meaning)}", width, subsequent_indent="  ")
    yield ""
    column = max(len(check.name) for check in diagnosis.checks)
    for check in diagnosis.checks:
        yield from _check_lines(check, column, width)


def _check_lines(check: "Check", column: int, width: int) -> Iterator[str]:
    """The check in columns, and below it each command on a line of its own, whole, so that it can be copied."""
    state = "?" if check.state is None else str(check.state)
    begin = f"{state:<9}{check.name:<{column}}  "
    meaning = textwrap.wrap(printable(check.meaning), width - len(begin), break_on_hyphens=False)
    yield f"{click.style(state, fg=_COLOURS.get(state))}{begin[len(state) :]}{meaning[0]}"
    yield from (" " * len(begin) + line for line in meaning[1:])
    for mend in check.mends:
        where = f"{mend.where}: " if mend.where else ""
        yield f"{'':9}{where}{click.style(printable(mend.command), bold=True)}"
