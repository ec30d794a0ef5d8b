"""Names as pseudonyms, and those that stay."""

import base64
import fnmatch
import functools
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from tracekit.errors import UsageError
from tracekit.share.secrets import names_secret, shapes_of

#: What a pseudonym looks like. It has 50 bits: of a million names hardly ever two get the same.
PSEUDONYM = re.compile(r"x-[a-z2-7]{10}")
KEY_BYTES = 32
#: So many strings are remembered with what they have become.
_REMEMBERED = 1 << 16
_LONGEST_KEY_FILE = 4096
#: What tells of an option, and of a setting; what is behind it is looked at by itself.
_OPTION = re.compile(r"(--[a-z][a-z0-9]{0,19}(?:-[a-z0-9]{1,20}){0,4}|-[A-Za-z0-9])(?:(=)(.*))?", re.DOTALL)
_SETTING = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]{0,60})=(.*)", re.DOTALL)
#: What files of the system are made of.
_USUAL = r"[A-Za-z0-9_ .+@:,~%=()\[\]-]"
_NUMBER = re.compile(r"[-+]?[0-9]{1,3}(?:\.[0-9]{1,3})?[smhdkKMG%]?")
#: Where the number of a user is a part of a name.
_USER_IN_NAME = re.compile(r"(user-|user@)([0-9]{1,10})(\.slice|\.service)")
_USER_IN_PATH = re.compile(r"(/run/user/)([0-9]{1,10})(?=/|$)")
#: Users below are of the system; this one is nobody. No user's number is as high as those that stand for users.
FIRST_USER, NOBODY, PSEUDONYMS = 1000, 65534, 1 << 31


@dataclass(frozen=True)
class Allowed:
    """What stays: expressions of paths and of names, and endings of file names."""

    paths: re.Pattern[str]
    patterns: re.Pattern[str]
    names: frozenset[str]
    endings: frozenset[str]

    @staticmethod
    def of(lines: Iterable[str]) -> "Allowed":
        """What the lines of such a list say; `allowed.txt` says how they are written."""
        said = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        paths = (line for line in said if line.startswith("/"))
        patterns = (line for line in said if not line.startswith("/") and re.search(r"[*?\[]", line))
        endings = frozenset(line for line in said if line.startswith("."))
        names = frozenset(line for line in said if not line.startswith("/"))
        return Allowed(_any_of(map(_path_expression, paths)), _any_of(map(fnmatch.translate, patterns)), names, endings)


def read_allowed(more: Iterable[str]) -> Allowed:
    """The list that comes along, with more.

    Args:
        more: a line each, or `@` and a file with such lines.

    Raises:
        UsageError: a file cannot be read.
    """
    lines = resources.files("tracekit.share").joinpath("allowed.txt").read_text("utf-8").splitlines()
    for one in more:
        if not one.startswith("@"):
            lines.append(one)
            continue
        try:
            lines += Path(one[1:]).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise UsageError(f"the list {one[1:]} of what stays cannot be read: {why}") from error
    return Allowed.of(lines)


def _path_expression(line: str) -> str:
    anything = {"**": rf"(?:{_USUAL}|/)*", "*": f"{_USUAL}*"}
    return "".join(anything.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*)", line))


def _any_of(expressions: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{one})" for one in expressions) or r"(?!)", re.DOTALL)


def read_key(path: Path | None) -> bytes:
    """The secret of the pseudonyms: that of the file, which is made where there is none; without a file, a new one.

    Raises:
        UsageError: the file cannot be read or made, or holds too little for a key.
    """
    if path is None:
        return secrets.token_bytes(KEY_BYTES)
    try:
        new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(new, "wb") as file:
            file.write(secrets.token_hex(KEY_BYTES).encode() + b"\n")
    except FileExistsError:
        pass
    except OSError as error:
        raise UsageError(f"the key file {path} cannot be made: {error.strerror}") from error
    try:
        with path.open("rb") as file:
            key = file.read(_LONGEST_KEY_FILE).strip()
    except OSError as error:
        raise UsageError(f"the key file {path} cannot be read: {error.strerror}") from error
    if len(key) < KEY_BYTES:
        raise UsageError(f"the key file {path} holds less than {KEY_BYTES} bytes: name one that does not exist")
    return key


