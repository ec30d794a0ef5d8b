"""One file with all that a bug report needs: the trace as it may leave, its report, what machine it was, checksums."""

import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tracekit.analyze import Report, Selection, analyze
from tracekit.analyze.report.html import to_html
from tracekit.analyze.report.markdown import to_markdown
from tracekit.bundle import CHECKSUMS, MOST_BYTES, TRACE
from tracekit.errors import UsageError
from tracekit.files import putting
from tracekit.metadata import Metadata
from tracekit.share.names import Allowed
from tracekit.share.redacting import Replaced, Suspect, redact, suspects
from tracekit.share.slicing import Slice, slice_trace, span_of
from tracekit.text import printable
from tracekit.trace import Trace, open_trace
from tracekit.units import format_bytes

REPORT, PAGE, MACHINE, README = "report.md", "report.html", "machine.txt", "README.txt"
_ABOUT = {
    README: "this page",
    REPORT: "what the recording shows, to paste into a ticket",
    PAGE: "the same with pictures: open it in a browser",
    MACHINE: "what machine it was",
    TRACE: "the events: tracekit report takes the whole bundle as it takes a trace",
    CHECKSUMS: f"of these files: sha256sum -c {CHECKSUMS}",
}
_TOP = 5
#: For what a zip file has around its files.
_ROOM = 8192
#: A part is made smaller so often until it fits, and is meant to fill so much of the room.
_TRIES, _FILL = 8, 0.9
#: So many findings are looked at for the part that is kept.
_FINDINGS = 5


@dataclass(frozen=True)
class Terms:
    """On which terms a trace is bundled.

    Attributes:
        most_bytes: so large the bundle may be.
        key: of the pseudonyms; null leaves the trace as it is.
        allowed: names that stay.
        machine: whether it may tell the kernel, processors and disks. Without pseudonyms it does.
    """

    most_bytes: int
    key: bytes | None
    allowed: Allowed
    machine: bool = True


@dataclass(frozen=True)
class Bundle:
    """What is to be in a bundle.

    Attributes:
        members: names, in the order of the file, and where they are so far.
        notes: what was done to the trace, in sentences.
        machine: what is told of the machine, by name.
        suspects: what looks like a secret.
    """

    members: tuple[tuple[str, Path], ...]
    notes: tuple[str, ...]
    machine: tuple[tuple[str, str], ...]
    suspects: tuple[Suspect, ...]


def prepare(trace: Trace, terms: Terms, folder: Path) -> Bundle:
    """Make all that belongs into a bundle.

    The report is of the whole recording, even where the trace must be cut to fit.

    Args:
        trace: stays as it is.
        terms: what may be in it.
        folder: an empty one, with room for the trace, where the files come to be.

    Raises:
        UsageError: no part of the trace is small enough.
        TraceError: the trace is damaged.
        OSError: there is no room.
    """
    if not 0 < terms.most_bytes <= MOST_BYTES:
        raise UsageError(f"a bundle has at most {format_bytes(MOST_BYTES)}: choose another --max-size")
    path = folder / TRACE
    if terms.key is None:
        trace.save(path)
        notes = ["Nothing was redacted: names are as they were recorded."]
    else:
        replaced = redact(trace, path, terms.key, terms.allowed, machine=terms.machine)[1]
        notes = [_told(replaced, before=trace.metadata.redaction is not None)]
    whole = open_trace(path)
    found = suspects(whole)
    report = analyze(whole)
    machine = _machine(whole.metadata) if terms.machine else ()
    texts = {MACHINE: "".join(f"{name}: {value}\n" for name, value in machine)} if machine else {}
    size = path.stat().st_size
    # Whether it fits is known when the reports are made, which tell the name of what they are of.
    named = texts | _reports(whole, report, TRACE) if size <= terms.most_bytes else None
    if named and size <= _room_beside(named, terms):
        texts = named
    else:
        texts |= _reports(whole, report, None)
        path = _part_that_fits(whole, report, _room_beside(texts, terms), folder / "part")
        told = open_trace(path).metadata.cuts[-1].told()
        notes.append(f"The reports are of the whole recording; {TRACE} is a part of it: {told}.")
    texts[README] = _readme([*texts, README], notes)
    members = [(name, folder / name) for name in _ABOUT if name in texts]
    for name, place in members:
        place.write_text(texts[name], encoding="utf-8")
    members.append((TRACE, path))
    (folder / CHECKSUMS).write_text("".join(f"{_checksum(place)}  {name}\n" for name, place in members))
    members.append((CHECKSUMS, folder / CHECKSUMS))
    return Bundle(tuple(members), tuple(notes), machine, tuple(found))


