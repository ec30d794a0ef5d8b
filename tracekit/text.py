"""Strings from a trace are hostile: what a terminal may be shown of them."""

import difflib
import os
import unicodedata
from collections.abc import Iterable, Sequence

#: So many bytes of a name are in the command name of a task.
COMM_BYTES = 15
_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def printable(text: str | None, limit: int | None = None) -> str:
    """The string with control, format and bidirectional characters escaped; `?` for null.

    Args:
        text: anything a traced process may have chosen.
        limit: longest result in characters; the middle of a longer one gives way to `...`.
    """
    if text is None:
        return "?"
    if not (text.isascii() and text.isprintable()):
        text = "".join(_escape(character) for character in text)
    if limit is not None and len(text) > limit:
        tail = (limit - 3) // 2
        text = f"{text[: limit - 3 - tail]}...{text[-tail:] if tail else ''}"
    return text


def _escape(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if unicodedata.category(character) not in _UNSAFE:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def decode(raw: bytes) -> str:
    r"""Bytes of the kernel as text: UTF-8, and each byte that is none as `\xNN`."""
    return raw.decode("utf-8", "backslashreplace")


def command_name(name: str) -> str:
    """A program's name as the kernel keeps it."""
    return decode(os.fsencode(name)[:COMM_BYTES])


def meant(name: str, known: Iterable[str]) -> str | None:
    """Of known names the one most like this, or the only one that begins so; null if neither is there."""
    known = tuple(known)
    near = difflib.get_close_matches(name, known, n=1)
    begun = [one for one in known if one.startswith(name)]
    return near[0] if near else begun[0] if len(begun) == 1 else None


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """What to do about a name that is none of those known: the one that was meant, if it can be told, else all."""
    near = meant(name, known)
    return f"there are {', '.join(known)}" if near is None else f"did you mean {near!r}?"
