"""What becomes of files on their way, and what somebody makes of them on purpose: valid around what is wrong.

Flipped bits alone end at the first checksum. Here tables get odd values, names and types, footers get odd JSON, members
of zip files and of journals are changed, and then all is put together again with the checksums that belong to it.
"""

import hashlib
import io
import json
import re
import string
import warnings
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tracekit.bundle import CHECKSUMS, TRACE
from tracekit.schema import ALL_EVENTS, METADATA_KEY

#: Damages bytes that are of no structure that is known here.
Blind = Callable[[bytes], bytes]

_INTS = (0, 1, -1, 2, 255, 65535, 2**31 - 1, 2**31, -(2**31), 2**32 - 1, 2**62, 2**63 - 1, -(2**63), 2**64 - 1)
_STRINGS = (b"", b"\xff\xfe", b"\0", b"\x1b[2J", b"\xed\xa0\x80", b"'=1", b"x" * 5000, "\u202e\u2028".encode())
_JSON: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**63 - 1,
    -(2**63),
    2**70,
    1e300,
    "",
    "\ud800",
    "\x1b[2J\n",
    [],
    {},
    [[]],
    {"": None},
)
_CODECS = ("none", "zstd", "snappy", "gzip", "lz4")
_ROWS = 500


def blindly(raw: bytes, random: Random) -> bytes:
    """A few bytes changed, left out, put in or repeated."""
    changed = bytearray(raw)
    for _ in range(random.randint(1, 4)):
        at, length = random.randrange(len(changed) + 1), random.randint(0, 16)
        put = random.choice((random.randbytes(length), b"\xff" * length, changed[at : at + length] * 3))
        changed[at : at + random.choice((0, length))] = put
    return bytes(changed)


def parquet(raw: bytes, random: Random, blind: Blind) -> bytes:
    """A Parquet file: blindly, or in its footer, or written anew."""
    way = random.randrange(4)
    if way == 0:
        return blind(raw)
    if way == 1 and len(raw) > 12:
        start = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
        if start > 4:
            footer = blind(raw[start:-8])
            return raw[:start] + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    try:
        changed = _table(read_parquet(raw), random)
        return write_parquet(
            changed,
            rows=random.choice((7, 50, _ROWS)),
            use_dictionary=random.random() < 0.5,
            compression=random.choice(_CODECS),
            data_page_size=random.choice((64, 1 << 20)),
            data_page_version=random.choice(("1.0", "2.0")),
            write_statistics=random.random() < 0.5,
            write_page_checksum=random.random() < 0.5,
            store_schema=random.random() < 0.8,
        )
    except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError):
        return blind(raw)


def read_parquet(raw: bytes) -> pa.Table:
    """Rows, and the footer's metadata as that of the schema."""
    file = pq.ParquetFile(io.BytesIO(raw))
    return file.read(use_threads=False).replace_schema_metadata(file.metadata.metadata)


