"""Importing large libraries without what a command line has no use for."""

import contextlib
import importlib.abc
import os
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType

_WISHES = {
    # No threads of their own: one that is there when the recorder gives up its privileges would keep them.
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    # The C library's memory, since Arrow's own choice holds on to a third more.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


@contextlib.contextmanager
def sparing_imports() -> Iterator[None]:
    """What is imported in this block starts no threads and is sparing of memory.

    Arrow does without pandas until somebody asks for a frame.

    At its first array, Arrow looks whether pandas is there, which takes 0.2 s and 40 MB.
    """
    ours = {name: value for name, value in _WISHES.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
    if "pyarrow" in sys.modules and "pandas" not in sys.modules:
        finder = _NoPandas()
        sys.meta_path.insert(0, finder)
        try:
            sys.modules["pyarrow"].array([0])
        finally:
            sys.meta_path.remove(finder)


class _NoPandas(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname == "pandas":
            raise ImportError(fullname)
