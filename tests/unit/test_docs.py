"""The documentation names what there is."""

import dataclasses
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from recording import TRACEKIT

from tracekit.analyze.frames import EVENT_TABLES, TABLES, columns_of, type_name
from tracekit.analyze.plots import KINDS
from tracekit.cli.main import main
from tracekit.metadata import Counters, Disk, Metadata
from tracekit.schema import ALL_EVENTS, SCHEMA, Column

ROOT = Path(__file__).parents[2]


def test_the_format_page_names_every_event_column_and_field() -> None:
    page = (ROOT / "docs" / "trace-format.md").read_text()
    named = set(re.findall(r"`(\w+)`", page))
    fields = {field.name for kind in (Metadata, Counters, Disk) for field in dataclasses.fields(kind)}
    assert {*ALL_EVENTS, *SCHEMA.names} | fields <= named


def test_the_readme_shows_the_report_as_it_is() -> None:
    page = (ROOT / "README.md").read_text()
    shown = page.split("```text\n$ tracekit report ")[1].split("\n```")[0]
    sample, *parts = shown.replace("\n", "\n[...]\n", 1).split("\n[...]\n")
    done = subprocess.run([*TRACEKIT, "report", sample], cwd=ROOT, capture_output=True, text=True, check=True)
    at = 0
    for part in parts:
        at = done.stdout.index(part, at)
    assert len(parts) == 3


@pytest.mark.parametrize("page", ["README.md", "docs/pictures.md", "docs/python.md"])
def test_the_python_of_a_page_runs(page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sample_traces").symlink_to(ROOT / "sample_traces")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)


def test_the_page_of_python_has_every_table_and_column_as_it_is() -> None:
    page = (ROOT / "docs" / "python.md").read_text()
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


def test_the_page_of_pictures_has_every_kind_with_an_example_that_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sample_traces").symlink_to(ROOT / "sample_traces")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "pictures.md").read_text()
    parts = {part.split("`")[0]: part for part in page.split("\n## `")[1:]}
    assert list(parts) == list(KINDS)
    for kind, part in parts.items():
        example = re.findall(r"\n    tracekit (plot .* sample_traces/.*)", part)[0]
        assert main([*shlex.split(example), "-o", f"{kind}.png"]) == 0
    assert len(list(tmp_path.glob("*.png"))) == len(KINDS)


def test_pictures_that_pages_show_are_there_and_small() -> None:
    for name in ("README.md", "docs/pictures.md"):
        page = ROOT / name
        shown = re.findall(r"!\[.+?\]\((.+?)\)", page.read_text())
        assert shown
        assert all((page.parent / picture).stat().st_size < 150_000 for picture in shown)
