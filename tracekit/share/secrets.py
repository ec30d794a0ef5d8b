"""What looks like a secret, by its shape."""

import functools
import math
import re
from collections import Counter

#: What says of a value that it is a secret, also as the end of a longer word; the short ones only as a word.
_KEYWORDS = (
    "(?:(?:password|passwd|passphrase|secret|token|apikey|credentials?|(?:api|auth|access|private)[_-]?key)"
    "|(?<![a-z0-9])(?:pass|pwd))(?:[0-9_-][a-z0-9_-]{0,39})?"
)

PASSWORD = "password in an argument"
#: Shapes by name. Each matches no more than the secret and what tells that it is one.
SHAPES: dict[str, re.Pattern[str]] = {
    "private key": re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----"),
    "URL with credentials": re.compile(r"[A-Za-z0-9+.-]{1,20}://[^/\s:@]{0,256}:(?!x-[a-z2-7]{10}@)[^/\s@]{1,256}@"),
    PASSWORD: re.compile(rf"(?i){_KEYWORDS}[\"']?\s{{0,3}}[=:]\s{{0,3}}(?!x-[a-z2-7]{{10}})[^\s=:/]"),
    "authorization header": re.compile(r"(?i)\b(?:bearer|basic)\s{1,3}(?!x-)[a-z0-9+/._~=-]{8,}"),
    "AWS access key": re.compile(r"\b(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA|AGPA|AIDA|AROA)[A-Z0-9]{16}\b"),
    "GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    "GitLab token": re.compile(r"\bgl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_-]{20,}"),
    "Slack token": re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}|hooks\.slack\.com/services/[A-Za-z0-9/]{10,}"),
    "Google key": re.compile(r"\bAIza[A-Za-z0-9_-]{35}|\bya29\.[A-Za-z0-9_-]{20,}"),
    "Stripe key": re.compile(r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}"),
    "API key": re.compile(r"\bsk-(?:[A-Za-z]+-)*[A-Za-z0-9_-]{20,}|\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    "package registry token": re.compile(r"\bnpm_[A-Za-z0-9]{36}|\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{20,}"),
    "vault token": re.compile(r"\bhv[sbr]\.[A-Za-z0-9_-]{24,}"),
    "JSON web token": re.compile(r"\beyJ[A-Za-z0-9_-]{8,4096}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"),
    "password hash": re.compile(r"\$(?:1|2[abxy]|5|6|7|y|argon2\w*)\$[A-Za-z0-9./$=,+]{16,}"),
}
#: Long words that look random, which names are not: a key, or the number of a container.
RANDOM = "random text"
_WORD = re.compile(r"[A-Za-z0-9+_=-]{32,}")
#: Bits per character, of 16 and of 64 possible ones; text of the same length has less.
_LEAST_HEX, _LEAST_OTHER = 3.0, 4.3
_REMEMBERED = 1 << 16
_HEX = re.compile(r"[0-9a-fA-F-]+")


_SECRET_NAME = re.compile(rf"(?i)-{{0,2}}[a-z0-9_.-]{{0,40}}{_KEYWORDS}")


@functools.lru_cache(_REMEMBERED)
def shapes_of(text: str) -> tuple[str, ...]:
    """The names of the known shapes that a text has."""
    return tuple(name for name, shape in SHAPES.items() if shape.search(text))


def names_secret(text: str) -> bool:
    """Whether an option or a setting says of its value that it is a secret, such as `--password`, `DB_TOKEN`."""
    return _SECRET_NAME.fullmatch(text) is not None


def has_random(text: str) -> bool:
    """Whether a text has a long word that looks random."""
    return any(_looks_random(word) for word in _WORD.findall(text))


def _looks_random(word: str) -> bool:
    if not any(letter.isdigit() for letter in word):
        return False
    counts = Counter(word)
    bits = -sum(count / len(word) * math.log2(count / len(word)) for count in counts.values())
    return bits >= (_LEAST_HEX if _HEX.fullmatch(word) else _LEAST_OTHER)