def write_bundle(bundle: Bundle, output: Path, force: bool = False) -> None:
    """Write the zip file: the same content always gives the same bytes.

    Raises:
        OSError: it cannot be written.
    """
    with putting(output, force) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for name, place in bundle.members:
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            entry.compress_type = zipfile.ZIP_STORED if name == TRACE else zipfile.ZIP_DEFLATED
            with file.open(entry, "w") as target, place.open("rb") as source:
                shutil.copyfileobj(source, target)


def _told(replaced: Replaced, before: bool) -> str:
    if before and not replaced.kinds.total():
        return "Redacted already: nothing is left to replace."
    secrets = replaced.secrets.total()
    among = f"; {secrets:,} of them looked like secrets" if secrets else ""
    return f"Redacted: replaced {replaced.told()}{among}."


def _reports(whole: Trace, report: Report, name: str | None) -> dict[str, str]:
    """The report in its forms, not with the path that the trace happens to have; null if only a part goes along."""
    named = replace(report, trace=replace(report.trace, path=name))
    return {REPORT: f"{to_markdown(named, _TOP)}\n", PAGE: f"{to_html(named, whole, Selection())}\n"}


def _machine(footer: Metadata) -> tuple[tuple[str, str], ...]:
    facts = [
        ("host", footer.hostname),
        ("kernel", footer.kernel),
        ("architecture", footer.arch),
        ("CPUs", None if footer.cpus is None else str(footer.cpus)),
        ("recorded with", f"tracekit {footer.tool_version}, backend {footer.backend or '?'}"),
    ]
    for disk in footer.disks:
        kind = {None: None, True: "rotational", False: "not rotational"}[disk.rotational]
        size = None if disk.size_bytes is None else format_bytes(disk.size_bytes)
        known = (size, kind, disk.scheduler and f"scheduler {disk.scheduler}", disk.model)
        facts.append((f"disk {disk.name}", ", ".join(one for one in known if one) or "?"))
    return tuple((printable(name), printable(value)) for name, value in facts if value is not None)


def _room_beside(texts: Mapping[str, str], terms: Terms) -> int:
    """Bytes that are left for the trace."""
    return terms.most_bytes - _ROOM - sum(len(zlib.compress(text.encode())) for text in texts.values())


def _part_that_fits(whole: Trace, report: Report, room: int, folder: Path) -> Path:
    """The part around the first finding that fits in, in so many bytes; never all of it."""
    folder.mkdir()
    path, size = folder / TRACE, whole.path.stat().st_size
    spans = [span_of(whole, finding) for finding in report.findings[:_FINDINGS]]
    length = whole.metadata.duration_ns
    for _ in range(_TRIES if room > 0 else 0):
        length = int(length * room / size * _FILL)
        if length <= 0:
            break
        start_ns = _begin(spans, length, whole.metadata.duration_ns)
        slice_trace(whole, Slice(start_ns, start_ns + length), path, force=True)
        size = path.stat().st_size
        if size <= room:
            return path
    raise UsageError("no part of the trace is small enough for such a bundle: choose a larger --max-size")


def _begin(spans: Sequence[tuple[int, int]], length: int, duration: int) -> int:
    """Where a part of some length begins: around the first span that fits in, else with the first."""
    fitting = [span for span in spans if span[1] - span[0] < length]
    start = (fitting[0][0] + fitting[0][1] - length) // 2 if fitting else spans[0][0] if spans else 0
    return min(max(start, 0), duration - length)


def _readme(names: Sequence[str], notes: Sequence[str]) -> str:
    files = "".join(f"  {name:14} {about}\n" for name, about in _ABOUT.items() if name in (*names, TRACE, CHECKSUMS))
    return f"A recording of tracekit, and what it shows.\n\n{files}\n" + "".join(f"{note}\n" for note in notes)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
