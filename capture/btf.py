"""The running kernel's own type information: argument lists, struct offsets, enumerations.

Reads the BTF format (Documentation/bpf/btf.rst of the kernel). A type's position is known only after walking all
before it, so one walk finds where each starts; names are then looked up in the string section.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from tracekit.errors import UnsupportedError

VMLINUX = Path("/sys/kernel/btf/vmlinux")

_INT, _ARRAY, _STRUCT, _UNION, _ENUM, _FUNC_PROTO, _VAR, _DATASEC, _DECL_TAG, _ENUM64 = (
    1,
    3,
    4,
    5,
    6,
    13,
    14,
    15,
    17,
    19,
)
_POINTER, _TYPEDEF = 2, 8
# Bytes behind the 12-byte header of a type: fixed, and for each of its `vlen` elements.
_FIXED = {_INT: 4, _ARRAY: 12, _VAR: 4, _DECL_TAG: 4}
_EACH = {_STRUCT: 12, _UNION: 12, _ENUM: 8, _FUNC_PROTO: 8, _DATASEC: 12, _ENUM64: 12}
_KINDS = 20


class Btf:
    """Type information of one kernel.

    Args:
        raw: the bytes of /sys/kernel/btf/vmlinux.

    Raises:
        UnsupportedError: the bytes are no type information that this version understands.
    """

    def __init__(self, raw: bytes) -> None:
        try:
            magic, _version, _flags, header = struct.unpack_from("<HBBI", raw)
            type_at, type_bytes, string_at, string_bytes = struct.unpack_from("<IIII", raw, 8)
        except struct.error:
            magic = 0
        if magic != 0xEB9F:
            raise UnsupportedError(f"{VMLINUX} is not in a format that tracekit reads")
        self._types = memoryview(raw)[header + type_at : header + type_at + type_bytes]
        self._strings = raw[header + string_at : header + string_at + string_bytes]
        self._at = self._walk()

    @classmethod
    def of_kernel(cls) -> "Btf":
        """The running kernel's.

        Raises:
            UnsupportedError: it has none.
        """
        try:
            return cls(VMLINUX.read_bytes())
        except OSError:
            raise UnsupportedError(
                f"this kernel has no BTF ({VMLINUX}), which tells where its fields are: "
                "boot a kernel built with CONFIG_DEBUG_INFO_BTF"
            ) from None

    def _walk(self) -> list[int]:
        """Byte positions of all types; type ids count from 1."""
        fixed = [_FIXED.get(kind, 0) + 12 for kind in range(_KINDS)]
        each = [_EACH.get(kind, 0) for kind in range(_KINDS)]
        words = self._types.cast("I")
        positions = [0]
        at, end = 0, len(self._types)
        try:
            while at < end:
                positions.append(at)
                info = words[(at >> 2) + 1]
                kind = info >> 24 & 0x1F
                at += fixed[kind] + each[kind] * (info & 0xFFFF)
        except IndexError:
            raise UnsupportedError(f"{VMLINUX} has a kind of type that tracekit does not know") from None
        return positions

    def _find(self, name: str, kind: int) -> int | None:
        """Position of the first type of that name and kind."""
        at_string = self._strings.find(b"\0" + name.encode() + b"\0") + 1
        words = self._types.cast("I")
        for at in self._at[1:] if at_string else ():
            word = at >> 2
            if words[word] == at_string and words[word + 1] >> 24 & 0x1F == kind:
                return at
        return None

    def _header(self, at: int) -> tuple[int, int, int, int]:
        """Name offset, kind, number of elements, size or type id."""
        name, info, size = struct.unpack_from("<III", self._types, at)
        return name, info >> 24 & 0x1F, info & 0xFFFF, size

    def _name(self, offset: int) -> str:
        return self._strings[offset : self._strings.index(b"\0", offset)].decode()

    def arguments(self, tracepoint: str) -> int | None:
        """How many arguments a raw tracepoint passes; None if the kernel has no such tracepoint."""
        typedef = self._find(f"btf_trace_{tracepoint}", _TYPEDEF)
        if typedef is None:
            return None
        pointer = self._header(self._at[self._header(typedef)[3]])
        prototype = self._header(self._at[pointer[3]])
        return prototype[2] - 1  # the first is the tracepoint's private data

    def offset(self, structure: str, field: str) -> int | None:
        """Byte offset of a field, also one inside an anonymous member; None if there is no such field."""
        at = self._find(structure, _STRUCT)
        return None if at is None else self._offset(at, field)

    def _offset(self, at: int, field: str) -> int | None:
        for name, type_id, offset in self._members(at):
            if name == field:
                return offset
            if not name:
                inner = self._at[type_id]
                found = self._offset(inner, field) if self._header(inner)[1] in (_STRUCT, _UNION) else None
                if found is not None:
                    return offset + found
        return None

    def _members(self, at: int) -> Iterator[tuple[str, int, int]]:
        """Name, type id and byte offset of each member. With the flag set, the low 24 bits are the bit offset."""
        flagged = struct.unpack_from("<I", self._types, at + 4)[0] >> 31
        for index in range(self._header(at)[2]):
            name, type_id, bits = struct.unpack_from("<III", self._types, at + 12 + 12 * index)
            yield self._name(name), type_id, (bits & 0xFFFFFF if flagged else bits) // 8

    def enumeration(self, name: str) -> dict[str, int]:
        """Names and values of an enumeration; empty if there is none of that name."""
        at = self._find(name, _ENUM)
        if at is None:
            return {}
        pairs = (struct.unpack_from("<Ii", self._types, at + 12 + 8 * i) for i in range(self._header(at)[2]))
        return {self._name(label): value for label, value in pairs}
