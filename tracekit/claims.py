"""What a Parquet file says of itself, read before anything is believed: the file may come from anybody.

A page of some kilobytes may say that it becomes gigabytes, and be right, and so may a footer: Arrow takes memory for
both. Of columns whose statistics make no sense, Arrow ends the process when it is asked about them, though not when it
reads their rows. So what is needed of a footer is read here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tracekit import thrift

#: What the pages of a row group that are read together may be when unpacked.
MOST_BYTES = 256 << 20
#: Values of one column in a row group: lists may have more of them than there are rows.
MOST_VALUES = 1 << 25
# A footer has some kilobytes for each row group of some hundred thousand.
_MOST_FOOTER, _OF_FILE = 16 << 20, 32
# What is said of a row group, or of a column in it, has not fewer bytes.
_LEAST = 16
_HEADER, _LONGEST_HEADER, _MOST_PAGES = 128, 1 << 16, 1 << 16
# How pages are packed, and how values are written in them.
_CODECS = {1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}
_DICTIONARIES, _PREFIXES, _CODED = {2, 8}, 7, {0, 2, 3, 4, 8}
_MOST_IN_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a footer says of a column in a row group.

    Attributes:
        values: how many there are; lists may have more of them than there are rows.
        begin: where its first page is.
        end: where its last page ends.
        codec: what its pages are packed with, by Parquet's number; 0: nothing.
        coded: whether Arrow can read its strings as few distinct ones: none is written as a difference.
        least: its least value, if the footer tells.
        greatest: its greatest value, if the footer tells.
    """

    values: int
    begin: int
    end: int
    codec: int
    coded: bool
    least: bytes | None
    greatest: bytes | None


class RowGroup:
    """What a footer says of a row group.

    Attributes:
        rows: how many it has.
    """

    def __init__(self, rows: int, raw: bytes, places: list[int]) -> None:
        self.rows = rows
        self._raw, self._places = raw, places
        self._chunks: dict[int, Chunk] = {}

    def __len__(self) -> int:
        return len(self._places)

    def chunk(self, leaf: int) -> Chunk:
        """What the footer says of a column, by number: looked at when it is asked for, as few are.

        Raises:
            IndexError: there is none of that number.
        """
        if leaf not in self._chunks:
            self._chunks[leaf] = _chunk(self._raw, self._places[leaf])
        return self._chunks[leaf]


def opened(source: pa.NativeFile) -> tuple[pq.ParquetFile, list[RowGroup]]:
    """A Parquet file, and what its footer says of row groups.

    Raises:
        ArrowInvalid: the footer is none, or larger than that of any trace.
        OSError: Arrow finds something else wrong.
    """
    size = source.size()
    length = int.from_bytes(source.read_at(8, size - 8)[:4], "little") if size >= 12 else 0
    if length > _MOST_FOOTER + size // _OF_FILE:
        raise pa.ArrowInvalid(f"its footer claims to have {length:,} bytes of {size:,}")
    try:
        groups = _row_groups(source.read_at(length, max(size - 8 - length, 0)))
    except (LookupError, TypeError, AttributeError, ValueError):
        raise pa.ArrowInvalid("its footer is none") from None
    return reader(source), groups


def reader(source: pa.NativeFile, metadata: pq.FileMetaData | None = None, coded: Iterable[str] = ()) -> pq.ParquetFile:
    """A reader of a file, or another one; of the leaves that are `coded`, strings come as few distinct ones.

    One of a megabyte, in each row, fits in a small file.
    """
    return pq.ParquetFile(
        source,
        metadata=metadata,
        read_dictionary=list(coded),
        pre_buffer=False,
        page_checksum_verification=True,
        thrift_container_size_limit=thrift.MOST_IN_LIST,
    )


def coded(group: RowGroup, leaves: Iterable[tuple[int, str]]) -> tuple[str, ...]:
    """Those of the columns, by number and path, whose strings Arrow can read as few distinct ones."""
    return tuple(path for leaf, path in leaves if group.chunk(leaf).coded)


def check(
    source: pa.NativeFile,
    schema: pq.ParquetSchema,
    group: RowGroup,
    leaves: Iterable[tuple[int, str]],
    most_rows: int,
) -> None:
    """Look at how large the pages of some columns say that they are.

    Args:
        source: the file.
        schema: its columns.
        group: what the footer says of them.
        leaves: which columns are read, and their names.
        most_rows: how many rows there may be.

    Raises:
        ArrowInvalid: they are too large, or have not as many values as the footer says.
    """
    if not 0 <= group.rows <= most_rows:
        raise pa.ArrowInvalid(f"it claims to have {group.rows:,} rows, and {most_rows:,} is the most")
    total = 0
    for leaf, name in leaves:
        if leaf >= len(group):
            raise pa.ArrowInvalid(f"it lacks the column {name}")
        chunk = group.chunk(leaf)
        if not 0 <= chunk.begin <= chunk.end <= source.size():
            raise pa.ArrowInvalid(f"its column {name} is not in the file")
        if chunk.values > MOST_VALUES:
            raise _too_large(name)
        unfolded, values = _claimed(source, schema.column(leaf), chunk, name, MOST_BYTES - total)
        total += unfolded
        if values != chunk.values or values < group.rows:
            raise pa.ArrowInvalid(
                f"its column {name} claims to hold {chunk.values:,} values of {group.rows:,} rows, and its pages "
                f"{values:,}"
            )


