"""Functions that exist twice: in numpy, and in C for speed where the library could be built and loaded."""

import ctypes
import functools
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, get_type_hints

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Ints32: TypeAlias = npt.NDArray[np.int32]
Bools: TypeAlias = npt.NDArray[np.bool_]
Bytes: TypeAlias = npt.NDArray[np.uint8]
#: Integers of any width.
Raw: TypeAlias = npt.NDArray[np.integer[Any]]

#: Set to 1 to do without the library, when tracekit is built and when it runs.
WITHOUT = "TRACEKIT_WITHOUT_KERNELS"
_HERE = Path(__file__).parent
_PATH = _HERE / "built" / "kernels.so"
_OUTSIDE, _NO_MEMORY = -1, -2

Definition = TypeVar("Definition", bound=Callable[..., int])


def checksum() -> int:
    """What a library must be made for, as setup.py works it out too: one for other sources has other parameters."""
    return zlib.crc32(b"".join(path.read_bytes() for path in sorted(_HERE.glob("*.py"))))


class _Array(ctypes.Structure):
    _fields_ = (("at", ctypes.c_void_p), ("size", ctypes.c_int64))


class _Raw(ctypes.Structure):
    _fields_ = (*_Array._fields_, ("width", ctypes.c_int64))


_SCALARS: dict[Any, Any] = {int: ctypes.c_int64, float: ctypes.c_double}
_DTYPES: dict[Any, np.dtype[Any]] = {
    Ints: np.dtype(np.int64),
    Ints32: np.dtype(np.int32),
    Bools: np.dtype(np.bool_),
    Bytes: np.dtype(np.uint8),
}


def compiled(definition: Definition) -> Definition:
    """The function of the library that has the name of a definition in numpy, or the definition where there is none.

    Parameters are annotated as `Ints`, `Ints32`, `Bools`, `Bytes`, `Raw`, `int`, `float`, or a NamedTuple of these, and
    become the structures of arrays.h. The result is a number that is not negative.

    Raises:
        TypeError: in a call; an array is of another type, or its elements are not side by side.
        IndexError: in a call; a number in an array is not the index that it should be.
    """
    function = None if _library() is None else getattr(_library(), definition.__name__)
    if function is None:
        return definition
    parts = [_part(hint) for name, hint in get_type_hints(definition).items() if name != "return"]
    function.argtypes, function.restype = [kind for kind, _ in parts], ctypes.c_int64
    makers = [maker for _, maker in parts]

    @functools.wraps(definition)
    def call(*args: Any) -> int:
        found: int = function(*(make(value) for make, value in zip(makers, args, strict=True)))
        if found == _OUTSIDE:
            raise IndexError(f"{definition.__name__}: an index is out of bounds")
        if found == _NO_MEMORY:
            raise MemoryError(definition.__name__)
        return found

    return call  # type: ignore[return-value]


@functools.cache
def _library() -> ctypes.CDLL | None:
    if os.environ.get(WITHOUT) == "1":
        return None
    try:
        library = ctypes.CDLL(str(_PATH))
        return library if ctypes.c_uint32.in_dll(library, "made_for").value == checksum() else None
    except (OSError, ValueError):
        return None


def _part(hint: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The type in C of a parameter, and what makes it."""
    if hint in _SCALARS:
        return _SCALARS[hint], hint
    if hint == Raw:
        return _Raw, _raw
    if hint in _DTYPES:
        return _Array, functools.partial(_array, _DTYPES[hint])
    assert issubclass(hint, tuple)
    parts = {name: _part(inner) for name, inner in get_type_hints(hint).items()}
    kind = type(hint.__name__, (ctypes.Structure,), {"_fields_": [(name, part[0]) for name, part in parts.items()]})
    makers = [maker for _, maker in parts.values()]
    return kind, lambda value: kind(*(make(one) for make, one in zip(makers, value, strict=True)))


def _array(dtype: np.dtype[Any], array: npt.NDArray[Any]) -> _Array:
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise TypeError(f"an array of {dtype}, side by side, is wanted: here is one of {array.dtype}")
    return _Array(array.__array_interface__["data"][0], array.size)


def _raw(array: npt.NDArray[Any]) -> _Raw:
    if array.dtype.kind not in "iu" or not array.dtype.isnative or not array.flags.c_contiguous:
        raise TypeError(f"an array of integers, side by side, is wanted: here is one of {array.dtype}")
    width = array.itemsize if array.dtype.kind == "i" else -array.itemsize
    return _Raw(array.__array_interface__["data"][0], array.size, width)
