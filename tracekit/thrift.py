"""Thrift's compact protocol, in which footers and page headers of Parquet files are: as plain Python values.

Each function takes bytes and a place in them. It raises IndexError where they end too early, ValueError where they are
none of it.
"""

import re
from typing import Any

LIST, STRUCT = 9, 12
#: No list of a footer has more, but for one that would take memory.
MOST_IN_LIST = 100_000
_TRUE, _FALSE, _BYTE, _DOUBLE, _BYTES, _SET = 1, 2, 3, 7, 8, 10
_INTEGERS = (4, 5, 6)
_DEEPEST = 8
# Some fields one after another that are numbers or truths, with heads of one byte.
_HEADS = "".join(f"\\x{number:x}{kind:x}" for number in range(1, 16) for kind in _INTEGERS).encode()
_TRUTHS = "".join(f"\\x{number:x}{kind:x}" for number in range(1, 16) for kind in (_TRUE, _FALSE)).encode()
_NUMBERS = re.compile(rb"(?:[%b][\x80-\xff]*[\x00-\x7f]|[%b]){0,40}" % (_HEADS, _TRUTHS))


def field(raw: bytes, at: int, before: int) -> tuple[int, int, int]:
    """The head of a field after that with the number `before`: its number, its kind, and where its value is."""
    head = raw[at]
    if head >> 4:
        return before + (head >> 4), head & 15, at + 1
    number, at = integer(raw, at + 1)
    return number, head & 15, at


def list_head(raw: bytes, at: int) -> tuple[int, int, int]:
    """The head of a list: how many it has, their kind, and where the first is."""
    head = raw[at]
    if head >> 4 < 15:
        return head >> 4, head & 15, at + 1
    count, at = varint(raw, at + 1)
    if count > MOST_IN_LIST:
        raise ValueError(f"a list of {count:,}")
    return count, head & 15, at


def integer(raw: bytes, at: int) -> tuple[int, int]:
    """A number, which may be below zero, and where it ends."""
    number, at = varint(raw, at)
    return number >> 1 ^ -(number & 1), at


def varint(raw: bytes, at: int) -> tuple[int, int]:
    """A number that is not below zero, and where it ends."""
    byte = raw[at]
    if byte < 0x80:
        return byte, at + 1
    number, shift = byte & 0x7F, 7
    while byte & 0x80:
        at += 1
        byte = raw[at]
        number |= (byte & 0x7F) << shift
        shift += 7
        if shift > 70:
            raise ValueError("a number of more than 64 bits")
    return number, at + 1


def value(raw: bytes, at: int, kind: int, depth: int = 0) -> tuple[Any, int]:
    """A value of a kind, and where it ends: a number, bytes, a list, or a dict of a structure's fields by number."""
    if kind in _INTEGERS:
        return integer(raw, at)
    if kind == _BYTES:
        length, at = varint(raw, at)
        if at + length > len(raw):
            raise IndexError
        return raw[at : at + length], at + length
    if kind == STRUCT and depth < _DEEPEST:
        return _struct(raw, at, depth)
    if kind in (LIST, _SET) and depth < _DEEPEST:
        return _list(raw, at, depth)
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind in (_BYTE, _DOUBLE):
        return None, at + (1 if kind == _BYTE else 8)
    raise ValueError(f"there is no kind {kind}")


def end(raw: bytes, at: int, kind: int, depth: int = 0) -> int:
    """Where a value of a kind ends, which is found faster than the value."""
    if kind == STRUCT and depth < _DEEPEST:
        return _struct_end(raw, at, depth)
    if kind == LIST and depth < _DEEPEST:
        return _list_end(raw, at, depth)
    if kind in _INTEGERS:
        while raw[at] > 0x7F:
            at += 1
        return at + 1
    return value(raw, at, kind, depth)[1]


def _list_end(raw: bytes, at: int, depth: int) -> int:
    count, kind, at = list_head(raw, at)
    if kind in (_TRUE, _FALSE):
        return at + count
    for _ in range(count):
        at = end(raw, at, kind, depth + 1)
        if at > len(raw):
            raise IndexError
    return at


def _struct_end(raw: bytes, at: int, depth: int) -> int:
    inside = 1
    while inside:
        found = _NUMBERS.match(raw, at)
        at = found.end() if found else at
        head, at = raw[at], at + 1
        if not head:
            inside -= 1
        elif head >> 4 and head & 15 == STRUCT:
            inside += 1
        elif head >> 4 and head & 15 == _BYTES and raw[at] < 0x80:
            at += raw[at] + 1
        else:
            if head >> 4:
                kind = head & 15
            else:
                _, kind, at = field(raw, at - 1, 0)
            if kind == LIST and raw[at] == 0x18 and raw[at + 1] < 0x80:  # as of the one name of a column
                at += 2 + raw[at + 1]
            else:
                at = end(raw, at, kind, depth + 1)
    return at


def _struct(raw: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    fields: dict[int, Any] = {}
    number = 0
    while head := raw[at]:
        if head < 16:
            number, kind, at = field(raw, at, number)
        else:  # as nearly all are
            number, kind, at = number + (head >> 4), head & 15, at + 1
        if kind in _INTEGERS and (byte := raw[at]) < 0x80:
            fields[number], at = byte >> 1 ^ -(byte & 1), at + 1
        else:
            fields[number], at = value(raw, at, kind, depth + 1)
    return fields, at + 1


def _list(raw: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    count, kind, at = list_head(raw, at)
    found = []
    for _ in range(count):
        one, at = value(raw, at, _BYTE if kind in (_TRUE, _FALSE) else kind, depth + 1)
        if at > len(raw):
            raise IndexError
        found.append(one)
    return found, at
