"""Whether what goes to standard output may have colours, and how wide it may be."""

import os
import shutil
import sys

DEFAULT_WIDTH = 80


def colours() -> bool:
    """Whether to write colours: to a terminal that knows them, unless NO_COLOR says no or FORCE_COLOR yes."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Columns of the terminal, 60 at least; 80 where there is none."""
    columns = shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns if sys.stdout.isatty() else DEFAULT_WIDTH
    return max(columns, 60)