def check_places(column: pa.Array, name: str) -> None:
    """Refuse few distinct strings, or lists of them, where a row has one that is not among these: Arrow reads it.

    Raises:
        ArrowInvalid: there is such a row.
    """
    texts = column.values if pa.types.is_list(column.type) or pa.types.is_large_list(column.type) else column
    if not pa.types.is_dictionary(texts.type) or not len(texts):
        return
    places = texts.indices
    among = np.frombuffer(places.buffers()[1], f"u{places.type.bit_width // 8}")[places.offset :][: len(places)]
    if among.max() >= len(texts.dictionary):  # what stands there for null does not count, but this is fast
        try:
            texts.validate(full=True)
        except pa.ArrowInvalid:
            raise pa.ArrowInvalid(f"its column {name} has a row with what is not in its dictionary") from None


def check_unfolded(texts: pa.Array, name: str) -> None:
    """Refuse strings, of a dictionary or not, that would be too large if each were by itself.

    Raises:
        ArrowInvalid: they would.
    """
    coded = pa.types.is_dictionary(texts.type)
    lengths = _lengths(texts.dictionary if coded else texts)
    if (pc.sum(lengths.take(texts.indices) if coded else lengths).as_py() or 0) > MOST_BYTES:
        raise _too_large(name)


def _lengths(texts: pa.Array) -> pa.Array:
    if not pa.types.is_string_view(texts.type) and not pa.types.is_binary_view(texts.type):
        return pc.binary_length(texts).cast(pa.int64())
    if not len(texts):
        return pa.array([], pa.int64())
    # Arrow does not tell it of views: each is 16 bytes, of which the first four are the length.
    views = np.frombuffer(texts.buffers()[1], "<i4").reshape(-1, 4)[texts.offset : texts.offset + len(texts)]
    return pa.array(views[:, 0].astype(np.int64), mask=texts.is_null().to_numpy(zero_copy_only=False))


def _too_large(name: str) -> pa.ArrowInvalid:
    most = f"{MOST_BYTES >> 20} MiB or {MOST_VALUES:,} values in one row group"
    return pa.ArrowInvalid(f"its column {name} claims to be of more than {most}: if it is, write it with smaller ones")


def _row_groups(raw: bytes) -> list[RowGroup]:
    """The list of row groups in a footer."""
    groups: list[RowGroup] = []
    at = number = 0
    while raw[at]:
        number, kind, at = thrift.field(raw, at, number)
        if (number, kind) != (4, thrift.LIST):
            at = thrift.end(raw, at, kind)
            continue
        count, _, at = thrift.list_head(raw, at)
        for _ in range(count):
            begun = at
            group, at = _row_group(raw, at)
            groups.append(group)
            if at - begun < _LEAST:
                raise ValueError("a row group that is none")
    return groups


def _row_group(raw: bytes, at: int) -> tuple[RowGroup, int]:
    """What is said of a row group, and where it ends."""
    rows, places, number = -1, [], 0
    while raw[at]:
        number, kind, at = thrift.field(raw, at, number)
        if (number, kind) == (1, thrift.LIST):
            count, kind, at = thrift.list_head(raw, at)
            for _ in range(count):
                places.append(at)
                at = thrift.end(raw, at, kind)
                if at - places[-1] < _LEAST:
                    raise ValueError("a column that is none")
        elif number == 3:
            rows, at = thrift.value(raw, at, kind)
        else:
            at = thrift.end(raw, at, kind)
    if not isinstance(rows, int):
        raise TypeError(rows)
    return RowGroup(rows, raw, places), at + 1


def _chunk(raw: bytes, at: int) -> Chunk:
    """What is said of a column; of what makes no sense, that it is nowhere in the file."""
    try:
        told = thrift.value(raw, at, thrift.STRUCT)[0][3]
        begin, statistics = told[9], told.get(12, {})
        if 0 < told.get(11, 0) < begin:  # the page of a dictionary
            begin = told[11]
        least, greatest = (one if isinstance(one, bytes) else None for one in (statistics.get(6), statistics.get(5)))
        return Chunk(told[5] + 0, begin, begin + told[7], told[4], _CODED.issuperset(told[2]), least, greatest)
    except (LookupError, TypeError, AttributeError, ValueError):
        return Chunk(0, -1, -1, 0, True, None, None)


