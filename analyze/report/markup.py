"""HTML by construction: text is escaped here and nowhere else, and what is `Html` has been made here."""

import html

from tracekit.text import printable

#: Of a longer string the middle is left out.
LONGEST = 1000
_VOID = ("meta", "img")


class Html(str):
    """Markup that is safe to put into a page."""

    __slots__ = ()


def safe(text: str, limit: int | None = LONGEST) -> Html:
    """Any text as a page may show it: no markup, and no control, format or bidirectional character."""
    return text if isinstance(text, Html) else Html(html.escape(printable(text, limit)))


def joined(*parts: str) -> Html:
    """Several parts as one; those that are no `Html` are escaped."""
    return Html("".join(safe(part) for part in parts))


def tag(name: str, /, *children: str, **attributes: str | int | float | None) -> Html:
    """An element.

    Args:
        children: `Html`, or text that is escaped.
        attributes: by name, with `_` for `-` and one at the end ignored; null leaves an attribute out.
    """
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{safe(_number(value), None)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{told}>") if name in _VOID else Html(f"<{name}{told}>{joined(*children)}</{name}>")


def verbatim(name: str, trusted: str) -> Html:
    """A style sheet or a script of this package, which is not escaped."""
    return Html(f"<{name}>{trusted}</{name}>")


def _number(value: str | int | float) -> str:
    """Coordinates to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
