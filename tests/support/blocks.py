"""Blocks of code in pages of Markdown, what commands print, and pages with that written anew."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

LEFT_OUT = "[...]"
_NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
_COMMAND = re.compile(r"(sudo )?tracekit( |$)")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        language: what its fence says; empty where it says nothing, or where the block is but indented.
        line: of the page at which its first line is, from 0.
        lines: without the fence.
        not_run: why nobody runs it, as the comment before it says.
    """

    language: str
    line: int
    lines: tuple[str, ...]
    not_run: str | None

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    def wrong(self) -> str | None:
        """Why this is no block that a page may have."""
        if self.language not in ("python", "sh", "console", "text"):
            return "a block is fenced, and is python, sh, console or text"
        if self.language == "text" and any(_COMMAND.match(line.removeprefix("$ ")) for line in self.lines):
            return "a command is in a block of sh or console"
        if self.language == "console" and not self.lines[0].startswith("$ "):
            return "a block of console begins with a command"
        others = [one.command for one in self.steps() if not _COMMAND.match(one.command)]
        if others or (self.language in ("sh", "console") and not self.not_run and not self.steps()):
            return f"say in a comment before it why it is not run (<!-- not run: ... -->): {others}"
        return None

    def steps(self) -> "list[Step]":
        """The commands of a block of sh or console that is run."""
        if self.not_run or self.language not in ("sh", "console"):
            return []
        if self.language == "sh":
            return [Step(line, None) for line in self.lines if line and not line.startswith("#")]
        starts = [index for index, line in enumerate(self.lines) if line.startswith("$ ")]
        ends = [*starts, len(self.lines)][1:]
        return [Step(self.lines[a][2:], self.lines[a + 1 : b]) for a, b in zip(starts, ends, strict=True)]


@dataclass(frozen=True)
class Step:
    """A command, and what the page says that it prints; null where it does not say."""

    command: str
    shown: tuple[str, ...] | None

    @property
    def records(self) -> bool:
        """Whether it takes root and the kernel."""
        return self.command.startswith("sudo ")

    def agrees(self, printed: str) -> bool:
        """Whether this is what is shown, in order, apart from what is left out."""
        if self.shown is None:
            return True
        at, lines = 0, _lines(printed)
        parts = self._parts()
        for index, part in enumerate(parts):
            found = _find(lines, part, at)
            if found is None or (index == 0 and found != 0):
                return False
            at = found + len(part)
        return at == len(lines) or self.shown[-1:] == (LEFT_OUT,)

    def anew(self, printed: str) -> list[str]:
        """What is to be shown, with the same parts left out; of a command that showed nothing, everything."""
        lines, at, shown = _lines(printed), 0, list[str]()
        if not self.shown:
            return lines
        parts = self._parts()
        for index, part in enumerate(parts):
            shown += [LEFT_OUT] if index else []
            # What nothing is left out before or behind goes from the first line or to the last.
            start, end = _alike(lines, part, at) if len(parts) > 1 else (0, len(lines))
            start = 0 if index == 0 and part else start
            end = len(lines) if index == len(parts) - 1 and part else end
            shown += lines[start:end]
            at = end
        return shown

    def _parts(self) -> list[list[str]]:
        parts: list[list[str]] = [[]]
        for line in self.shown or ():
            if line == LEFT_OUT:
                parts.append([])
            else:
                parts[-1].append(line)
        return parts


def _lines(printed: str) -> list[str]:
    return [line.rstrip() for line in printed.rstrip("\n").splitlines()]


def _find(lines: list[str], part: list[str], at: int) -> int | None:
    places = range(at, len(lines) - len(part) + 1)
    return next((place for place in places if lines[place : place + len(part)] == part), None)


def _alike(lines: list[str], part: list[str], at: int) -> tuple[int, int]:
    """Where what was shown is now, by the lines that are still the same."""
    same = difflib.SequenceMatcher(None, part, lines[at:], autojunk=False).get_matching_blocks()[:-1]
    if not part:
        return at, at
    assert same, f"write this by hand, nothing of it is printed any more: {part}"
    start = at + same[0].b - same[0].a
    end = at + same[-1].b + len(part) - same[-1].a
    return max(start, at), min(end, len(lines))


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text())
    found = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type not in ("fence", "code_block"):
            continue
        assert token.map is not None
        comment = _NOT_RUN.search(before.content) if before is not None and before.type == "html_block" else None
        language = token.info.strip() if token.type == "fence" and token.level == 0 else ""
        lines = tuple(token.content.rstrip("\n").splitlines())
        found.append(Block(language, token.map[0] + 1, lines, comment[1] if comment else None))
    return found


def write_anew(page: Path, block: Block, lines: list[str]) -> None:
    """Put other lines into a block of a page; blocks after it are then elsewhere, so begin with the last."""
    text = page.read_text().splitlines()
    text[block.line : block.line + len(block.lines)] = lines
    page.write_text("\n".join(text) + "\n")
