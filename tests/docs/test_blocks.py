"""What the test of pages rests on: which blocks it lets pass, and which output it takes for that of a page."""

from pathlib import Path

import pytest
from blocks import Step, blocks_of, write_anew


@pytest.mark.parametrize(
    ("page", "passes"),
    [
        ("```sh\ntracekit report trace.parquet\n```\n", True),
        ("```console\n$ sudo tracekit doctor\nThis machine\n```\n", True),
        ("```text\nkernel -> trace\n```\n", True),
        ("<!-- not run: it installs packages -->\n```sh\nsudo apt install make\n```\n", True),
        ("```sh\nsudo apt install make\n```\n", False),
        ("```console\nwithout a command\n```\n", False),
        ("```text\n$ tracekit report trace.parquet\n```\n", False),
        ("<!-- not run: it is far away -->\n\nwords\n\n```sh\nsudo apt install make\n```\n", False),
        ("```\ntracekit report trace.parquet\n```\n", False),
        ("words\n\n    tracekit report trace.parquet\n", False),
    ],
)
def test_a_block_is_run_or_says_why_not(page: str, passes: bool, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(page)
    assert [block.wrong() is None for block in blocks_of(tmp_path / "page.md")] == [passes]


@pytest.mark.parametrize(
    ("shown", "agrees"),
    [
        ("a\nb\nc\nd", True),
        ("a\n[...]\nd", True),
        ("[...]\nb\nc\n[...]", True),
        ("a\nb", False),
        ("b\n[...]", False),
        ("[...]\nc\n[...]\nb\n[...]", False),
        ("a\n[...]\nx", False),
        ("", False),
    ],
)
def test_output_agrees_but_for_what_is_left_out(shown: str, agrees: bool) -> None:
    assert Step("tracekit", tuple(shown.splitlines())).agrees("a\nb  \nc\nd\n") is agrees


def test_output_is_written_anew_with_the_same_left_out(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n```console\n$ tracekit\none\n[...]\nthree\nfour\n[...]\n```\n\nwords\n")
    block = blocks_of(page)[0]
    anew = block.steps()[0].anew("one!\none\ntwo\nthree\n4\n5\n")
    write_anew(page, block, ["$ tracekit", *anew])
    assert page.read_text() == "# A page\n\n```console\n$ tracekit\none!\none\n[...]\nthree\n4\n[...]\n```\n\nwords\n"
