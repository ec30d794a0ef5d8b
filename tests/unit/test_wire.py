"""The Python side of the wire format says the same as the C side, by the compiler that builds the programs."""

import subprocess
from pathlib import Path

import numpy as np

import tracekit.capture
from tracekit.capture import wire

SOURCES = Path(tracekit.capture.__file__).parent / "bpf"

STRUCTS = {
    "tk_process": wire.PROCESS,
    "tk_block": wire.BLOCK,
    "tk_open_short": wire.OPEN_SHORT,
    "tk_open_medium": wire.OPEN_MEDIUM,
    "tk_open_long": wire.OPEN_LONG,
    "tk_counters": wire.COUNTERS,
    "tk_config": wire.CONFIG,
}
ENUMERATIONS = (wire.PROCESS_EVENTS, wire.BLOCK_EVENTS, wire.OPEN_CALLS)


def assertions(structure: str, kind: np.dtype[np.void]) -> list[str]:
    """The size of a struct, and of each field its place and size."""
    found = [f"sizeof(struct {structure}) == {kind.itemsize}"]
    for name, (field, offset, *_) in (kind.fields or {}).items():
        inner = f"head.{name}" if structure.startswith("tk_open") and name != "path" else name
        found.append(f"__builtin_offsetof(struct {structure}, {inner}) == {offset}")
        found.append(f"sizeof(((struct {structure} *)0)->{inner}) == {field.itemsize}")
    return found


def test_both_sides_agree() -> None:
    checks = [check for structure, kind in STRUCTS.items() for check in assertions(structure, kind)]
    for names in ENUMERATIONS:
        checks += [f"TK_{name.upper()} == {position}" for position, name in enumerate(names)]
    checks += [f"TK_PATH_BYTES == {wire.PATH_BYTES}", f"TK_COMM_BYTES == {wire.COMM_BYTES}"]
    source = '#include <linux/types.h>\n#include "events.h"\n'
    source += "".join(f'_Static_assert({check}, "{check}");\n' for check in checks)
    compile_ = ["clang", "-fsyntax-only", "-I", SOURCES, "-x", "c", "-"]
    done = subprocess.run(compile_, input=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(checks) > 100
