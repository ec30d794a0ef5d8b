"""What a report is measured beside, each a process of its own: analyze_peers.py scan|families|duckdb|pandas TRACE."""

import json
import sys

import click
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
_PERCENTILES = [0.5, 0.9, 0.99, 0.999]
#: Latencies of I/O, each for all and by these columns.
_BLOCK = {"queue": ("", "disk, op"), "device": ("", "disk, op"), "total": ("", "disk, op", "comm")}


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
    """The latencies of a report by window functions, as SQL says them shortly and DuckDB runs them fast."""
    import duckdb as db

    def tell(metric: str, ns: str, rows: str, groupings: tuple[str, ...]) -> None:
        for by in groupings:
            figures = f"count({ns}), min({ns}), max({ns}), quantile_cont({ns}, {_PERCENTILES})"
            keys = ", ".join(f"coalesce({name}, '')" for name in by.split(", ") if name)
            groups = f"group by {by}" if by else ""
            query = f"select [{keys}], {figures} from {rows} where {ns} is not null {groups}"
            for group, count, least, greatest, percentiles in db.execute(query).fetchall():
                _tell(metric, group, count, least, greatest, percentiles)

    # Once into a table and then group by group: in half the time of one query with all of them, which holds all values.
    db.execute(
        f"""create temp table request as
        select disk, op, comm, second_ns - ts_ns as queue, third_ns - second_ns as device, third_ns - ts_ns as total
        from (
            select event, ts_ns, disk, op, comm,
                lead(event) over w as second, lead(ts_ns) over w as second_ns,
                lead(event, 2) over w as third, lead(ts_ns, 2) over w as third_ns
            from read_parquet('{trace}') where event in ('block_start', 'block_issue', 'block_complete')
            window w as (partition by dev, request order by ts_ns))
        where event = 'block_start' and second = 'block_issue' and third = 'block_complete'"""
    )
    for metric, groupings in _BLOCK.items():
        tell(f"block.{metric}", metric, "request", groupings)
    of = f"(select * from read_parquet('{trace}') where event ="
    tell("open", "duration_ns", f"{of} 'open')", ("", "comm"))
    tell("process.lifetime", "ts_ns - start_ns", f"{of} 'exit')", ("", "comm"))


def pandas(trace: str) -> None:
    """The same, as one would write it down."""
    import pandas as pd

    def tell(metric: str, rows: pd.DataFrame, ns: str, groupings: tuple[str, ...]) -> None:
        for by in groupings:
            names = by.split(", ") if by else []
            groups = rows.groupby(names, observed=True)[ns] if names else [((), rows[ns])]
            for group, values in groups:
                told = values.quantile(_PERCENTILES).tolist()
                _tell(metric, [str(name) for name in group], len(values), int(values.min()), int(values.max()), told)

    columns = ["ts_ns", "event", "dev", "request", "disk", "op", "comm", "duration_ns", "start_ns"]
    frame = pd.read_parquet(trace, columns=columns)
    block = frame[frame.event.isin(["block_start", "block_issue", "block_complete"])].sort_values(
        "ts_ns", kind="stable"
    )
    slots = block.groupby(["dev", "request"], observed=True)
    later = {name: (slots.event.shift(-n), slots.ts_ns.shift(-n)) for n, name in ((1, "second"), (2, "third"))}
    (second, second_ns), (third, third_ns) = later["second"], later["third"]
    block = block.assign(queue=second_ns - block.ts_ns, device=third_ns - second_ns, total=third_ns - block.ts_ns)
    whole = (block.event == "block_start") & (second == "block_issue") & (third == "block_complete")
    for metric, groupings in _BLOCK.items():
        tell(f"block.{metric}", block[whole], metric, groupings)
    opens, exits = frame[frame.event == "open"], frame[frame.event == "exit"]
    tell("open", opens, "duration_ns", ("", "comm"))
    tell("process.lifetime", exits.assign(ns=exits.ts_ns - exits.start_ns), "ns", ("", "comm"))


def _tell(metric: str, group: list[str], count: int, least: int, greatest: int, percentiles: list[float]) -> None:
    click.echo(json.dumps((metric, group, count, least, greatest, percentiles)))


if __name__ == "__main__":
    {"scan": scan, "families": families, "duckdb": duckdb, "pandas": pandas}[sys.argv[1]](sys.argv[2])
