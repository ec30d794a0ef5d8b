"""Choosing a loader."""

from tracekit.capture import bcc, core
from tracekit.capture.loading import Attached, KernelFacts, Plan
from tracekit.errors import UnsupportedError, UsageError

BACKENDS = ("auto", "core", "bcc")


def check_backend(name: str) -> None:
    """Refuse a loader that does not exist.

    Raises:
        UsageError: there is no such loader.
    """
    if name not in BACKENDS:
        raise UsageError(f"there is no backend {name!r}: there are {', '.join(BACKENDS)}")


def attach(backend: str, facts: KernelFacts, plan: Plan) -> tuple[Attached, tuple[str, ...]]:
    """Attach with the loader that is asked for; `auto` takes core, and bcc only where core cannot be had.

    Args:
        backend: `auto`, `core` or `bcc`.
        facts: of the kernel.
        plan: what to attach.

    Returns:
        What is attached, and notes for the user: what the recording lacks, and why it is bcc.

    Raises:
        UnsupportedError: it cannot be done here.
    """
    why_not_core = core.unavailable()
    if backend == "core" and why_not_core:
        raise UnsupportedError(f"the core loader cannot be used: {why_not_core}")
    if backend != "bcc" and why_not_core is None:
        try:
            return core.attach(facts, plan), facts.notes
        except UnsupportedError as error:
            if backend == "core":
                raise UnsupportedError(f"{error}; try --backend bcc") from None
            why_not_core = str(error)
    try:
        attached = bcc.attach(facts, plan)
    except UnsupportedError as error:
        if backend == "bcc":
            raise
        raise UnsupportedError(f"{why_not_core}; and the bcc loader does not work either: {error}") from None
    notes = facts.notes if backend == "bcc" else (*facts.notes, f"taking the bcc loader, since {why_not_core}")
    return attached, notes
