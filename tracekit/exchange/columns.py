"""Rows with named columns, of Parquet, Arrow, CSV and JSON lines: those that a trace knows by name, in any order."""

import codecs
import csv as plain_csv
import functools
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json

from tracekit import claims
from tracekit.errors import TraceError, UsageError, first_line
from tracekit.exchange.intake import Facts, Intake
from tracekit.exchange.lines import Block, Bools, blocks, bools, groups, numbers, text
from tracekit.exchange.messages import MAGIC, Messages, of_file
from tracekit.metadata import Anchor, Metadata
from tracekit.schema import ALL_EVENTS, COLUMNS, FAMILIES, FAMILY_OF, METADATA_KEY, SCHEMA

#: What a spreadsheet takes for a formula begins with one of these; `'` before it says that it is text.
FORMULA = "'=+-@\t\r\n"
_ESCAPED = r"^'(['=+\-@\t\r\n])"
UNITS = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}
#: What Arrow raises of bytes that are not as they should be; the last where they claim to be larger than anything.
_DAMAGES = (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError)
_TIMES = ("ts_ns", "start_ns", "duration_ns")
_ROWS, _MOST_GROUP_ROWS = 1 << 16, 1 << 31
_DIGITS = r"(?P<sign>[+-]?)(?P<whole>[0-9]{1,30})"
_DECIMALS = r"(?P<sign>[+-]?)(?P<whole>[0-9]{1,18})(?:\.(?P<fraction>[0-9]{1,18}))?"
#: A line of JSON that begins no object.
_NO_OBJECT = re.compile(rb"(?:^|\n)[ \t\r]*[^{ \t\r\n]")


@dataclass(frozen=True)
class Naming:
    """How a source calls what a trace has.

    Attributes:
        columns: our column: theirs.
        event: what each row is, where no column tells.
        unit: of the columns of time, a key of `UNITS`.
    """

    columns: Mapping[str, str]
    event: str | None = None
    unit: str = "ns"

    def __post_init__(self) -> None:
        for name in self.columns:
            if name not in SCHEMA.names:
                raise UsageError(f"a trace has no column {name!r}: it has {', '.join(SCHEMA.names)}")
        if self.event is not None and self.event not in FAMILY_OF:
            raise UsageError(f"there is no event {self.event!r}: there are {', '.join(ALL_EVENTS)}")

    def of(self, theirs: list[str]) -> dict[str, str]:
        """Our columns that a source with these has, each with its name there."""
        wanted = {name: self.columns.get(name, name) for name in SCHEMA.names}
        for ours, name in self.columns.items():
            if name not in theirs:
                raise UsageError(f"there is no column {name!r} to take {ours} from: there are {', '.join(theirs)}")
        return {ours: name for ours, name in wanted.items() if name in theirs}


