"""Programs on a terminal: what they write to it, and what is left on its screen."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from dataclasses import dataclass

_CONTROL = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


@dataclass(frozen=True)
class Session:
    """What a program did on a terminal.

    Attributes:
        shown: all that it wrote to the terminal, with the echo of what was typed.
        out: what it wrote to standard output, where that is a pipe.
    """

    code: int
    shown: str
    out: str

    @property
    def screen(self) -> list[str]:
        """The lines that are left, as far as movements up and erasures of lines make them."""
        lines, row, column = [""], 0, 0
        for numbers, control, newline, text in _CONTROL.findall(self.shown):
            if newline == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif newline:
                column = 0
            elif control == "A":
                row -= int(numbers or 1)
            elif control == "K":
                lines[row] = "" if numbers == "2" else lines[row][:column]
            elif text:
                lines[row] = f"{lines[row][:column]:<{column}}{text}{lines[row][column + len(text) :]}"
                column += len(text)
        return [line.rstrip() for line in lines if line.strip()]


def on_terminal(
    command: Sequence[str],
    columns: int = 80,
    piped: bool = False,
    at: str = "",
    key: bytes = b"\x03",
    **environment: str,
) -> Session:
    """Run a program on a terminal of its own until it ends.

    Args:
        columns: how wide the terminal is.
        piped: standard output goes into a pipe.
        at: when this has been shown, `key` is pressed.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    usual = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "FORCE_COLOR")}
    with subprocess.Popen(
        # The terminal becomes the one that the program is controlled from: Ctrl-C reaches it.
        ["setsid", "--ctty", "--wait", *command],
        stdin=theirs,
        stdout=subprocess.PIPE if piped else theirs,
        stderr=theirs,
        env={**usual, "TERM": "xterm-256color", **environment},
        text=True,
    ) as process:
        os.close(theirs)
        shown = ""
        while chunk := _read(ours):
            shown += chunk.decode(errors="replace")
            if at and at in shown:
                os.write(ours, key)
                at = ""
        os.close(ours)
        out = process.stdout.read() if process.stdout else ""
        return Session(process.wait(), shown, out)


def tracekit(*arguments: str) -> list[str]:
    """The command line that runs it."""
    return [sys.executable, "-m", "tracekit", *arguments]


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the other side is closed
        return b""
