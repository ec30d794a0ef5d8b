"""The `bcc` loader: compiles the same programs on the target, for machines where the core loader cannot be used.

BCC compiles against kernel headers that may be those of another kernel, so the programs get the offset of each kernel
field that they read from the running kernel's type information, and their maps from here.
"""

import contextlib
import importlib.machinery
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from tracekit.capture import kernel
from tracekit.capture.btf import Btf
from tracekit.capture.loading import Attached, KernelFacts, Links
from tracekit.capture.probes import FIELDS, OPTIONAL_FIELDS
from tracekit.errors import UnsupportedError

_SOURCES = Path(__file__).parent / "bpf"
_INCLUDE = re.compile(r'^#include "([\w.]+)"\n', re.MULTILINE)
_MAP = re.compile(r"^MAP_OF\((\w+), (\w+), (\d+), (\d+), (\d+), (\w+)\)$", re.MULTILINE)
# Where distributions put the module for the system's own interpreter; a virtual environment does not see it.
_MODULE_FOLDERS = ("/usr/lib/python3/dist-packages", "/usr/lib/python3*/site-packages", "/usr/lib64/python3*/site-packages")


def attach(families: tuple[str, ...], facts: KernelFacts, ring_bytes: dict[str, int]) -> Attached:
    """Compile, load and attach the probes of some families; on any error nothing stays attached.

    Raises:
        UnsupportedError: BCC, a compiler or headers are missing, or the kernel refuses a program.
    """
    bcc = _module()
    source = "\n".join(_flattened(f"{family}.bpf.c") for family in families)
    with contextlib.ExitStack() as undo:
        sizes = ring_bytes | {f"{family}_counters": kernel.possible_cpus() for family in families}
        maps = {}
        for kind, name, key_bytes, value_bytes, entries, flags in _MAP.findall(source):
            count = sizes.get(name, int(entries))
            maps[name] = kernel.create_map(kind, int(key_bytes), int(value_bytes), count, kernel.MAP_FLAGS[flags])
            undo.callback(os.close, maps[name])
        program = _compiled(bcc, source, _macros(facts, maps))
        undo.callback(program.cleanup)
        links = Links()
        undo.callback(links.detach)
        functions = {family: _load(bcc, program, facts, family) for family in families}
        for family in families:
            for probe in facts.probes[family]:
                links.add(_attach(bcc, program, functions[family][probe.function], probe))
        return Attached(
            "bcc",
            rings={name: maps[name] for name in ring_bytes},
            counters={family: maps[f"{family}_counters"] for family in families},
            programs={family: [function.fd for function in functions[family].values()] for family in families},
            detach=links.detach,
            close=undo.pop_all().close,
        )