def write_parquet(table: pa.Table, rows: int = _ROWS, **options: Any) -> bytes:
    """The file of which that is read."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema.remove_metadata(), **options) as writer:
        writer.write_table(table.replace_schema_metadata(None), rows)
        writer.add_key_value_metadata(table.schema.metadata or {})
    return sink.getvalue()


def arrow(raw: bytes, random: Random, blind: Blind) -> bytes:
    """Arrow IPC, a file or a stream: blindly, or written anew."""
    if random.random() < 0.5:
        return blind(raw)
    try:
        table = (pa.ipc.open_file if raw.startswith(b"ARROW1") else pa.ipc.open_stream)(raw).read_all()
        table.validate(full=True)
        made = _table(table, random)
        sink = io.BytesIO()
        options = pa.ipc.IpcWriteOptions(compression=random.choice((None, "lz4", "zstd")))
        with random.choice((pa.ipc.new_file, pa.ipc.new_stream))(sink, made.schema, options=options) as writer:
            writer.write_table(made, max_chunksize=random.choice((7, 50, _ROWS)))
        return sink.getvalue()
    except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError):
        return blind(raw)


def bundle(raw: bytes, random: Random, blind: Blind) -> bytes:
    """A zip file: blindly, or one of its files, under the right checksum or a wrong one."""
    members = unzipped(raw)
    if not members or random.random() < 0.2:
        return blind(raw)
    name = random.choice([*members, TRACE])
    content = members.get(name, b"")
    members[name] = parquet(content, random, blind) if name == TRACE else blind(content)
    if random.random() < 0.1:
        members[random.choice(("../x", "/etc/x", "a/b", "", ".", "\0", "x" * 300))] = blind(content)
    if random.random() < 0.8:
        members[CHECKSUMS] = f"{hashlib.sha256(members.get(TRACE, b'')).hexdigest()}  {TRACE}\n".encode()
    return zipped(members, random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def journal(raw: bytes, random: Random, blind: Blind) -> bytes:
    """A journal as a zip file: one of its files, and nearly always the checksums to it."""
    members = unzipped(raw)
    if not members:
        return blind(raw)
    name = random.choice(sorted(members))
    if not name.endswith(".account"):
        members[name] = arrow(members[name], random, blind)
    elif random.random() < 0.3:
        members[name] = blind(members[name])
    else:
        lines = members[name].split(b"\n")
        place = random.randrange(len(lines))
        lines[place] = bytes(9) + json_text(lines[place][9:], random)
        members[name] = b"\n".join(lines)
    if random.random() < 0.1:
        members.pop(random.choice(sorted(members)))
    if random.random() < 0.9:
        members = {name: _sealed(name, content, members) for name, content in members.items()}
    return zipped(members)


def _sealed(name: str, content: bytes, members: dict[str, bytes]) -> bytes:
    """An account that vouches for what is there, line by line; whatever else as it is."""
    if not name.endswith(".account"):
        return content
    lines = content.split(b"\n")
    return b"\n".join(_sealed_line(name, line[9:], members) if line else b"" for line in lines)


def _sealed_line(name: str, line: bytes, members: dict[str, bytes]) -> bytes:
    try:
        told = json.loads(line)
        for stream, mark in told.get("streams", {}).items():
            content = members.get(f"{name.removesuffix('.account')}.{stream}.arrows", b"")
            mark[:] = len(content), zlib.crc32(content)
        line = json.dumps(told, ensure_ascii=False).encode()
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, RecursionError):
        pass
    return b"%08x " % zlib.crc32(line) + line


def json_text(raw: bytes, random: Random) -> bytes:
    """JSON with an odd value somewhere."""
    try:
        whole = [json.loads(raw)]
    except (ValueError, RecursionError):
        return raw
    places = list(_places(whole))
    for _ in range(random.randint(1, 3)):
        within, key = random.choice(places)
        way = random.randrange(3)
        try:
            if way == 0:
                del within[key]
            elif way == 1 and isinstance(within[key], int):
                within[key] += random.choice((1, -1, 1000, -(10**9), 10**12))
            else:
                within[key] = random.choice((*_JSON, whole[0] if random.random() < 0.05 else 7))
        except (LookupError, TypeError):
            pass
    try:
        return json.dumps(whole[0] if whole else None, ensure_ascii=random.random() < 0.5).encode()
    except (ValueError, RecursionError):  # it holds itself, or a surrogate that is no text
        return raw


def _places(within: Any) -> Any:
    for key, value in list(within.items() if isinstance(within, dict) else enumerate(within)):
        yield within, key
        if isinstance(value, dict | list):
            yield from _places(value)


def unzipped(raw: bytes) -> dict[str, bytes]:
    """The files of a zip file; nothing if it is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as file:
            return {one.filename: file.read(one) for one in file.infolist() if one.file_size < 1 << 24}
    except Exception:  # whatever is wrong with it, it is not for this to say
        return {}


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file of these."""
    sink = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(sink, "w", method) as file:
        warnings.simplefilter("ignore")
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, method)
    return sink.getvalue()


def _table(table: pa.Table, random: Random) -> pa.Table:
    """A table with odd values, rows, columns or metadata."""
    table = table.slice(0, _ROWS)
    for _ in range(random.randint(1, 4)):
        if not table.num_columns:
            break
        place = random.randrange(table.num_columns)
        way = random.choices((_values, _rows, _columns, _metadata), (6, 2, 1, 3))[0]
        table = way(table, place, random)
    return table


def _values(table: pa.Table, place: int, random: Random) -> pa.Table:
    """Odd values in a column."""
    column, item = table.column(place), table.schema.field(place)
    kind = item.type.value_type if pa.types.is_dictionary(item.type) else item.type
    values = column.cast(kind).to_pylist() if not _is_text(kind) else column.cast(kind).cast(pa.binary()).to_pylist()
    lists = pa.types.is_list(kind)
    if lists:
        values = [one if one is None else list(one) for one in _bytes_of(column)]
    if not values:
        return table
    odd = _odd(values, kind, lists, random)
    everywhere = random.random() < 0.2
    for _ in range(len(values) if everywhere else random.randint(1, 3)):
        values[random.randrange(len(values))] = odd if everywhere else _odd(values, kind, lists, random)
    if lists:
        made = _as_text(pa.array(values, pa.list_(pa.binary())), kind)
    elif _is_text(kind):
        made = _as_text(pa.array(values, pa.binary()), kind)
    else:
        made = pa.array(values, kind)
    return table.set_column(place, item.with_type(made.type), made)


def _bytes_of(column: pa.ChunkedArray) -> Any:
    return column.cast(pa.list_(pa.binary())).to_pylist()


def _as_text(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Bytes as strings, whether or not they are UTF-8."""
    made = pc.cast(array, options=pc.CastOptions(kind, allow_invalid_utf8=True))
    return made.dictionary_encode() if _is_text(kind) else made


