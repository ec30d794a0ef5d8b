"""What perf and blktrace call block I/O: the letters of an operation, as the kernel's blk_fill_rwbs() writes them."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_ZONES = {"R": "zone_reset", "RA": "zone_reset_all", "O": "zone_open", "C": "zone_close", "F": "zone_finish"}
_OPS = {"W": "write", "R": "read", "D": "discard", "F": "flush"}


def op_of(letters: str) -> str | None:
    """The operation: `WS` is a write, `FWFS` a write between flushes, `DE` a secure erase; null for a command."""
    rest = letters
    if rest.startswith("FN"):  # so blkparse calls a flush with nothing to write
        return "flush"
    if rest[:1] == "F" and rest[1:2] in ("W", "R", "D", "F", "Z"):
        rest = rest[1:]
    if rest.startswith("DE"):
        return "secure_erase"
    if rest.startswith("WZ"):
        return "write_zeroes"
    if rest.startswith("Z"):
        zone = rest[1:3] if rest[1:3] in _ZONES else rest[1:2]
        return "zone_append" if rest.startswith("ZA") else _ZONES.get(zone)
    return _OPS.get(rest[:1])


def ops(letters: pa.Array) -> pa.DictionaryArray:
    """The operation of each; the few distinct ones are looked up."""
    coded = letters if isinstance(letters, pa.DictionaryArray) else letters.dictionary_encode()
    named = [op_of(one.decode("latin-1") if isinstance(one, bytes) else one) for one in coded.dictionary.to_pylist()]
    values = sorted({name for name in named if name})
    place = np.array([values.index(name) if name else -1 for name in named], np.int32)
    return of_codes(place[coded.indices.to_numpy()] if len(place) else place, values)


def of_codes(codes: Any, values: list[str]) -> pa.DictionaryArray:
    """Positions in a list of names, as a column; null where there is none."""
    return pa.DictionaryArray.from_arrays(
        pa.array(codes.astype(np.int32), mask=codes < 0), pa.array(values, pa.string())
    )


def numbered(major: Any, minor: Any) -> pa.DictionaryArray:
    """Disks that have a number only are called by it, as in /sys/dev/block: `8:16`."""
    coded = pa.array(major << 20 | minor).dictionary_encode()
    called = [f"{dev >> 20}:{dev & 0xFFFFF}" for dev in coded.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(coded.indices, pa.array(called, pa.string()))


def places(op: pa.DictionaryArray, sector: pa.Array, size: pa.Array) -> tuple[pa.DictionaryArray, pa.Array]:
    """Op and sector as a trace has them: a write of nothing is a flush, and a flush or a command has no place."""
    values = op.dictionary.to_pylist()
    named = values if "flush" in values else [*values, "flush"]
    code = pc.fill_null(op.indices, -1).to_numpy()
    if "write" in values:
        nothing = pc.fill_null(pc.equal(size, 0), False).to_numpy(zero_copy_only=False)
        code = np.where((code == values.index("write")) & nothing, named.index("flush"), code)
    placeless = (code < 0) | (code == named.index("flush"))
    return of_codes(code, named), pc.if_else(pa.array(placeless), pa.scalar(None, sector.type), sector)
