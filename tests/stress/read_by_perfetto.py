"""Export traces, and see whether Perfetto's own trace processor reads of them what the tests' reader does.

It is built from Perfetto's source (https://perfetto.dev/docs/contributing/build-instructions), or comes with its UI:

    PYTHONPATH=tests/support python tests/stress/read_by_perfetto.py TRACE_PROCESSOR_SHELL sample_traces/*.parquet
"""

import csv
import io
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
from perfetto_reader import Read, read_perfetto

from tracekit.exchange.give import Export, give
from tracekit.units import format_count

# Strings in hexadecimal: what it prints as CSV is not always that. The names of the kernel's workers it cuts short.
_SLICES = "select ts, dur, depth, hex(name), category from slice"
_PROCESSES = """
    select one.pid, parent.pid, case when parent.pid = 2 then '' else hex(one.name) || ' ' || hex(one.cmdline) end
    from process one left join process parent on parent.upid = one.parent_upid where one.cmdline is not null"""
_ERRORS = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"
Rows = Counter[tuple[str, ...]]


def main(shell: str, *traces: str) -> int:
    """Compare all; how many differ."""
    different = 0
    for trace in traces:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "made.pftrace"
            give(Export(Path(trace), made, "perfetto"))
            read = read_perfetto(made.read_bytes())
            sides = {
                "slices": (_slices(read), _ask(shell, made, _SLICES)),
                "processes": (_processes(read), _ask(shell, made, _PROCESSES)),
                "errors": (Counter(), _ask(shell, made, _ERRORS)),
            }
        told = []
        for what, (ours, theirs) in sides.items():
            differ = [*(ours - theirs), *(theirs - ours)]
            different += bool(differ)
            told.append(f"{format_count(theirs.total())} {what}" + (f", UNLIKE: {differ[0]}" if differ else ""))
        click.echo(f"{trace}: {', '.join(told)}")
    return different


def _slices(read: Read) -> Rows:
    return Counter(
        (
            str(one.begin_ns),
            str((one.end_ns or one.begin_ns) - one.begin_ns),
            str(one.depth),
            _hex(one.name),
            one.category,
        )
        for one in read.slices
    )


def _processes(read: Read) -> Rows:
    return Counter(
        (
            str(one.pid),
            str(one.ppid),
            "" if one.ppid == 2 else f"{_hex(_name(one.cmdline))} {_hex(' '.join(one.cmdline))}",
        )
        for one in read.listed.values()
    )


def _name(cmdline: Sequence[str]) -> str:
    """Of what is alone, Perfetto takes what is before a space."""
    return cmdline[0] if len(cmdline) > 1 else cmdline[0].split(" ")[0]


def _hex(text: str) -> str:
    return text.encode().hex().upper()


def _ask(shell: str, made: Path, query: str) -> Rows:
    script = made.with_suffix(".sql")
    script.write_text(f"{query};")
    done = subprocess.run([shell, "-q", str(script), str(made)], capture_output=True, check=False)
    if done.returncode:
        sys.exit(done.stderr.decode(errors="replace"))
    rows = csv.reader(io.StringIO(done.stdout.decode(), newline=""))
    next(rows)
    return Counter(map(tuple, rows))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
