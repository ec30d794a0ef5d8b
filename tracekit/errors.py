"""The errors a user can meet, and the exit code of each.

The library raises these; ``tracekit.cli`` turns them into one line on stderr and an exit code. Every message
says what is wrong, where, and what to do.
"""


class TracekitError(Exception):
    """Something failed; the message is one line for the user."""

    exit_code = 1


class UsageError(TracekitError):
    """The request itself makes no sense: a bad duration, an output that exists, a file that is not there."""

    exit_code = 2


class TraceError(TracekitError):
    """The trace is damaged, unfinished, or of a format this version cannot read."""

    exit_code = 3


class UnsupportedError(TracekitError):
    """This machine cannot record: no privilege, or the kernel lacks what is needed."""

    exit_code = 4


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line; of memory that there is not, why so much was wanted."""
    said = str(error).strip().splitlines()
    if said:
        return said[0]
    return "it claims to be larger than memory" if isinstance(error, MemoryError) else type(error).__name__