def _odd(values: list[Any], kind: pa.DataType, lists: bool, random: Random) -> Any:
    if random.random() < 0.1:
        return None
    if lists:
        return [random.choice(_STRINGS)] * random.choice((0, 1, 2, 40))
    if _is_text(kind):
        return random.choice((*_STRINGS, random.choice(ALL_EVENTS).encode(), random.choice(values)))
    if pa.types.is_integer(kind):
        low, high = (0, 2**kind.bit_width) if "u" in str(kind) else (-(2 ** (kind.bit_width - 1)),) * 2
        low, high = (low, high) if low == 0 else (low, -low)
        near = random.choice([one for one in values if one is not None] or [0]) + random.choice((-1, 1, 10**6, 10**9))
        fitting = [one for one in (*_INTS, near, near) if low <= one < high]
        return random.choice(fitting)
    return random.choice(values)


def _rows(table: pa.Table, place: int, random: Random) -> pa.Table:
    """Rows in another order, again, or none."""
    number = list(range(table.num_rows))
    way = random.randrange(4)
    if way == 0:
        random.shuffle(number)
    elif way == 1:
        number = number[: random.randrange(len(number) + 1)] * random.randint(1, 3)
    elif way == 2:
        number = sorted(number, key=lambda one: one % 7)
    else:
        number = number[random.randrange(len(number) + 1) :]
    return table.take(pa.array(number[:_ROWS], pa.int64()))


def _columns(table: pa.Table, place: int, random: Random) -> pa.Table:
    """A column of another type or name, or none."""
    item = table.schema.field(place)
    way = random.randrange(4)
    if way == 0:
        return table.remove_column(place)
    if way == 1:
        return table.append_column(random.choice((item.name, "".join(random.choices(string.printable, k=3)))), table[0])
    if way == 2:
        return table.set_column(place, item.with_nullable(False), table.column(place))
    kinds = (pa.string(), pa.large_string(), pa.binary(), pa.float64(), pa.int64(), pa.timestamp("us"), pa.bool_())
    return table.set_column(place, item.name, table.column(place).cast(random.choice(kinds), safe=False))


def _metadata(table: pa.Table, place: int, random: Random) -> pa.Table:
    """Another footer."""
    metadata = dict(table.schema.metadata or {})
    metadata[METADATA_KEY] = json_text(metadata.get(METADATA_KEY, b"{}"), random)
    return table.replace_schema_metadata(metadata)


def _is_text(kind: pa.DataType) -> bool:
    return bool(re.match("(large_)?(string|binary)$", str(kind)))
