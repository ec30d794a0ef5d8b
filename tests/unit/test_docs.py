"""The documentation names what there is."""

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest
from recording import TRACEKIT

from tracekit.metadata import Counters, Disk, Metadata
from tracekit.schema import ALL_EVENTS, SCHEMA

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


def test_the_python_of_the_readme_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})
