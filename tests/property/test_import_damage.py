"""Whatever becomes of a file on its way: it is imported, or one line says why not."""

import tempfile
from pathlib import Path

import foreign
from damage import small_trace
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit import open_trace
from tracekit.analyze import analyze
from tracekit.errors import TracekitError
from tracekit.exchange.bring import FORMATS, Import, bring
from tracekit.exchange.give import Export, give


def _tables() -> list[tuple[str, bytes]]:
    with tempfile.TemporaryDirectory() as name:
        trace = small_trace(Path(name) / "trace.parquet")
        made = [("parquet", trace.read_bytes())]
        for kind in ("csv", "jsonl", "arrow"):
            give(Export(trace, Path(name) / f"rows.{kind}"))
            made.append((kind, (Path(name) / f"rows.{kind}").read_bytes()))
    return made


SEEDS = [
    ("perf", foreign.PERF),
    ("blkparse", foreign.BLKPARSE),
    ("blktrace", foreign.BLKTRACE),
    *(("tools", one) for one in foreign.TOOLS),
    *_tables(),
]
PIECES = [
    b"9999999999",
    b"-",
    b"18446744073709551615",
    b"1.5",
    b"\n",
    b'"',
    b"'",
    b"\0",
    b"\r",
    b"\xff",
    b"null",
    b"{",
    b"\xff" * 9,
]
EDIT = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 20), st.sampled_from(PIECES) | st.binary(max_size=9))


@settings(max_examples=150)
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(EDIT, min_size=1, max_size=6),
    named=st.none() | st.sampled_from(FORMATS),
)
def test_a_damaged_file(seed: tuple[str, bytes], edits: list[tuple[float, int, bytes]], named: str | None) -> None:
    kind, content = seed
    for place, gone, put in edits:
        at = int(place * len(content))
        content = content[:at] + put + content[at + gone :]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "input").write_bytes(content)
        said = None
        try:
            bring(Import((folder / "input",), folder / "out.parquet", named or kind))
        except TracekitError as error:
            said = str(error)
        if said is not None:
            assert said.count("\n") == 0
            assert [path.name for path in folder.iterdir()] == ["input"]
        else:
            trace = open_trace(folder / "out.parquet")
            assert analyze(trace).trace.events == trace.counts
            give(Export(folder / "out.parquet", folder / "out.pftrace"))
