"""A bundle: a trace in a zip file, with its reports and checksums. Here it is read, and not trusted."""

import hashlib
import re
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

from tracekit.errors import TraceError, first_line

#: How every zip file begins that has something in it.
MAGIC = b"PK\x03\x04"
TRACE, CHECKSUMS = "trace.parquet", "SHA256SUMS"
#: Larger ones would need another format of zip.
MOST_BYTES = (1 << 31) - 1

_END = struct.Struct("<4s4H2LH")
_MOST_ENTRIES, _MOST_DIRECTORY, _MOST_CHECKSUMS = 100, 1 << 16, 1 << 16
#: A trace is compressed already. So much may be gained by zipping one again, and no more.
_MOST_GAIN, _FREE = 10, 1 << 20
_PIECE = 1 << 20
#: What Python's reader raises of bytes that are no zip file as it should be; the fourth of a version it does not know.
_DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    struct.error,
    UnicodeError,
)


def unpacked(path: Path) -> IO[bytes]:
    """The trace of a bundle as a temporary file that has no name, and is gone when it is closed.

    Raises:
        TraceError: it is no bundle, or damaged, or claims to hold what no bundle holds.
        OSError: there is no room for the trace.
    """
    try:
        with path.open("rb") as raw:
            _check_directory(raw, path)
            with zipfile.ZipFile(raw) as bundle:
                return _unpacked(bundle, path)
    except _DAMAGES as error:
        raise TraceError(f"{path} is damaged: {first_line(error)}") from error


def _check_directory(raw: IO[bytes], path: Path) -> None:
    """Before a list of files is read: it is short."""
    size = raw.seek(0, 2)
    raw.seek(max(size - 20 - _END.size, 0))
    tail = raw.read()
    end = tail[-_END.size :].rjust(_END.size, b"\0")
    signature, _, _, here, entries, directory, start, comment = _END.unpack(end)
    is_plain = signature == b"PK\x05\x06" and not comment and here == entries
    if not is_plain or b"PK\x06\x07" in tail[: -_END.size]:
        raise TraceError(f"{path} is a zip file, but no bundle, or cut off: have it bundled or copied again")
    if entries > _MOST_ENTRIES or directory > _MOST_DIRECTORY:
        raise TraceError(f"{path} is a zip file of {entries:,} files, and no bundle: unpack it, and name the trace")
    if start + directory + _END.size != size:
        raise TraceError(f"{path} is damaged: a part of it is missing, or something was added; copy it again")
    raw.seek(0)


def _unpacked(bundle: zipfile.ZipFile, path: Path) -> IO[bytes]:
    entries = {entry.filename: entry for entry in bundle.infolist()}
    for name in entries:
        if re.search(r"[/\\\x00]|^\.\.?$", name):
            raise TraceError(f"{path} has a file {name!r}, which leads elsewhere: it is no bundle")
    if len(entries) != len(bundle.infolist()):
        raise TraceError(f"{path} has two files of one name: it is no bundle")
    if TRACE not in entries or CHECKSUMS not in entries:
        raise TraceError(f"{path} is a zip file, but no bundle: it has no {TRACE} with {CHECKSUMS}")
    trace, sums = entries[TRACE], entries[CHECKSUMS]
    if trace.file_size > _MOST_GAIN * trace.compress_size + _FREE or sums.file_size > _MOST_CHECKSUMS:
        raise TraceError(f"{path} claims to hold far more than it has: it is no bundle")
    if not {trace.compress_type, sums.compress_type} <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise TraceError(f"{path} is packed in a way that no bundle is: unpack it, and name the trace")
    expected = re.search(rf"(?m)^([0-9a-f]{{64}}) [ *]{re.escape(TRACE)}$", bundle.read(sums).decode())
    if expected is None:
        raise TraceError(f"{path} has no checksum of its {TRACE}: it is damaged")
    target = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        if _copied(bundle, trace, target) != expected[1]:
            raise TraceError(f"{path} is damaged: its {TRACE} is not what its checksum says; copy it again")
    except BaseException:
        target.close()
        raise
    return target


def _copied(bundle: zipfile.ZipFile, entry: zipfile.ZipInfo, target: IO[bytes]) -> str:
    """The checksum of a file while it is copied: no more than it says it has."""
    digest = hashlib.sha256()
    with bundle.open(entry) as source:
        while piece := source.read(_PIECE):
            digest.update(piece)
            target.write(piece)
    target.flush()
    return digest.hexdigest()