def _claimed(source: pa.NativeFile, column: pq.ColumnSchema, chunk: Chunk, name: str, most: int) -> tuple[int, int]:
    """Bytes that the values of a column become, of at most so many, and how many values its pages say they have."""
    at, strings = chunk.begin, column.physical_type == "BYTE_ARRAY"
    values = pages = distinct = 0
    unfolded = 0 if strings else chunk.values * column.length  # of fixed ones; of numbers the length is none
    while values < chunk.values and at < chunk.end:
        header, length = _header(source, at, chunk.end)
        try:
            # A page of data in one of its two kinds, or a dictionary.
            data = header.get(5) or header.get(8) or {}
            found, entries = data.get(1, 0), header.get(7, {}).get(1, 0)
            sane = min(header[2], header[3], entries, found) >= 0 and max(entries, found) <= MOST_VALUES
            how = data.get(2 if 5 in header else 4)
        except (KeyError, TypeError, AttributeError):
            sane = False
        pages += 1
        if not sane or pages > _MOST_PAGES:
            raise pa.ArrowInvalid(f"its column {name} has pages of impossible size or number")
        unfolded += header[2]
        if unfolded > most:
            raise _too_large(name)
        at += length
        if 7 in header:
            distinct = header[2]
        elif strings and not chunk.coded and how in _DICTIONARIES:  # each may be the only one, and so the longest
            unfolded += found * distinct
        elif strings and how == _PREFIXES:
            try:
                unfolded += _shared(source.read_at(header[3], at), header, column, chunk.codec)
            except (LookupError, TypeError, ValueError, OverflowError):
                raise pa.ArrowInvalid(f"its column {name} has a page of prefixes that is none") from None
        if unfolded > most:
            raise _too_large(name)
        values += found
        at += header[3]
    return unfolded, values


def _shared(packed: bytes, header: dict[int, Any], column: pq.ColumnSchema, codec: int) -> int:
    """Bytes that the strings of a page have from those before them: it has only what comes after, and how many.

    A page of some kilobytes may so be gigabytes, and those of honest ones often are a hundred times theirs.
    """
    size, data = header[2], header.get(8, {})
    levels = data.get(5, 0) + data.get(6, 0)  # of the second kind: they are before what is packed
    if codec and data.get(7, True):
        raw = packed[:levels] + pa.decompress(packed[levels:], size - levels, _CODECS[codec], asbytes=True)
    else:
        raw = packed
    if 5 in header:
        for _ in range((column.max_repetition_level > 0) + (column.max_definition_level > 0)):
            levels += 4 + int.from_bytes(raw[levels : levels + 4], "little")
    if levels >= len(raw):
        return 0
    lengths = _differences(raw, levels, (header.get(5) or data)[1])
    if lengths.size and not 0 <= lengths.min() <= lengths.max() <= size:
        raise ValueError("a prefix that is longer than all")
    return int(lengths.sum())


def _differences(raw: bytes, at: int, most: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Numbers that are written as differences, which Parquet calls DELTA_BINARY_PACKED.

    Raises:
        LookupError, ValueError, OverflowError: they are not.
    """
    in_block, at = thrift.varint(raw, at)
    parts, at = thrift.varint(raw, at)
    count, at = thrift.varint(raw, at)
    first, at = thrift.integer(raw, at)
    if not 0 < parts <= in_block <= _MOST_IN_BLOCK or in_block % (8 * parts) or count > most:
        raise ValueError("blocks of impossible size")
    each, packed = in_block // parts, np.frombuffer(raw, np.uint8)
    made = [np.array([first] if count else [], np.int64)]
    left = count - 1
    while left > 0:
        least, at = thrift.integer(raw, at)
        widths, at = raw[at : at + parts], at + parts
        for width in widths[: -(-left // each)]:
            end = at + each // 8 * width
            if width > 32 or end > len(raw):
                raise ValueError("a number of more bits than there are")
            bits = np.unpackbits(packed[at:end], bitorder="little").reshape(each, width)
            made.append((bits @ (1 << np.arange(width, dtype=np.int64)) + least)[:left])
            left, at = left - len(made[-1]), end
        if len(widths) < parts:
            raise IndexError
    return np.cumsum(np.concatenate(made))


def _header(source: pa.NativeFile, at: int, end: int) -> tuple[dict[int, Any], int]:
    """The header of a page, and how long it is."""
    for size in (_HEADER, _LONGEST_HEADER):
        try:
            return thrift.value(source.read_at(min(size, end - at), at), 0, thrift.STRUCT)
        except IndexError:  # it is longer
            pass
        except ValueError:
            break
    raise pa.ArrowInvalid(f"there is no page at {at:,}")
