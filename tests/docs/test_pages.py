"""What pages show is so: each block of code runs, prints what stands there, and what they name exists.

A block is fenced and says its language:

- `python` is executed; names live on from block to block of a page.
- `sh` has a command on each line.
- `console` has commands, after `$ `, and below each what it prints; `[...]` is what the page leaves out.
- `text` is no code.

A command is `tracekit`, or `sudo tracekit` where it records; these run for a second each, in the tests of the kernel. A
block of anything else says in a comment before it why it is not run: `<!-- not run: it installs packages -->`.

`TRACEKIT_UPDATE_DOCS=1` writes what commands print now into the pages.
"""

import dataclasses
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import Block, Step, blocks_of, write_anew

from tracekit.analyze.frames import EVENT_TABLES, TABLES, columns_of, type_name
from tracekit.analyze.plots import KINDS
from tracekit.cli.main import COMMANDS
from tracekit.metadata import Counters, Disk, Metadata
from tracekit.schema import ALL_EVENTS, SCHEMA, Column

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "benchmarks/README.md", "sample_traces/README.md")),
    *sorted(DOCS.rglob("*.md")),
]
RECORDING = [page for page in PAGES if any(step.records for one in blocks_of(page) for step in one.steps())]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


by_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader is: with the sample traces, a trace, and `tracekit` and `sudo` on the PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, command in (("tracekit", f"{sys.executable} -m tracekit"), ("sudo", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.delenv("COLUMNS", raising=False)
    return reader_in(tmp_path / "reader", monkeypatch)


def reader_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder.mkdir()
    (folder / "sample_traces").symlink_to(ROOT / "sample_traces")
    monkeypatch.chdir(folder)
    return folder


@functools.cache
def output_of(command: str, folder: Path) -> str:
    """What a command prints in a folder, messages among it, as a person sees it; once, however often it is shown."""
    shell = ["bash", "-c", command]
    done = subprocess.run(
        shell, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


@by_page
def test_each_block_is_run_or_says_why_not(page: Path) -> None:
    wrong = [(f"{name_of(page)}:{block.line}", block.wrong()) for block in blocks_of(page)]
    assert [(where, why) for where, why in wrong if why] == []


@by_page
def test_what_a_page_shows_runs_and_prints_that(page: Path, folder: Path) -> None:
    (folder / "trace.parquet").write_bytes((ROOT / "sample_traces" / "service-restart.parquet").read_bytes())
    names: dict[str, object] = {}
    changed: list[tuple[Block, list[str]]] = []
    for block in blocks_of(page):
        if block.language == "python" and not block.not_run:
            exec(compile(block.text, f"{name_of(page)}:{block.line}", "exec"), names)
        shown = [line for step in block.steps() for line in _checked(step, block, folder)]
        if block.language == "console" and block.steps() and shown != list(block.lines):
            changed.append((block, shown))
    for block, shown in reversed(changed):
        write_anew(page, block, shown)


def _checked(step: Step, block: Block, folder: Path) -> list[str]:
    """The lines of a step as they are, or are to be from now on."""
    printed = None if step.records else output_of(step.command, folder)
    prompt = f"$ {step.command}" if block.language == "console" else step.command
    if printed is None or step.agrees(printed):
        return [prompt, *(step.shown or ())]
    assert os.environ.get("TRACEKIT_UPDATE_DOCS"), f"{step.command} prints what is not on the page:\n{printed}"
    return [prompt, *step.anew(printed)]


@pytest.mark.kernel
@pytest.mark.parametrize("page", RECORDING, ids=name_of)
def test_what_a_page_records_is_recorded(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [step for one in blocks_of(page) for step in one.steps() if step.records]
    for number, step in enumerate(steps):
        place = reader_in(folder / str(number), monkeypatch)
        assert step.agrees(output_of(_shortly(step.command), place)), step.command


def _shortly(command: str) -> str:
    """The same, for a second at most."""
    return re.sub(r"(tracekit record)((?: -o \S+)?)(?: -d \S+)?", r"\1\2 -d 1", command)


# --- what pages name -------------------------------------------------------------------------------------------


def test_each_command_has_its_help_on_a_page() -> None:
    shown = {step.command for block in blocks_of(DOCS / "commands.md") for step in block.steps()}
    assert shown == {"tracekit --help", *(f"tracekit {name} --help" for name in COMMANDS)}


def test_the_page_of_pictures_has_every_kind_with_an_example() -> None:
    page = (DOCS / "pictures.md").read_text()
    parts = {part.split("`")[0]: part for part in page.split("\n## `")[1:]}
    assert list(parts) == list(KINDS)
    assert all(f"tracekit plot {kind} sample_traces/" in part for kind, part in parts.items())


def test_pictures_that_pages_show_are_there_and_small() -> None:
    shown = [(page, picture) for page in PAGES for picture in re.findall(r"!\[.+?\]\((.+?)\)", page.read_text())]
    assert {page for page, _ in shown} >= {ROOT / "README.md", DOCS / "pictures.md"}
    assert all((page.parent / picture).stat().st_size < 150_000 for page, picture in shown)


def test_the_format_page_names_every_event_column_and_field() -> None:
    page = (DOCS / "trace-format.md").read_text()
    named = set(re.findall(r"`(\w+)`", page))
    fields = {field.name for kind in (Metadata, Counters, Disk) for field in dataclasses.fields(kind)}
    assert {*ALL_EVENTS, *SCHEMA.names} | fields <= named


def test_the_page_of_python_has_every_table_and_column_as_it_is() -> None:
    page = (DOCS / "python.md").read_text()
    parts = re.split(r"\n## Columns of .*\n", page)[1:]
    raw, requests, processes = ([line for line in part.splitlines() if line.startswith("| `")] for part in parts)
    columns = {column.name: column for table in EVENT_TABLES for column in columns_of(table)}
    order = ["time", *SCHEMA.names]
    assert raw == [_row(columns[name], f" {_tables_with(name)} |") for name in order]
    assert requests == [_row(column) for column in columns_of("block")]
    assert processes == [_row(column) for column in columns_of("processes")]
    assert all(f"`{table}()`" in page for table in TABLES)


def _row(column: Column, tables: str = "") -> str:
    meaning = column.meaning.replace("|", "\\|")
    return f"| `{column.name}` | {type_name(column.type)} | {column.unit} |{tables} {meaning} |"


def _tables_with(name: str) -> str:
    """The tables that have a column; those that lack it where these are fewer."""
    having = {table: any(column.name == name for column in columns_of(table)) for table in EVENT_TABLES}
    lacking = [f"`{table}`" for table, has in having.items() if not has]
    if len(lacking) <= 2:
        return f"all but {', '.join(lacking)}" if lacking else "all"
    return ", ".join(f"`{table}`" for table, has in having.items() if has)


@by_page
def test_links_lead_to_files_of_the_repository_and_to_headings(page: Path) -> None:
    """As a site that hosts code follows them; those of the built site MkDocs looks at."""
    links = re.findall(r"(?<=\]\()(?![a-z]+:)([^)#\s]*)(?:#([^)\s]+))?(?=\))", page.read_text())
    wrong = [
        (path, heading) for path, heading in links if not _is_there((page.parent / path) if path else page, heading)
    ]
    assert wrong == []


def _is_there(target: Path, heading: str) -> bool:
    if not heading or not target.is_file():
        return target.is_file()
    headings = re.findall(r"(?m)^#+ (.+)$", target.read_text())
    return heading in [re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings]
