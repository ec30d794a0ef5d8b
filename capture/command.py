"""The command that is recorded."""

import contextlib
import os
import shutil
import signal
import subprocess

from tracekit.capture.options import Control
from tracekit.units import SECOND_NS

# How long a command may go on after it was asked to end.
GRACE_NS = 5 * SECOND_NS
_LOOK_EVERY_S = 0.1


class Command:
    """The command that is recorded, if there is one."""

    def __init__(self, arguments: tuple[str, ...]) -> None:
        # Looked up here, so that the trace does not begin with failing execs all along PATH.
        self._process = subprocess.Popen(arguments, executable=shutil.which(arguments[0])) if arguments else None
        self.asked = 0

    def runs(self) -> bool:
        """Whether there is a command and it has not ended."""
        return self._process is not None and self._process.poll() is None

    def ended(self) -> bool:
        """Whether there was a command and it has ended."""
        return self._process is not None and self._process.poll() is not None

    def ask(self, number: int) -> None:
        """Ask it to end: first as we were asked, then more firmly."""
        self.asked += 1
        firmer = {1: number, 2: signal.SIGTERM}.get(self.asked, signal.SIGKILL)
        if self._process is not None and not (firmer == signal.SIGINT and _has_keyboard()):
            self._process.send_signal(firmer)

    def end(self) -> None:
        """End it: the recording has failed."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(GRACE_NS / SECOND_NS)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def wait(self, control: Control) -> int:
        """Wait for its end, and pass on each further wish to stop. A recording for a limited time leaves it alone.

        Returns:
            Its exit code as a shell tells it; 0 if there is no command.
        """
        if self._process is None:
            return 0
        while self.runs():
            if control.stops > self.asked:
                self.ask(control.number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LOOK_EVERY_S)
        code = self._process.returncode
        return code if code >= 0 else 128 - code


def _has_keyboard() -> bool:
    """Whether an interrupt comes from the keyboard, as far as can be told; it then reaches the command as well."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    finally:
        os.close(terminal)