class _Utf8:
    """A file whose bytes are UTF-8, whatever they are: those that are none are escaped."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._decoder = file, codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def read(self, size: int = -1) -> bytes:
        """About so many bytes; none at the end."""
        made = b""
        while not made:
            raw = self._file.read(max(size // 4, 1))  # a byte becomes four at most
            made = self._decoder.decode(raw, final=not raw).encode()
            if not raw:
                break
        return made

    def close(self) -> None:
        """It is closed by whoever opened it."""


class ColumnsReader:
    """Turns batches of named columns into rows.

    Args:
        intake: takes them.
        naming: what the columns are called.
        source: the name of the file, for messages.
    """

    def __init__(self, intake: Intake, naming: Naming, source: str) -> None:
        self._intake, self._naming, self._source = intake, naming, source
        self._number = 0
        self._wall = False
        self._escapes = False

    def parquet(self, file: BinaryIO) -> None:
        """Read a Parquet file; it must be seekable."""
        try:
            source = pa.PythonFile(file, "r")
            parquet, groups = claims.opened(source)
            mapping = self._mapping(parquet.schema_arrow.names)
            names, paths = list(dict.fromkeys(mapping.values())), [column.path for column in parquet.schema]
            leaves = [(leaf, path) for leaf, path in enumerate(paths) if {path, path.split(".")[0]} & {*names}]
            reader = functools.cache(functools.partial(claims.reader, source, parquet.metadata))
            for number, group in enumerate(groups):
                claims.check(source, parquet.schema, group, leaves, _MOST_GROUP_ROWS)
                parquet = reader(claims.coded(group, leaves))
                for batch in parquet.iter_batches(_ROWS, row_groups=[number], columns=names, use_threads=False):
                    for name, column in zip(batch.schema.names, batch.columns, strict=True):
                        claims.check_places(column, name)
                    self._take(batch, mapping)
            self._finish("parquet", parquet.metadata.metadata)
        except _DAMAGES as error:
            raise self._damaged(error) from error

    def arrow(self, file: BinaryIO) -> None:
        """Read Arrow IPC: a file or a stream."""
        try:
            if cast(io.BufferedReader, file).peek(8).startswith(MAGIC):
                schema, batches = of_file(file)
            else:
                batches = pa.ipc.open_stream(pa.PythonFile(Messages(file), "r"))
                schema = batches.schema
            mapping = self._mapping(schema.names)
            for batch in batches:
                batch.validate(full=True)
                for start in range(0, batch.num_rows, _ROWS):
                    self._take(batch.slice(start, _ROWS), mapping)
            self._finish("arrow", schema.metadata)
        except _DAMAGES as error:
            raise self._damaged(error) from error

    def csv(self, file: BinaryIO) -> None:
        """Read CSV; the first line names the columns. Commas, semicolons or tabs are between them."""
        head = file.readline(1 << 20)
        delimiter, header = header_of(head)
        mapping = self._mapping(header)
        self._escapes = True

        def broken(row: Any) -> str:
            self._intake.tally.no_sense(row.number or 0, row.text or "")
            return "skip"

        try:
            reader = pa_csv.open_csv(
                pa.PythonFile(_Utf8(file), "r"),
                pa_csv.ReadOptions(use_threads=False, block_size=1 << 22, column_names=header),
                pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=broken),
                pa_csv.ConvertOptions(
                    check_utf8=False,
                    column_types=dict.fromkeys(header, pa.binary()),
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                    include_columns=list(dict.fromkeys(mapping.values())),
                ),
            )
            self._number = 1
            for batch in reader:
                self._take(batch, mapping)
        except StopIteration:
            pass
        except _DAMAGES as error:
            if "Empty CSV file" not in str(error):
                raise self._damaged(error) from error
        self._finish("csv", None)

    def jsonl(self, file: BinaryIO) -> None:
        """Read JSON, an object a line."""
        naming = {name: self._naming.columns.get(name, name) for name in SCHEMA.names}
        schema = pa.schema([(naming[item.name], _plain(item.type)) for item in SCHEMA])
        for block in blocks(file, self._intake.tally):
            self._number = block.first - 1
            batch = self._json(block, schema)
            self._take(batch, {ours: name for ours, name in naming.items() if batch[name].null_count < len(batch)})
        self._finish("jsonl", None)

    def _json(self, block: Block, schema: pa.Schema) -> pa.RecordBatch:
        raw = b"".join(block.lines.to_pylist())
        if _NO_OBJECT.search(raw):  # of a mere `null`, Arrow's reader ends the process
            return self._json_by_line(block, schema)
        options = pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        try:
            size = pa_json.ReadOptions(use_threads=False, block_size=len(raw) + 1)
            table = pa_json.read_json(io.BytesIO(raw), size, options).combine_chunks()
            if table.num_rows == len(block):
                table.validate(full=True)
                return cast(pa.RecordBatch, table.to_batches()[0])
        except _DAMAGES:
            pass
        return self._json_by_line(block, schema)

    def _json_by_line(self, block: Block, schema: pa.Schema) -> pa.RecordBatch:
        """Lines one by one, of a block in which some are odd: all values become text, which is looked at later."""
        kept: list[dict[str, Any]] = []
        for number, line in enumerate(block.lines.to_pylist()):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, dict):
                kept.append(row)
            else:
                self._intake.tally.no_sense(block.first + number, line)
        columns = [pa.array([_as_text(row.get(name)) for row in kept], pa.binary()) for name in schema.names]
        return pa.record_batch(columns, names=schema.names)

    def _mapping(self, theirs: list[str]) -> dict[str, str]:
        if len(set(theirs)) < len(theirs):
            raise TraceError(f"{self._source} has two columns of one name: rename one of them")
        mapping = self._naming.of(theirs)
        missing = [name for name in ("ts_ns", "event") if name not in mapping]
        if "event" in missing and self._naming.event is not None:
            missing.remove("event")
        if missing:
            option = "--event NAME" if missing == ["event"] else f"--column {missing[0]}=NAME"
            raise TraceError(
                f"{self._source} has no column {' and no column '.join(missing)}: name it with {option}; "
                f"it has {', '.join(theirs[:12])}{' and more' if len(theirs) > 12 else ''}"
            )
        others = [name for name in theirs if name not in mapping.values()]
        if others:
            listed = ", ".join(others[:5]) + (" and others" if len(others) > 5 else "")
            self._intake.tally.notes.append(f"columns that a trace does not have were left out: {listed}")
        return mapping

    def _finish(self, kind: str, metadata: Mapping[bytes, bytes] | None) -> None:
        """What the source says of itself: the whole footer if it was a trace once."""
        facts = Facts(kind)
        raw = (metadata or {}).get(METADATA_KEY)
        if raw is not None:
            try:
                facts = replace(facts, metadata=Metadata.from_json(raw))
            except TraceError as error:
                raise TraceError(f"{self._source} cannot be imported: {error}") from error
        if self._wall:
            facts = replace(facts, clock="CLOCK_REALTIME", anchor=Anchor(0, 0))
        self._intake.facts = facts

    def _damaged(self, error: BaseException) -> TraceError:
        return TraceError(f"{self._source} is damaged, or not what it seems to be: {first_line(error)}")

    def _take(self, batch: pa.RecordBatch, mapping: dict[str, str]) -> None:
        """Rows that have a time, are an event and have no value that does not fit; the others make no sense."""
        if not batch.num_rows:
            return
        good = np.ones(batch.num_rows, np.bool_)
        columns: dict[str, pa.Array] = {}
        for item in COLUMNS:
            if item.name in mapping:
                columns[item.name], fits = self._converted(batch[mapping[item.name]], item.name, item.type)
                good &= fits
        if "event" not in mapping:
            columns["event"] = pa.array([self._naming.event], pa.string()).take(pa.array(np.zeros(len(good), np.int32)))
        good &= bools(columns["ts_ns"].is_valid()) if "ts_ns" in mapping else False
        event = columns["event"].cast(pa.string())
        family = pc.index_in(event, value_set=pa.array(ALL_EVENTS))
        good &= bools(family.is_valid())
        self._tell(batch, good)
        code = pc.fill_null(family, 0).to_numpy()
        place = np.array([FAMILIES.index(FAMILY_OF[name]) for name in ALL_EVENTS])[code]
        for number, name in enumerate(FAMILIES):
            mask = good & (place == number)
            if mask.all():
                self._intake.add(name, len(mask), columns)
            elif mask.any():
                where = pa.array(np.flatnonzero(mask))
                self._intake.add(name, len(where), {key: values.take(where) for key, values in columns.items()})
        self._number += batch.num_rows

    def _tell(self, batch: pa.RecordBatch, good: Bools) -> None:
        for place in np.flatnonzero(~good):
            tally = self._intake.tally
            if len(tally.examples) >= 3:
                tally.nonsense += int((~good[place:]).sum())
                break
            row = {name: _as_python(batch.column(name)[int(place)]) for name in batch.schema.names}
            values = {name: value for name, value in row.items() if value is not None}
            told = ", ".join(f"{name}={_shown(value)}" for name, value in list(values.items())[:6])
            tally.no_sense(self._number + int(place) + 1, told or "an empty row")

    def _converted(self, values: pa.Array, name: str, kind: pa.DataType) -> tuple[pa.Array, Bools]:
        """A column as a trace has it, and which of its values fit."""
        values = _unfolded(values, name)
        if name == "argv":
            return self._lists(values)
        if pa.types.is_dictionary(kind):
            return self._strings(values), np.ones(len(values), np.bool_)
        factor = UNITS[self._naming.unit] if name in _TIMES else 1
        if pa.types.is_timestamp(values.type) or pa.types.is_duration(values.type):
            self._wall |= name == "ts_ns" and pa.types.is_timestamp(values.type)
            return _scaled(values.cast(pa.int64()), UNITS[values.type.unit], kind)
        if _is_text(values.type):
            return _of_text(values, factor, kind)
        if pa.types.is_floating(values.type):
            scaled = np.nan_to_num(pc.fill_null(values.cast(pa.float64()), math.nan).to_numpy() * factor, nan=math.nan)
            sane = np.isfinite(scaled) & (np.abs(scaled) < 9e18)
            whole = sane & ((scaled == np.round(scaled)) | (name in _TIMES))
            rounded = pa.array(np.round(np.where(whole, scaled, 0)).astype(np.int64), mask=~whole)
            exact, fits = _within(rounded, kind)
            return exact, fits & (whole | bools(values.is_null()))
        if pa.types.is_integer(values.type):
            if values.type == kind and factor == 1:
                return values, np.ones(len(values), np.bool_)
            if factor > 1:
                exact, fits = _within(values, pa.int64())
                scaled, also = _scaled(exact, factor, kind)
                return scaled, fits & also
            return _within(values, kind)
        raise TraceError(
            f"{self._source} has {values.type} in the column for {name}, where a trace has "
            f"{_plain(kind)}: convert it first, or leave it out"
        )

    def _strings(self, values: pa.Array) -> pa.Array:
        if not _is_text(values.type):
            values = values.cast(pa.string())
        encoded = values.cast(pa.large_binary() if pa.types.is_large_string(values.type) else pa.binary())
        if self._escapes:
            encoded = unescaped(encoded)
        coded = encoded.cast(pa.binary()).dictionary_encode()
        return pa.DictionaryArray.from_arrays(coded.indices, text(coded.dictionary))

    def _lists(self, values: pa.Array) -> tuple[pa.Array, Bools]:
        """Arguments: a list, or a JSON list as text."""
        if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
            flat = _unfolded(values.flatten(), "argv")  # without what null ones may have
            lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy()
            ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
            missing = np.append(bools(values.is_null()), False)
            offsets = pa.array(ends, mask=missing) if missing.any() else pa.array(ends)
            return pa.ListArray.from_arrays(offsets, text(flat.cast(pa.binary()))), np.ones(len(values), np.bool_)
        if not _is_text(values.type):
            raise TraceError(
                f"{self._source} has {values.type} in the column for argv, where a list of strings belongs"
            )
        coded = values.cast(pa.binary()).dictionary_encode()
        lists = [_json_list(one) for one in coded.dictionary.to_pylist()]
        sane = np.array([one is not None for one in lists] or [True], np.bool_)
        code = pc.fill_null(coded.indices, -1).to_numpy()
        good = (code < 0) | sane[np.maximum(code, 0)]
        return pa.array(lists, pa.list_(pa.string())).take(coded.indices), good


def header_of(line: bytes) -> tuple[str, list[str]]:
    """What is between the columns that a line names, and the names."""
    head = line.decode("utf-8", "replace").removeprefix("\ufeff").rstrip("\r\n").replace("\r", " ")
    delimiter = max(",;\t", key=head.count)
    header = next(plain_csv.reader([head], delimiter=delimiter), [])
    return delimiter, [name.strip() for name in header]


def unescaped(values: pa.Array) -> pa.Array:
    """Strings without the `'` that keeps a spreadsheet from taking them for formulas."""
    return pc.replace_substring_regex(values, _ESCAPED, r"\1", max_replacements=1)


def _within(values: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Bools]:
    """Integers of a type, and which of the values are null or fit it; the others become null."""
    info, there = np.iinfo(kind.to_pandas_dtype()), bools(values.is_valid())
    low, high = int(info.min), int(info.max)
    if pa.types.is_decimal(values.type):
        bounds = [pa.scalar(Decimal(bound), pa.decimal128(20, 0)) for bound in (low, high)]
    else:
        own = np.iinfo(values.type.to_pandas_dtype())
        bounds = [pa.scalar(bound, values.type) for bound in (max(low, int(own.min)), min(high, int(own.max)))]
    fits = bools(pc.and_(pc.greater_equal(values, bounds[0]), pc.less_equal(values, bounds[1])))
    kept = values if fits.all() else pc.if_else(pa.array(fits), values, pa.scalar(None, values.type))
    return kept.cast(kind), fits | ~there


def _scaled(values: pa.Array, factor: int, kind: pa.DataType) -> tuple[pa.Array, Bools]:
    """int64 times a factor."""
    there, most = bools(values.is_valid()), (2**63 - 1) // factor
    raw = pc.fill_null(values, 0).to_numpy()
    small = (raw >= -most) & (raw <= most)
    exact, fits = _within(pa.array(np.where(small, raw, 0) * factor, mask=~(there & small)), kind)
    return exact, fits & small


def _of_text(values: pa.Array, factor: int, kind: pa.DataType) -> tuple[pa.Array, Bools]:
    """Digits, with some behind a point where they are in a larger unit."""
    good, part = groups(values.cast(pa.binary()), _DECIMALS if factor > 1 else _DIGITS)
    place = np.cumsum(good) - 1
    fits = good | bools(values.is_null())
    if factor > 1:
        whole, also = _scaled(numbers(part["whole"]), factor, pa.int64())
        # Of what is behind the point as many digits as the unit has.
        digits = len(str(factor)) - 1
        padded = pc.binary_join_element_wise(part["fraction"].cast(pa.string()), "0" * digits, "")
        below = numbers(pc.utf8_slice_codeunits(padded, 0, digits)).to_numpy()
        raw = pc.fill_null(whole, 0).to_numpy()
        also &= raw <= 2**63 - 1 - factor
        minus = bools(pc.equal(part["sign"], b"-"))
        exact, fit = _within(pa.array(np.where(also, np.where(minus, -(raw + below), raw + below), 0)), kind)
        fit &= also
    else:
        signed = pc.binary_join_element_wise(pc.replace_substring(part["sign"], b"+", b""), part["whole"], b"")
        try:
            exact, fit = _within(signed.cast(pa.string()).cast(pa.int64()), kind)
        except pa.ArrowInvalid:  # more than 64 bits, or all of them
            exact, fit = _within(signed.cast(pa.string()).cast(pa.decimal128(38, 0)), kind)
    fits[good] = fit
    return exact.take(pa.array(np.maximum(place, 0), mask=~good)), fits


def _unfolded(values: pa.Array, name: str) -> pa.Array:
    """Values by themselves, if they were those of a dictionary, or places in a text that many may share."""
    folded = pa.types.is_dictionary(values.type)
    texts = values.dictionary if folded else values
    if pa.types.is_string_view(texts.type) or pa.types.is_binary_view(texts.type):
        claims.check_unfolded(texts, name)
        texts = texts.cast(pa.string() if pa.types.is_string_view(texts.type) else pa.binary())
        values = pa.DictionaryArray.from_arrays(values.indices, texts) if folded else texts
    if not folded:
        return values
    if _is_text(texts.type):
        claims.check_unfolded(values, name)
    return values.dictionary_decode()


def _is_text(kind: pa.DataType) -> bool:
    return any(
        is_kind(kind)
        for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    )


def _json_list(raw: bytes) -> list[str] | None:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, list) and all(isinstance(one, str) for one in found):
        return [one.encode("utf-8", "backslashreplace").decode() for one in found]
    return None


def _as_text(value: Any) -> bytes | None:
    if value is None:
        return None
    made = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return made.encode("utf-8", "backslashreplace")


def _as_python(value: pa.Scalar) -> Any:
    """A value as Python has it; a time beyond the calendar as the number that it is."""
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return getattr(value, "value", "?")


def _shown(value: Any) -> str:
    made = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return made if len(made) <= 40 else f"{made[:37]}..."


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
