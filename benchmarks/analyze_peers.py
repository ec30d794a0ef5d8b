"""What a report is measured beside, each a process of its own: analyze_peers.py scan|families|duckdb|pandas TRACE."""

import sys

import click
import numpy as np
import pyarrow.parquet as pq

#: The columns that a report uses, by family.
_USED = {
    "process": (
        *("ts_ns", "event", "pid", "ppid", "comm", "cgroup", "path", "ret", "start_ns", "exit_code", "exit_signal"),
    ),
    "block": (
        *("ts_ns", "event", "dev", "request", "sector", "bytes", "op", "disk", "comm", "cgroup", "flags", "ret", "pid"),
    ),
    "open": ("ts_ns", "comm", "cgroup", "path", "ret", "duration_ns", "flags"),
}
_PERCENTILES = (0.5, 0.9, 0.99, 0.999)


def scan(trace: str) -> None:
    """Read the columns that a report uses, of all rows, as pyarrow does it by itself."""
    used = sorted({name for columns in _USED.values() for name in columns})
    click.echo(sum(len(batch) for batch in pq.ParquetFile(trace).iter_batches(columns=used)))


def families(trace: str) -> None:
    """Read of the row groups of each family only the columns that a report uses of it."""
    file, rows = pq.ParquetFile(trace, memory_map=True), 0
    for group in range(file.num_row_groups):
        statistics = file.metadata.row_group(group).column(1).statistics
        family = "open" if statistics.min == "open" else "block" if statistics.min.startswith("block") else "process"
        rows += file.read_row_group(group, columns=list(_USED[family])).num_rows
    click.echo(rows)


def duckdb(trace: str) -> None:
    """Latencies of I/O by disk and op, of opens by command, and of processes, by window functions."""
    import duckdb as db

    figures = f"count(*), min(ns), max(ns), avg(ns), quantile_cont(ns, {list(_PERCENTILES)})"
    queries = (
        f"""select disk, op, event, {figures} from (
            select disk, op, event, lead(event) over w as following, lead(ts_ns) over w - ts_ns as ns
            from read_parquet('{trace}') where event in ('block_start', 'block_issue', 'block_complete')
            window w as (partition by dev, request order by ts_ns))
        where event = 'block_start' and following = 'block_issue'
           or event = 'block_issue' and following = 'block_complete' group by all""",
        f"select comm, {figures} from (select comm, duration_ns as ns from read_parquet('{trace}') "
        "where event = 'open') group by all",
        f"select comm, {figures} from (select comm, ts_ns - start_ns as ns from read_parquet('{trace}') "
        "where event = 'exit') group by all",
    )
    for query in queries:
        click.echo(db.execute(query).fetchall())


def pandas(trace: str) -> None:
    """The same, as one would write it down."""
    import pandas as pd

    columns = ["ts_ns", "event", "dev", "request", "disk", "op", "comm", "duration_ns", "start_ns"]
    frame = pd.read_parquet(trace, columns=columns)
    block = frame[frame.event.isin(["block_start", "block_issue", "block_complete"])].sort_values(
        "ts_ns", kind="stable"
    )
    slots = block.groupby(["dev", "request"], observed=True)
    block = block.assign(following=slots.event.shift(-1), ns=slots.ts_ns.shift(-1) - block.ts_ns)
    queue = block[(block.event == "block_start") & (block.following == "block_issue")]
    device = block[(block.event == "block_issue") & (block.following == "block_complete")]
    opens, exits = frame[frame.event == "open"], frame[frame.event == "exit"]
    exits = exits.assign(ns=exits.ts_ns - exits.start_ns)
    for part, by, column in (
        (queue, ["disk", "op"], "ns"),
        (device, ["disk", "op"], "ns"),
        (opens, ["comm"], "duration_ns"),
        (exits, ["comm"], "ns"),
    ):
        groups = part.groupby(by, observed=True)[column]
        click.echo((groups.agg(["count", "min", "max", "mean"]), groups.quantile(np.array(_PERCENTILES))))


if __name__ == "__main__":
    {"scan": scan, "families": families, "duckdb": duckdb, "pandas": pandas}[sys.argv[1]](sys.argv[2])
