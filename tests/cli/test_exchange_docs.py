"""The commands of the page on traffic with other tools run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tracekit import open_trace
from tracekit.exchange.bring import FORMATS
from tracekit.exchange.give import ENDINGS
from tracekit.exchange.perf import COMMAND

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "exchange.md").read_text()


def test_the_commands_run(tmp_path: Path) -> None:
    (tmp_path / "sample_traces").symlink_to(ROOT / "sample_traces")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    # Others take recordings of other tools.
    blocks = [block for block in blocks if "sample_traces" in block or "strange.csv" in block]
    assert len(blocks) == 3
    for block in blocks:
        subprocess.run(["sh", "-e", "-c", block], cwd=tmp_path, env=environment, check=True, timeout=300)
    sample = open_trace(ROOT / "sample_traces" / "service-restart.parquet")
    assert open_trace(tmp_path / "again.parquet").counts == sample.counts
    rows = open_trace(tmp_path / "strange.parquet").table("open", columns=["ts_ns", "path", "ret"]).to_pylist()
    assert rows == [
        {"ts_ns": 250_000_000, "path": "/etc/passwd", "ret": 3},
        {"ts_ns": 750_000_000, "path": "/etc/none", "ret": -2},
    ]


def test_the_page_names_what_there_is() -> None:
    from tracekit.cli import export, import_

    assert import_.FORMATS == FORMATS
    assert set(export.FORMATS) == set(ENDINGS.values())
    assert COMMAND in " ".join(PAGE.replace("\\", " ").split()).replace("-i perf.data ", "")
