"""A real recording, read by others: pandas, Polars and DuckDB see the same rows."""

import duckdb
import pandas as pd
import polars as pl
import pytest
from recording import WORKLOAD, Recorder

pytestmark = pytest.mark.kernel

COLUMNS = ["ts_ns", "event", "cpu", "pid", "comm", "path", "argv", "ret", "start_ns", "exit_code", "sector", "bytes"]


def test_the_same_rows(record: Recorder) -> None:
    path = record(*WORKLOAD, "exits").trace.path

    rows = pl.read_parquet(path, columns=COLUMNS).rows()
    assert len(rows) > 100
    assert duckdb.sql(f"select {', '.join(COLUMNS)} from '{path}'").fetchall() == rows
    frame = pd.read_parquet(path, columns=COLUMNS, dtype_backend="pyarrow")
    shown = [tuple(None if value is pd.NA else value for value in row) for row in frame.itertuples(index=False)]
    assert shown == rows
