"""A bundle from others is not trusted: whatever is wrong with it is one line, in bounded memory."""

import contextlib
import hashlib
import io
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import small_trace
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.bundle import CHECKSUMS, TRACE
from tracekit.cli.main import main
from tracekit.errors import TraceError
from tracekit.trace import open_trace


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)


def sums(trace: bytes) -> bytes:
    return f"{hashlib.sha256(trace).hexdigest()}  {TRACE}\n".encode()


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return small_trace(tmp_path_factory.mktemp("trace") / TRACE).read_bytes()


@pytest.fixture
def good(trace: bytes) -> dict[str, bytes]:
    return {"report.md": b"# Report\n", TRACE: trace, CHECKSUMS: sums(trace)}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_bundle_is_a_trace(method: int, good: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    zipped(path, good, method)
    opened = open_trace(path)
    assert opened.path == path
    assert opened.counts["open"] == 200
    # A file that somebody has put beside does no harm.
    zipped(path, {"screenshot.png": b"x"} | good, method)
    assert open_trace(path).table().equals(opened.table())
    opened.save(tmp_path / "saved.parquet")
    assert (tmp_path / "saved.parquet").read_bytes() == good[TRACE]


def _without(name: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda good: {key: value for key, value in good.items() if key != name}


def _bomb(good: dict[str, bytes]) -> dict[str, bytes]:
    bomb = bytes(200 << 20)
    return {TRACE: bomb, CHECKSUMS: sums(bomb)}


WRONG = {
    "no-trace": (_without(TRACE), "no bundle"),
    "no-checksums": (_without(CHECKSUMS), "no bundle"),
    "wrong-checksum": (lambda good: good | {CHECKSUMS: sums(b"other")}, "not what its checksum says"),
    "checksum-of-others": (lambda good: good | {CHECKSUMS: b"0" * 64 + b"  other\n"}, "no checksum of its"),
    "checksums-are-no-text": (lambda good: good | {CHECKSUMS: b"\xff\xfe"}, "is damaged"),
    "long-checksums": (lambda good: good | {CHECKSUMS: bytes(1 << 20)}, "far more than it has"),
    "up-and-out": (lambda good: good | {"../../etc/cron.d/x": b"x"}, "leads elsewhere"),
    "absolute": (lambda good: good | {"/etc/passwd": b"x"}, "leads elsewhere"),
    "in-a-folder": (lambda good: {f"folder/{name}": content for name, content in good.items()}, "leads elsewhere"),
    "with-backslash": (lambda good: good | {"..\\x": b"x"}, "leads elsewhere"),
    "many": (lambda good: good | {f"file{number}": b"" for number in range(500)}, "a zip file of 503 files"),
    "bomb": (_bomb, "far more than it has"),
    "no-parquet-inside": (lambda good: {TRACE: b"text", CHECKSUMS: sums(b"text")}, "no Parquet file"),
    "bundle-in-bundle": (lambda good: _nested(good), "no Parquet file"),
    "empty-trace": (lambda good: {TRACE: b"", CHECKSUMS: sums(b"")}, "no Parquet file"),
    "hostile-name": (lambda good: good | {"\x1b[31m/\u202e": b"x"}, "leads elsewhere"),
}


def _nested(good: dict[str, bytes]) -> dict[str, bytes]:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as file:
        for name, content in good.items():
            file.writestr(name, content)
    return {TRACE: inner.getvalue(), CHECKSUMS: sums(inner.getvalue())}


@pytest.mark.parametrize(("make", "words"), WRONG.values(), ids=WRONG)
def test_what_no_bundle_holds(
    make: Callable[[dict[str, bytes]], dict[str, bytes]],
    words: str,
    good: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "bundle.zip"
    zipped(path, make(good), zipfile.ZIP_DEFLATED)
    refused(path, words, capsys)


def refused(path: Path, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.parent.rglob("*"))
    assert main(["info", str(path)]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tracekit: ")
    assert err.count("\n") == 1
    assert err.strip().isprintable()
    assert words in err
    assert path.name in err
    assert sorted(path.parent.rglob("*")) == before


def _changed(place: int, format: str, value: int) -> Callable[[bytes], bytes]:
    """A field at a place, counted from the end."""

    def change(raw: bytes) -> bytes:
        changed = bytearray(raw)
        struct.pack_into(format, changed, len(raw) + place, value)
        return bytes(changed)

    return change


BROKEN = {
    "cut-off": (lambda raw: raw[: len(raw) // 2], "cut off"),
    "end-only": (lambda raw: b"PK\x03\x04" + raw[-22:], "damaged"),
    "begin-only": (lambda raw: b"PK\x03\x04", "no bundle"),
    "more-behind": (lambda raw: raw + b"x", "cut off"),
    "huge-directory": (_changed(-10, "<L", 0xFFFF_FFF0), "zip file of"),
    "huge-offset": (_changed(-6, "<L", 0xFFFF_FFF0), "is damaged"),
    "more-entries": (_changed(-12, "<H", 9), "no bundle"),
    "of-64-bits": (lambda raw: raw[:-22] + b"PK\x06\x07" + bytes(16) + raw[-22:], "no bundle"),
    "flipped": (lambda raw: raw[:300] + bytes([raw[300] ^ 1]) + raw[301:], "damaged"),
}


@pytest.mark.parametrize(("change", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file(
    change: Callable[[bytes], bytes],
    words: str,
    good: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "bundle.zip"
    zipped(path, good)
    path.write_bytes(change(path.read_bytes()))
    refused(path, words, capsys)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_packed_in_another_way(
    method: int, good: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bundle.zip"
    zipped(path, good, method)
    refused(path, "packed in a way", capsys)


def test_two_of_one_name(good: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bundle.zip"
    zipped(path, good)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr(TRACE, b"another")
    refused(path, "two files of one name", capsys)


def test_with_a_password(good: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bundle.zip"
    zipped(path, good)
    raw = path.read_bytes()
    raw = raw.replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01")
    path.write_bytes(raw.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"))
    refused(path, "damaged", capsys)


def test_a_bomb_takes_no_memory(good: dict[str, bytes], tmp_path: Path) -> None:
    """One that keeps within its claim is written to disk, a piece at a time."""
    large = bytes(64 << 20)
    path = tmp_path / "bundle.zip"
    zipped(path, {TRACE: large, CHECKSUMS: sums(large), "noise": b""})
    del large
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TraceError, match="no Parquet file"):
        open_trace(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10


@settings(max_examples=200)
@given(flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=4))
def test_whatever_is_flipped(
    flips: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory, trace: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.zip"
    zipped(path, {TRACE: trace, CHECKSUMS: sums(trace)})
    raw = bytearray(path.read_bytes())
    for place, bits in flips:
        # The beginning and the end, where the structure of the file is, as often as all the rest.
        where = (place // 2) % len(raw) if place % 2 else -1 - (place // 2) % 400
        raw[where] ^= bits
    path.write_bytes(raw)
    with contextlib.suppress(TraceError):
        assert open_trace(path).counts["open"] == 200
