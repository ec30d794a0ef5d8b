"""The rows of a trace as CSV, JSON lines or Arrow: the same columns, for programs that read no Parquet.

Nothing runs per event: strings recur, so that each distinct one is escaped once, and Arrow puts lines together.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from tracekit.exchange.columns import FORMULA
from tracekit.exchange.lines import bools
from tracekit.schema import COLUMNS, METADATA_KEY, SCHEMA
from tracekit.trace import Trace

# Rows of one piece of output: what is in memory at a time.
_ROWS = 1 << 15


def to_csv(trace: Trace, sink: BinaryIO, events: Sequence[str] = ()) -> int:
    """Write CSV; null is nothing, and an empty string is `""`.

    A string that a spreadsheet would take for a formula gets a `'` in front, and so does one that begins with `'`.
    `tracekit import` takes it away again. Arguments are a JSON list.

    Returns:
        How many rows were written.
    """
    schema = _plain(_columns(events))
    flat = pa.schema([(item.name, pa.string() if item.name == "argv" else item.type) for item in schema])
    rows = 0
    with pa_csv.CSVWriter(sink, flat) as writer:
        for batch in _pieces(trace, events):
            arrays = [
                _json_lists(array) if name == "argv" else _mapped(array, _defused) if _is_text(array) else array
                for name, array in zip(batch.schema.names, batch.columns, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=flat))
            rows += batch.num_rows
    return rows


def to_jsonl(trace: Trace, sink: BinaryIO, events: Sequence[str] = ()) -> int:
    """Write a JSON object a line; what is null is left out.

    Returns:
        How many rows were written.
    """
    rows = 0
    for batch in _pieces(trace, events):
        fields = []
        for name, array in zip(batch.schema.names, batch.columns, strict=True):
            value = _json_lists(array) if name == "argv" else _mapped(array, json.dumps) if _is_text(array) else array
            if value.null_count < len(value):
                fields.append(pc.binary_join_element_wise(f'"{name}":', value.cast(pa.string()), ""))
        lines = pc.binary_join_element_wise(*fields, ",", null_handling="skip")
        sink.write(pc.binary_join_element_wise("{", lines, "}\n", "").buffers()[2])
        rows += batch.num_rows
    return rows


def to_arrow(trace: Trace, sink: BinaryIO, events: Sequence[str] = (), stream: bool = False) -> int:
    """Write Arrow IPC, as a file or as a stream; the footer of the trace is in the schema's metadata.

    Returns:
        How many rows were written.
    """
    schema = _plain(_columns(events)).with_metadata({METADATA_KEY: trace.metadata.to_json().encode()})
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    rows = 0
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, schema, options=options) as writer:
        for batch in _pieces(trace, events):
            arrays = [_mapped(array, str) if _is_text(array) else array for array in batch.columns]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            rows += batch.num_rows
    return rows


def _columns(events: Sequence[str]) -> list[str]:
    """All columns, or those that some of these events fill."""
    if not events:
        return list(SCHEMA.names)
    return [column.name for column in COLUMNS if any(column.of_event(event) for event in events)]


def _plain(names: Sequence[str]) -> pa.Schema:
    kinds = [SCHEMA.field(name).type for name in names]
    return pa.schema(
        [
            (name, kind.value_type if pa.types.is_dictionary(kind) else kind)
            for name, kind in zip(names, kinds, strict=True)
        ]
    )


def _pieces(trace: Trace, events: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for batch in trace.batches(*events, columns=_columns(events)):
        for start in range(0, batch.num_rows, _ROWS):
            yield batch.slice(start, _ROWS)


def _is_text(array: pa.Array) -> bool:
    return bool(pa.types.is_dictionary(array.type) or pa.types.is_string(array.type))


def _mapped(array: pa.Array, made: Callable[[str], str]) -> pa.Array:
    """Each string as something makes it, which is asked once for each distinct one."""
    coded = array if isinstance(array, pa.DictionaryArray) else array.dictionary_encode()
    used, code = np.unique(pc.fill_null(coded.indices, -1).to_numpy(), return_inverse=True)
    strings = coded.dictionary.take(pa.array(used[used >= 0]))
    values: list[str | None] = [made(one) for one in strings.to_pylist()]
    if len(used) > len(values):  # the first is null
        values = [None, *values]
    return pa.array(values, pa.string()).take(pa.array(code))


def _json_lists(array: pa.Array) -> pa.Array:
    """Lists of strings as JSON."""
    values = _mapped(array.flatten(), json.dumps)
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
    lists = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)), values)
    joined = pc.binary_join_element_wise("[", pc.binary_join(lists, ","), "]", "")
    return pc.if_else(pa.array(bools(array.is_valid())), joined, pa.scalar(None, pa.string()))


def _defused(string: str) -> str:
    return f"'{string}" if string[:1] and string[:1] in FORMULA else string
