"""What a report is timed beside works out the same latencies."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from laboratory.large import write_large

from tracekit import open_trace
from tracekit.analyze import analyze

PEERS = Path(__file__).parents[2] / "benchmarks" / "analyze_peers.py"


@pytest.mark.parametrize("peer", ["duckdb", "pandas"])
def test_a_peer_tells_the_same_latencies(peer: str, tmp_path: Path) -> None:
    path = tmp_path / "large.parquet"
    write_large(path, 50_000)
    printed = subprocess.run([sys.executable, PEERS, peer, path], check=True, capture_output=True, text=True).stdout
    told = {(metric, *sorted(group)): figures for metric, group, *figures in map(json.loads, printed.splitlines())}
    mine = {(one.metric, *sorted(one.group.values())): one for one in analyze(open_trace(path)).latency}
    assert told.keys() == mine.keys()
    for key, (count, least, greatest, percentiles) in told.items():
        one = mine[key]
        assert (one.count, one.min_ns, one.max_ns) == (count, least, greatest)
        # Where values are few, as beyond the median, a peer takes what lies between two of them, a report one of them.
        if count > 1000:
            assert one.p50_ns == pytest.approx(percentiles[0], rel=0.01)
