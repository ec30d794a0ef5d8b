"""The notebooks run on the sample traces, and end with the answer that they show."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
by_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def printed(notebook: Any) -> list[str]:
    return [one.text for cell in notebook.cells for one in cell.get("outputs", []) if one.output_type == "stream"]


def pictures(notebook: Any) -> int:
    return sum("image/png" in one.get("data", {}) for cell in notebook.cells for one in cell.get("outputs", []))


@by_notebook
def test_it_runs_and_says_what_is_shown(path: Path) -> None:
    shown = nbformat.read(path, as_version=4)
    run = nbformat.read(path, as_version=4)
    NotebookClient(run, timeout=120, resources={"metadata": {"path": path.parent}}).execute()

    assert printed(run) == printed(shown)
    assert run.cells[-1].outputs[0].text == shown.cells[-1].outputs[0].text
    assert pictures(run) == pictures(shown) > 0


@by_notebook
def test_it_begins_with_a_question_and_is_small(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert "?" in notebook.cells[0].source
    assert path.stat().st_size < 300_000
    assert "execution" not in "".join(str(cell.metadata) for cell in notebook.cells)
    assert "version" not in notebook.metadata.language_info
    assert not re.search(r"/(home|root|tmp/ipykernel)", path.read_text())


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} >= {"first-look", "disk-latency", "service-that-could-not-start"}