class Names:
    """Gives names their pseudonyms: the same name always the same, with the same key.

    Args:
        key: the secret.
        allowed: what stays.
        host: the name of the machine, which never stays, wherever it stands.
    """

    def __init__(self, key: bytes, allowed: Allowed, host: str | None = None) -> None:
        self._key, self._allowed = key, allowed
        hosts = {host, host.partition(".")[0]} - {"", "localhost"} if host else set()
        words = (rf"(?<![A-Za-z0-9]){re.escape(one)}(?![A-Za-z0-9])" for one in hosts)
        self._hosts = _any_of(words)
        #: Programs that were run from where system programs are.
        self.programs: set[str] = set()
        remember = functools.lru_cache(_REMEMBERED)
        self.component, self.path, self.argument = (
            remember(how) for how in (self._component, self._path, self._argument)
        )

    def pseudonym(self, text: str) -> str:
        """What stands for a name."""
        digest = hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256")
        return f"x-{base64.b32encode(digest)[:10].decode().lower()}"

    def user(self, uid: int) -> int:
        """What stands for a user; those of the system stay."""
        if uid < FIRST_USER or uid == NOBODY or uid >= PSEUDONYMS:
            return uid
        digest = hmac.digest(self._key, f"uid {uid}".encode(), "sha256")
        return PSEUDONYMS | (int.from_bytes(digest[:4]) >> 2)

    def is_system_path(self, path: str) -> bool:
        """Whether a path stays as a whole; one that leads back up may lead anywhere."""
        return self._allowed.paths.fullmatch(path) is not None and "/../" not in f"{path}/" and not self._tells(path)

    def stays(self, name: str) -> bool:
        """Whether a name of a program or a component of a path stays."""
        known = name in self._allowed.names or name in self.programs or self._allowed.patterns.fullmatch(name)
        return bool(known) and not self._tells(name)

    def _tells(self, text: str) -> bool:
        """Whether a text has something that must go in any case."""
        return self._hosts.search(text) is not None or bool(shapes_of(text))

    def _component(self, name: str) -> str:
        """A component of a path, or the name of a program; its ending stays where that is known."""
        if name in ("", ".", "..") or PSEUDONYM.fullmatch(name):
            return name
        if self.stays(name):
            return _USER_IN_NAME.sub(lambda found: f"{found[1]}{self.user(int(found[2]))}{found[3]}", name)
        ending = ""
        while True:
            stem, dot, last = name.rpartition(".")
            if not stem or f".{last}" not in self._allowed.endings:
                break
            name, ending = stem, f"{dot}{last}{ending}"
        return f"{name if PSEUDONYM.fullmatch(name) else self.pseudonym(name)}{ending}"

    def _path(self, path: str) -> str:
        """A path, component by component."""
        if self.is_system_path(path):
            return path
        if found := _USER_IN_PATH.match(path):
            return f"{found[1]}{self.user(int(found[2]))}{self._path_below(path[found.end() :])}"
        return self._path_below(path)

    def _path_below(self, path: str) -> str:
        return "/".join(map(self.component, path.split("/")))

    def _argument(self, text: str) -> str:
        """An argument: options, small numbers, and programs and paths of the system stay."""
        if (found := _OPTION.fullmatch(text)) and not self._tells(found[1]):
            return text if found[2] is None else f"{found[1]}={self._value(found[3], found[1])}"
        if found := _SETTING.fullmatch(text):
            return f"{self.component(found[1])}={self._value(found[2], found[1])}"
        return self._value(text, "")

    def _value(self, text: str, of: str) -> str:
        if names_secret(of):
            return self.hidden(text)
        if _NUMBER.fullmatch(text):
            return text
        return self.path(text) if "/" in text else self.component(text)

    def hidden(self, text: str) -> str:
        """A pseudonym, whatever the text is, for one that must be a secret from where it stands."""
        return text if PSEUDONYM.fullmatch(text) or not text else self.pseudonym(text)
