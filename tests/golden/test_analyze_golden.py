"""The report of one recording, as text and as JSON, character by character.

TRACEKIT_UPDATE_GOLDEN=1 writes the files anew: read the difference before it is committed.
"""

import os
from pathlib import Path

import pytest
from scenarios import everything

from tracekit.analyze import analyze
from tracekit.analyze.report.json import to_json
from tracekit.analyze.report.text import to_text

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    before = Path.cwd()
    os.chdir(folder)  # so that the report names the file without a folder
    try:
        return analyze(everything().trace(Path("trace.parquet")))
    finally:
        os.chdir(before)


@pytest.mark.parametrize(("name", "render"), [("report.txt", to_text), ("report.json", to_json)])
def test_report(report, name, render):
    golden = HERE / name
    if os.environ.get("TRACEKIT_UPDATE_GOLDEN"):
        golden.write_text(render(report) + "\n", encoding="utf-8")
    assert render(report) + "\n" == golden.read_text(encoding="utf-8")
